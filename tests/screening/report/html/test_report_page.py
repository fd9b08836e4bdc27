"""Tests of a report's page: complete, self-contained, and correct with missing parts."""

import os
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image

from nights import BREACH, NIGHT, contents_of, pictured, scored, unread
from screening.report.html.report_page import MEANINGS, write_page
from screening.results import COLUMNS, FAILURES, FilmWarning, Reason, Status
from web_page import Page

DASH = "\N{EN DASH}"
HOSTILE = "<script>alert(1)</script>\"&'.png"


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("screening.report.intervals._RESAMPLES", 20)
    monkeypatch.setattr("screening.report.html.performance_figures._RESAMPLES", 20)


@pytest.fixture
def no_figures(monkeypatch):
    """Skip drawing figures, for tests that do not need them."""
    monkeypatch.setattr("screening.report.html.report_page.draw_figures", lambda *_arguments: {})


@pytest.fixture
def page_of(tmp_path):
    """Return a function that writes a page for rows to `tmp_path` and parses it."""

    def made(rows, **more):
        write_page(tmp_path, contents_of(rows, **more))
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return made


def section(page, heading):
    """Return the text between a heading and the next heading of the same level."""
    names = [name for level, name in page.headings if level == 2]
    text = page.text
    start = text.index(heading, text.index("The job"))
    later = [text.find(name, start + 1) for name in names[names.index(heading) + 1 :][:1]]
    return text[start : later[0] if later else len(text)]


def assert_good(page):
    """Check requirements that every page must meet."""
    levels = [level for level, _name in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(name for _level, name in page.headings)
    assert all(len(picture["alt"]) > 10 for picture in page.images)
    places = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert all(link.startswith("data:image/") or link in places for link in page.links)
    assert len(places.intersection(page.links)) == len(places) == 6
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "form"}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "Research software." in page.text
    assert "Not a medical device" in page.text
    assert not re.search(r"\b(nan|inf|None(?!\.))\b", page.text)


def test_night_with_labels_has_every_section(page_of, tmp_path):
    facts = {"Job": "job-1", "Finished (UTC)": "2026-01-02 03:04:05", "User": "ada"}
    page = page_of(NIGHT, facts=facts, drift=[BREACH], label_problems={"no_film": 2, "unknown": 0})
    assert_good(page)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        *("statuses.png", "scores.png", "confusion.png", "reliability.png"),
        *("roc.png", "precision_recall.png"),
    }
    assert len(page.images) == 6
    for expected in (
        *facts.values(),
        "43 files = 40 scored + 1 refused + 1 failed + 1 duplicate.",
        "Of the 40 scored, 20 were flagged as PNEUMONIA and 20 were not (NORMAL).",
        "The share of films flagged as pneumonia is 0.300",
        "2 lines of the labels file could not be used: no film 2.",
        "screening verify REPORT",
        "40 scored films have a label",
        "in use",
    ):
        assert expected in page.text
    breach = page.row(f"Breach: {BREACH.sentence}")
    assert breach == ["tonight", "0.3", "0.1", "0.05 to 0.2", "400"]
    assert page.row("cut.png") == ["The image could not be decoded (truncated)."]


@pytest.mark.usefixtures("no_figures")
def test_work_list_has_called_films_by_descending_probability(page_of):
    page = page_of(NIGHT)
    films = [row for row in page.rows if row[0].isdigit() and "/" in row[1]]
    work = films[:20]
    assert [row[1] for row in work] == [f"ward/{k:02}.png" for k in range(39, 19, -1)]
    assert work[0][:3] == ["1", "ward/39.png", "0.9750"]
    assert work[0][4] == "0" * 12


@pytest.mark.usefixtures("no_figures")
def test_films_near_the_threshold_are_listed_nearest_first(page_of):
    rows = [scored(f"{p}.png", p) for p in (0.1, 0.3, 0.49, 0.505, 0.9)]
    page = page_of(rows)
    near = section(page, "Near the threshold")
    assert "3 films have a probability from 0.25 to 0.75" in near
    assert re.findall(r"0\.\d+\.png", near) == [
        "0.505.png",
        "0.49.png",
        "0.3.png",
    ]


