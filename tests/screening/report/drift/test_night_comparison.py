"""Tests of comparing a night with earlier nights of its site and with its model's reference."""

from collections.abc import Callable

import pytest

from night_makers import night, nights, reference, rows
from screening.report.drift.drift_csv import ALL, NIGHTS, REFERENCE, THREE, TONIGHT, Drift
from screening.report.drift.model_comparison import control
from screening.report.drift.profile import NightProfile
from screening.results import FilmWarning, Row

EARLIER = nights(20)


def breached(lines: list[Drift], against: str = NIGHTS) -> set[str]:
    return {line.measure for line in lines if line.breach and line.against == against}


def line_of(
    lines: list[Drift], measure: str, window: str = TONIGHT, against: str = NIGHTS
) -> Drift:
    (line,) = [
        line
        for line in lines
        if (line.measure, line.window, line.against) == (measure, window, against)
    ]
    return line


def test_chance_differences_rarely_raise_an_alarm() -> None:
    alarms = []
    for stream in range(5):
        seen = nights(20, first=100 * stream)
        alarms.append(sum(bool(breached(control(seen[n], seen[:n], None))) for n in range(20)))
    assert max(alarms) <= 1


def test_unchanged_night_has_all_measures_within_limits() -> None:
    lines = control(night(7), EARLIER, None)
    tonight = [line for line in lines if line.against == NIGHTS and line.window == TONIGHT]
    assert {line.measure for line in tonight} == {
        *("positive_rate", "refusal_rate", "out_of_domain", "inverted", "rotated", "ks", "psi"),
        *("domain_distance", "grey_mean", "grey_sd", "black", "white", "sharpness"),
        *("views", "scanners"),
    }
    for line in tonight:
        assert line.value is not None
        assert line.high is not None
        assert (line.low or 0) <= line.value <= line.high
        assert line.n == 100


def scaled(column: str, by: float) -> Callable[[int, Row], float]:
    return lambda _number, row: getattr(row, column) * by


def every_fifth(value: object, column: str) -> Callable[[int, Row], object]:
    return lambda number, row: getattr(row, column) if number % 5 else value


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        ({"positive": 0.35}, "positive_rate"),
        ({"positive": 0.35}, "ks"),
        ({"positive": 0.5}, "psi"),
        ({"refuse_every": 10}, "refusal_rate"),
        ({"warnings": every_fifth((FilmWarning("out_of_domain"),), "warnings")}, "out_of_domain"),
        ({"warnings": every_fifth((FilmWarning("inverted"),), "warnings")}, "inverted"),
        ({"domain_distance": scaled("domain_distance", 1.1)}, "domain_distance"),
        ({"grey_mean": scaled("grey_mean", 0.9)}, "grey_mean"),
        ({"grey_sd": scaled("grey_sd", 0.9)}, "grey_sd"),
        ({"black": scaled("black", 3)}, "black"),
        ({"white": 0.2}, "white"),
        ({"sharpness": scaled("sharpness", 1.2)}, "sharpness"),
        ({"view": "AP"}, "views"),
        ({"manufacturer": every_fifth("Newcomer", "manufacturer")}, "scanners"),
    ],
)
def test_breach_names_the_measure_that_changed(changes: dict[str, object], measure: str) -> None:
    lines = control(night(7, **changes), EARLIER, None)  # type: ignore[arg-type]
    assert measure in breached(lines)
    assert line_of(lines, measure).breach


def test_small_change_is_found_over_three_nights() -> None:
    changed = [night(seed, positive=0.2) for seed in (3, 4, 5)]
    lines = control(changed[2], [*EARLIER, *changed[:2]], None)
    assert line_of(lines, "positive_rate", THREE).breach
    assert line_of(lines, "positive_rate", THREE).n == 300


def test_fluctuating_nights_have_wider_limits() -> None:
    swinging = [night(n, positive=0.02 if n % 2 else 0.3) for n in range(20)]
    wide = line_of(control(night(7), swinging, None), "positive_rate")
    narrow = line_of(control(night(7), EARLIER, None), "positive_rate")
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.high > narrow.high + 0.1


