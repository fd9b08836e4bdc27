"""Limit of failed films for a systemic failure."""

import pytest

from jobs.worker.job_run import Failures
from screening.results import Reason, Row, Status


def rows(good: int = 0, **failed: int) -> list[Row]:
    """Make scored rows, and failed rows by reason code."""
    return [
        *(Row(film=f"{number}", status=Status.SCORED) for number in range(good)),
        *(
            Row(film=f"{code} {number}", status=Status.FAILED, reason=Reason(code))
            for code, count in failed.items()
            for number in range(count)
        ),
    ]


def counted(most: float, *batches: list[Row]) -> Failures:
    failures = Failures(most)
    for batch in batches:
        failures.count(batch)
    return failures


@pytest.mark.parametrize(
    ("good", "bad", "systemic"),
    [
        (0, 0, False),
        (20, 0, False),
        (0, 19, False),
        (0, 20, True),
        (16, 4, False),
        (15, 5, True),
        (14, 5, False),
        (80, 20, False),
        (79, 21, True),
    ],
)
def test_systemic_above_share_from_20_films_on(good: int, bad: int, systemic: bool):
    assert counted(0.2, rows(good, not_decodable=bad)).are_systemic() is systemic


def test_batches_add_up():
    failures = counted(0.5, rows(9, empty=3), rows(empty=7))
    assert not failures.are_systemic()
    failures.count(rows(empty=1))
    assert failures.are_systemic()
    failures.count(rows(2))
    assert not failures.are_systemic()


@pytest.mark.parametrize("status", [Status.REFUSED, Status.DUPLICATE])
def test_refused_and_duplicate_films_do_not_count_as_failed(status: Status):
    answered = [
        Row(film=str(number), status=status, reason=Reason("blank")) for number in range(90)
    ]
    assert not counted(0, answered).are_systemic()


def test_films_never_tried_are_ignored():
    assert not counted(0.2, rows(10, not_screened=1000)).are_systemic()
    assert not counted(0.2, rows(100, not_screened=1000)).are_systemic()
    assert counted(0.2, rows(70, empty=30, not_screened=1000)).are_systemic()
    assert "not_screened" not in str(counted(0.2, rows(1, not_screened=9)))


def test_share_of_one_is_never_exceeded():
    assert not counted(1, rows(not_decodable=500)).are_systemic()


def test_share_of_zero_is_exceeded_by_one_film():
    assert counted(0, rows(19, empty=1)).are_systemic()
    assert not counted(0, rows(20)).are_systemic()


def test_message_has_counts_and_three_most_common_reasons():
    failures = counted(0.25, rows(50, empty=1, not_decodable=20, decode_timeout=9, too_large=3))
    assert str(failures).startswith(
        "33 of 83 films failed (not_decodable 20, decode_timeout 9, too_large 3), "
        "more than the allowed share of 0.25; "
    )
