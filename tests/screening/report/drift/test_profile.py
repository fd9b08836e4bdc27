"""Tests of the profile of a night, whose counts can be added over nights."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.errors import ReportError
from screening.report.drift.profile import PROFILE, SCALES, NightProfile, Scale, aligned, merged
from screening.results import PREDICTIONS, FilmWarning, Reason, Row, Status, write_rows

QUICK = settings(deadline=None, max_examples=60, database=None)

ROTATED = FilmWarning("rotated")
SHARES = st.none() | st.floats(0, 1)
ROWS = st.lists(
    st.builds(
        Row,
        film=st.uuids().map(str),
        status=st.sampled_from(Status),
        reason=st.sampled_from([Reason("not_chest"), Reason("not_image"), Reason("empty")]),
        probability=SHARES,
        prediction=st.sampled_from(["NORMAL", "PNEUMONIA"]),
        model_sha256=st.just("f" * 64),
        screened_at=st.sampled_from(["2026-11-22T21:30:05.123+00:00", ""]),
        view=st.sampled_from(["PA", "AP", ""]),
        manufacturer=st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        warnings=st.sampled_from([(), (ROTATED,), (ROTATED, FilmWarning("inverted", "so; so"))]),
        domain_distance=st.none() | st.floats(0, 1e6),
        black=SHARES,
        sharpness=SHARES,
    ),
    max_size=8,
)


@QUICK
@given(ROWS, ROWS)
def test_merged_nights_equal_one_night_of_all_films(some: list[Row], others: list[Row]) -> None:
    assert merged([NightProfile.of(some), NightProfile.of(others)]) == NightProfile.of(
        [*some, *others]
    )


@QUICK
@given(ROWS)
def test_profile_survives_json(rows: list[Row]) -> None:
    profile = NightProfile.of(rows)
    assert NightProfile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile


def test_merging_no_nights_gives_an_empty_night() -> None:
    assert merged([]) == NightProfile.of([])
    assert NightProfile.of([]).offered == 0


def row(status: Status = Status.SCORED, code: str = "", **changes: object) -> Row:
    return Row(film="a.png", status=status, reason=Reason(code) if code else None, **changes)  # type: ignore[arg-type]


def test_duplicates_are_left_out() -> None:
    assert NightProfile.of([row(Status.DUPLICATE, "same_bytes", view="PA")]) == NightProfile.of([])


def test_refused_files_that_are_not_pictures_are_left_out() -> None:
    codes = ["not_image", "not_followed", "not_chest", "lateral"]
    films = [Row(film=code, status=Status.REFUSED, reason=Reason(code)) for code in codes]
    profile = NightProfile.of([*films, row()])
    assert (profile.refused, profile.offered) == (2, 3)
    assert profile.views == {"": 3}


def test_rare_scanners_are_counted_together() -> None:
    rows = [Row(film=str(n), status=Status.SCORED, manufacturer=f"maker {n}") for n in range(25)]
    scanners = NightProfile.of(rows).scanners
    assert len(scanners) == 21
    assert scanners["others"] == 5


def test_rows_without_input_statistics_give_empty_histograms() -> None:
    profile = NightProfile.of([row(probability=0.5)])
    assert profile.histograms["probability"] == {0: 1}
    assert profile.histograms["grey_mean"] == {}


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("value", [0.0, 1e-9, 0.0625, 0.5, 0.75, 1.0])
def test_middle_of_a_bin_is_close_to_its_values(name: str, value: float) -> None:
    scale = SCALES[name]
    lowest, (films,) = aligned(name, NightProfile(histograms={name: {scale.bin(value): 1}}))
    middle = scale.value(float(scale.middle(lowest + films.nonzero()[0])[0]))
    assert middle == pytest.approx(value, rel=0.02, abs=0.035 if scale.kind == "logit" else 0.006)


def test_value_on_an_edge_is_in_the_bin_above() -> None:
    assert [Scale("plain", 0.005).bin(n * 0.005) for n in range(200)] == list(range(200))


def test_aligned_histograms_have_the_same_bins() -> None:
    one = NightProfile(histograms={"black": {3: 2}})
    other = NightProfile(histograms={"black": {1: 5, 4: 1}})
    lowest, (films, others) = aligned("black", one, other)
    assert (lowest, films.tolist(), others.tolist()) == (1, [0, 0, 2, 0], [5, 0, 0, 1])


def test_profile_survives_writing_and_reading(tmp_path: Path) -> None:
    profile = NightProfile.of([row(probability=0.5, black=0.1, manufacturer="größe")])
    profile.write(tmp_path)
    assert NightProfile.read(tmp_path) == profile


def test_profile_of_an_older_report_comes_from_its_rows(tmp_path: Path) -> None:
    rows = [row(probability=0.5, domain_distance=0.5, screened_at="2026-11-22")]
    write_rows(tmp_path / PREDICTIONS, rows)
    assert NightProfile.read(tmp_path) == NightProfile.of(rows)


def test_reading_a_folder_that_is_not_a_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is not a report"):
        NightProfile.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"histograms": []}',
        '{"histograms": {"black": [1]}}',
        '{"histograms": {"black": [["x", 1]]}}',
        '{"histograms": {}, "more": 1}',
    ],
)
def test_damaged_profile_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / PROFILE).write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=r"profile\.json is damaged"):
        NightProfile.read(tmp_path)