@pytest.mark.parametrize("earlier", [[], EARLIER[:4], [night(n, films=61) for n in range(4)]])
def test_too_few_nights_give_only_a_line_that_says_so(earlier: list[NightProfile]) -> None:
    lines = [line for line in control(night(7), earlier, None) if line.against == NIGHTS]
    assert {line.measure for line in lines} == {ALL}
    for line in lines:
        assert (line.value, line.expected, line.low, line.high) == (None, None, None, None)
        assert not line.breach
    assert f"{sum(each.offered for each in earlier)} films" in lines[0].sentence


@pytest.mark.parametrize("films", [0, 1, 4])
def test_single_study_is_merged_and_raises_no_alarm(films: int) -> None:
    studies = [night(seed, films=4) for seed in range(200)]
    odd = night(7, films=films, positive=1, view="AP", grey_mean=0.9, manufacturer="Newcomer")
    lines = control(odd, studies, None)
    assert not breached(lines)
    assert films == 0 or line_of(lines, "positive_rate").n in range(60, 64)


def test_enough_changed_studies_raise_an_alarm() -> None:
    studies = [night(seed, films=4) for seed in range(200)]
    dark = [night(seed, films=4, grey_mean=scaled("grey_mean", 0.8)) for seed in range(15)]
    assert "grey_mean" in breached(control(dark[-1], [*studies, *dark[:-1]], None))


def test_measure_missing_from_older_nights_is_not_compared() -> None:
    older = nights(20, grey_mean=None)
    measures = {line.measure for line in control(night(7), older, None)}
    assert "grey_mean" not in measures
    assert "sharpness" in measures


def test_one_outlier_film_raises_no_alarm() -> None:
    def strange(number: int, _row: Row) -> float:
        return 1.0 if number == 0 else 0.0005

    assert "white" not in breached(control(night(7, white=strange), nights(20, white=0.0005), None))


def test_model_without_a_reference_gets_a_line_that_says_so() -> None:
    line = line_of(control(night(7), EARLIER, None), ALL, against=REFERENCE)
    assert "no reference" in line.sentence
    assert line.value is None


OWN = reference(rows(1, films=800, positive=0.7))


def test_less_pneumonia_than_in_training_is_no_breach() -> None:
    lines = control(night(7), [], OWN)
    rate = line_of(lines, "positive_rate", against=REFERENCE)
    assert rate.expected == pytest.approx(0.7, abs=0.05)
    assert line_of(lines, "psi", against=REFERENCE).value > 0.25  # type: ignore[operator]
    assert breached(lines, REFERENCE) == set()


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        ({"refuse_every": 6}, "refusal_rate"),
        ({"warnings": every_fifth((FilmWarning("out_of_domain"),), "warnings")}, "out_of_domain"),
        ({"domain_distance": scaled("domain_distance", 1.5)}, "domain_distance"),
        ({"grey_mean": scaled("grey_mean", 0.7)}, "grey_mean"),
        ({"sharpness": scaled("sharpness", 2)}, "sharpness"),
    ],
)
def test_site_unlike_training_is_a_breach_from_first_night(
    changes: dict[str, object], measure: str
) -> None:
    lines = control(night(7, **changes), [], OWN)  # type: ignore[arg-type]
    assert measure in breached(lines, REFERENCE)


def test_small_difference_from_training_is_no_breach() -> None:
    lines = control(night(7, films=5000, refuse_every=30, grey_mean=0.45), [], OWN)
    assert breached(lines, REFERENCE) == set()


def test_night_of_few_films_is_not_compared_with_reference() -> None:
    line = line_of(control(night(7, films=20), [], OWN), ALL, against=REFERENCE)
    assert line.sentence == "20 films are too few to compare; 60 are needed."


def test_night_with_all_films_refused_is_compared() -> None:
    lines = control(night(7, refuse_every=1), EARLIER, OWN)
    assert "refusal_rate" in breached(lines)
    assert "refusal_rate" in breached(lines, REFERENCE)


def test_sentences_name_the_changed_class_and_end_with_a_period() -> None:
    lines = control(night(7, manufacturer="Newcomer"), EARLIER, OWN)
    sentence = line_of(lines, "scanners").sentence
    assert sentence.startswith("The share of the manufacturer Newcomer is 1 tonight")
    assert all(line.sentence.endswith(".") for line in lines)
