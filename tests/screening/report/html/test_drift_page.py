"""Tests of the drift page: complete and safe."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from screening.report.drift.drift_csv import NAMES
from screening.report.drift.profile import NightProfile
from screening.report.drift.series import series
from screening.report.html.drift_page import PAGE, write_page


class Seen(HTMLParser):
    """Parser that collects the words, pictures and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def profile(day: int, called: int = 10, scanners: dict[str, int] | None = None) -> NightProfile:
    return NightProfile(
        at=f"2026-11-{day:02}T03:00:00.000+00:00",
        model_sha256="f" * 64,
        statuses={"scored": 100},
        called=called,
        histograms={"grey_mean": {95 + day % 3: 50, 105: 50}, "probability": {-20: 90, 20: 10}},
        views={"": 100},
        scanners=scanners or {"Acme": 100},
    )


def seen(folder: Path, profiles: list[NightProfile]) -> Seen:
    reports = [folder / f"night <{number}>" for number in range(len(profiles))]
    for place, each in zip(reports, profiles, strict=True):
        place.mkdir()
        each.write(place)
    write_page(folder, series(reports))
    page = Seen()
    page.feed((folder / PAGE).read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Eight unchanged nights, and one with many calls and a scanner with a hostile name."""
    calm = [profile(day) for day in range(1, 9)]
    bold = profile(9, called=60, scanners={"<script>alert(1)</script>": 100})
    return seen(tmp_path_factory.mktemp("pages"), [*calm, bold])


def test_every_known_measure_has_a_chart_with_alt_text(page: Seen) -> None:
    described = {str(picture["alt"]).partition(" in 9 nights")[0] for picture in page.pictures}
    known = set(NAMES) - {"domain_distance", "grey_sd", "black", "white", "sharpness", "views"}
    assert described == {NAMES[measure] for measure in known}
    assert any("beyond its limits in night <8>" in str(each["alt"]) for each in page.pictures)


def test_page_describes_breaches_in_words(page: Seen) -> None:
    words = " ".join(page.words)
    assert "The share of films flagged as pneumonia is 0.6 tonight" in words
    assert "Drift over 9 nights" in words
    assert "Not a medical device" in words


def test_no_scripts_run_and_no_external_resources_load(page: Seen) -> None:
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in " ".join(page.words)
    assert all(
        str(picture["src"]).startswith("data:image/png;base64,") for picture in page.pictures
    )


def test_single_night_without_breach_has_a_page(tmp_path: Path) -> None:
    page = seen(tmp_path, [profile(1)])
    assert "No night was beyond a limit." in " ".join(page.words)
    assert "Drift over 1 night" in page.words


def test_night_without_films_is_on_the_page(tmp_path: Path) -> None:
    page = seen(tmp_path, [replace(profile(1), at=""), NightProfile()])
    assert "unknown" not in page.words
    assert page.words.count("?") == 2
