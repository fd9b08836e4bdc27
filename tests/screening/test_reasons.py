"""Every reason is a stable code and one sentence; the code is part of the file format."""

import re

import pytest

from screening.results import DUPLICATES, FAILURES, REFUSALS, WARNINGS, Reason

TABLES = (REFUSALS, FAILURES, DUPLICATES, WARNINGS)
SENTENCES = [pair for table in TABLES for pair in table.items()]
CODES = sorted({code for code, _sentence in SENTENCES})


def test_sentences_are_unique() -> None:
    # A code may be both a warning and a refusal, with the same sentence.
    assert len(set(SENTENCES)) == len(CODES)


@pytest.mark.parametrize("code", CODES)
def test_reason_is_code_and_sentence(code: str) -> None:
    assert re.fullmatch(r"[a-z_]+: [A-Z][^()]*[^.()]\.", str(Reason(code)))
    assert str(Reason(code, "a.png")) == f"{str(Reason(code))[:-1]} (a.png)."


@pytest.mark.parametrize("code", ["killed_worker", "not_screened"])
def test_worker_and_job_outcomes_are_failures(code: str) -> None:
    assert code in FAILURES


def test_film_scored_by_another_job_is_a_duplicate() -> None:
    assert str(Reason("already_screened", "job 20261122-213005-9f3c2a")) == (
        "already_screened: A finished job has scored this file (job 20261122-213005-9f3c2a)."
    )


def test_unknown_code_is_an_error() -> None:
    with pytest.raises(ValueError, match="the code 'bored' is unknown"):
        Reason("bored")