@pytest.mark.usefixtures("no_figures")
def test_metrics_are_shown_with_interval_and_n(page_of):
    contents = contents_of(NIGHT)
    figures = {
        line.metric: line.figure
        for line in contents.lines
        if (line.subset, line.unit.value) == ("all", "film")
    }
    recall = figures["recall"]
    assert page_of(NIGHT).row("Sensitivity (recall)")[:3] == [
        f"{recall.value:.3f}",
        f"{recall.ci_low:.3f}{DASH}{recall.ci_high:.3f}",
        f"{recall.n}",
    ]


@pytest.mark.usefixtures("no_figures")
def test_undefined_metric_is_a_dash_with_its_reason(page_of):
    rows = [scored(f"{k}.png", 0.1, "NORMAL") for k in range(3)]
    page = page_of(rows)
    assert_good(page)
    assert page.row("Sensitivity (recall)")[:3] == [DASH, "", "0"]
    notes = section(page, "Performance on labelled films")
    assert re.search(r"Sensitivity \(recall\)[^:]*: No film has pneumonia", notes)
    assert "0 show pneumonia and 3 do not" in page.text


def test_page_without_labels_says_that_performance_is_missing(page_of, tmp_path):
    page = page_of([replace(row, label="", outcome="") for row in NIGHT])
    assert_good(page)
    assert "No scored film has a label" in section(page, "Performance on labelled films")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "statuses.png",
        "scores.png",
    }
    assert "Other thresholds" not in page.text


def test_empty_folder_has_a_page(page_of, tmp_path):
    page = page_of([])
    assert_good(page)
    assert "The folder contained no files." in page.text
    assert page.images == []
    assert not (tmp_path / "figures").exists()


def test_night_on_which_all_films_failed_has_a_page(page_of):
    rows = [unread(f"{k}.png", Status.FAILED, Reason("not_decodable", "x")) for k in range(20)]
    rows += [unread(f"{k}.jpg", Status.FAILED, Reason("not_screened")) for k in range(7)]
    page = page_of(rows)
    assert_good(page)
    assert "7 films were not reached" in page.text
    assert "20 films have no prediction because of an error" in page.text
    assert "No film was scored." in page.text


@pytest.mark.parametrize("label", ["", "PNEUMONIA"])
def test_single_film_has_a_page(page_of, label):
    page = page_of([scored("a.png", 0.7, label)])
    assert_good(page)
    assert "1 file, read for pneumonia" in page.text


def test_night_without_problems_needs_no_attention(page_of):
    page = page_of([scored("a.png", 0.2)], drift=[replace(BREACH, breach=False)])
    attention = section(page, "Needs attention")
    assert "Nothing: every file was scored" in attention
    assert "no figure is beyond its limits" in attention


@pytest.mark.usefixtures("no_figures")
def test_page_gives_the_median_evidence_inside_the_lungs(page_of):
    flawed = (
        FilmWarning("lungs_small", "12 % of the film"),
        FilmWarning("low_lung_evidence", "0.2"),
    )
    rows = [
        scored("a.png", 0.9, lung_area=0.3, lung_evidence=0.9),
        scored("b.png", 0.8, lung_area=0.12, lung_evidence=0.2, warnings=flawed),
        scored("c.png", 0.7, lung_area=0.3, lung_evidence=0.75),
        scored("d.png", 0.1, lung_area=0.3, lung_evidence=0.1),
        scored("e.png", 0.6, lung_area=0.3),
    ]
    lungs = section(page_of(rows), "Lungs")
    assert "A second network looked for the lungs on 5 films." in lungs
    assert "median lung evidence of the flagged films is 0.75 (3 films)" in " ".join(lungs.split())
    assert "lungs_small 1" in " ".join(lungs.split())
    assert "lungs_tilted 0" in " ".join(lungs.split())
    assert "low_lung_evidence 1" in " ".join(lungs.split())


@pytest.mark.usefixtures("no_figures")
def test_night_without_lung_network_has_no_lung_section(page_of):
    page = page_of([scored("a.png", 0.9)])
    assert "looked for the lungs" not in page.text
    assert "Lung evidence is the share of all evidence" in " ".join(page.text.split())


@pytest.mark.usefixtures("no_figures")
def test_warnings_are_counted_by_code(page_of):
    rows = [
        scored("a.png", 0.7, warnings=(FilmWarning("out_of_domain"), FilmWarning("rotated"))),
        scored("b.png", 0.2, warnings=(FilmWarning("out_of_domain"),)),
    ]
    attention = section(page_of(rows), "Needs attention")
    assert "2 scored films have the warning out_of_domain" in attention
    assert "1 scored film has the warning rotated" in attention


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (HOSTILE, HOSTILE),
        ("a\nb\x00\x1b[31m.png", r"a\nb\x00\x1b[31m.png"),
        ("gpj.\u202eexe.png", r"gpj.\u202eexe.png"),
        (os.fsdecode(b"\xff.png"), r"\udcff.png"),
        ("{{ 7 * 7 }}.png", "{{ 7 * 7 }}.png"),
        ("a" * 3000 + ".png", "a" * 80 + "…" + "a" * 76 + ".png"),
    ],
    ids=["markup", "control characters", "from the right", "no text", "a template", "long"],
)
def test_external_names_are_shown_escaped(page_of, name, expected):
    rows = [
        scored(name, 0.7, "PNEUMONIA", view=name, sex=name, manufacturer=name),
        scored(f"{name}/b", 0.4, "NORMAL", warnings=(FilmWarning("same_pixels", name),)),
        unread(name, Status.FAILED, Reason("not_decodable", name)),
        unread(name, Status.REFUSED, Reason("not_image", name)),
    ]
    page = page_of(rows, facts={name: name}, drift=[replace(BREACH, sentence=name)])
    assert_good(page)
    assert [row[1] for row in page.rows if row[0] == "1" and row[2].startswith("0.7")] == [
        " ".join(expected.split())
    ]


@pytest.mark.usefixtures("no_figures")
def test_pictures_are_shown_up_to_the_limit_of_a_page(page_of, tmp_path):
    rows = [scored(f"{k}.png", 0.9, sha256=f"{k:064}"[::-1]) for k in range(150)]
    page = page_of(pictured(tmp_path, rows))
    assert_good(page)
    films = [picture for picture in page.images if picture["alt"].startswith("Film ")]
    assert len(films) == 200
    assert all(picture["src"].startswith("data:image/jpeg;base64,/9j/") for picture in films)
    assert (
        len(re.findall(r"\b\d+\.png", section(page, "Work list: films flagged as pneumonia")))
        == 150
    )
    assert "pixels" in page.text
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


@pytest.mark.usefixtures("no_figures")
def test_pictures_outside_the_report_are_left_out(page_of, tmp_path):
    secret = tmp_path.parent / "secret.jpg"
    Image.new("L", (9, 9)).save(secret)
    page = page_of([scored("a.png", 0.9, thumbnail="../secret.jpg", heatmap="heatmaps/none.png")])
    assert_good(page)
    assert not [picture for picture in page.images if picture["alt"].startswith("Film ")]


@pytest.mark.usefixtures("no_figures")
def test_damaged_picture_is_left_out_and_the_rest_is_shown(page_of, tmp_path):
    (row,) = pictured(tmp_path, [scored("a.png", 0.9, sha256="ab" * 32)])
    whole = (tmp_path / row.heatmap).read_bytes()
    for damaged in (b"", b"no picture", whole[: len(whole) // 2]):
        (tmp_path / row.heatmap).write_bytes(damaged)
        films = [image for image in page_of([row]).images if image["alt"].startswith("Film ")]
        assert len(films) == 1


@pytest.mark.usefixtures("no_figures")
def test_many_films_with_long_names_fit_in_five_megabytes(page_of, tmp_path):
    name, codes = "<" * 200, list(FAILURES)
    rows = [
        scored(f"{name}{k}.png", 0.51, warnings=(FilmWarning("same_pixels", name),))
        for k in range(3000)
    ]
    for status in (Status.FAILED, Status.REFUSED, Status.DUPLICATE):
        rows += [unread(f"{name}{k}", status, Reason(codes[k % 9], name)) for k in range(3000)]
    page = page_of(rows)
    assert "This list has 200 of 3,000 films" in page.text
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


@pytest.mark.usefixtures("no_figures")
def test_every_column_of_the_report_is_explained(page_of):
    assert set(COLUMNS) <= MEANINGS.keys()
    page = page_of(NIGHT)
    assert all(page.all_rows(name) for name in COLUMNS)


def test_same_night_gives_the_same_page(page_of, tmp_path):
    page_of(NIGHT)
    first = (tmp_path / "report.html").read_bytes()
    page_of(NIGHT)
    assert (tmp_path / "report.html").read_bytes() == first
