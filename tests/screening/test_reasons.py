"""Every reason is a stable code and one sentence: the code is part of the file format."""

import re

import pytest

from screening.results import DUPLICATES, FAILURES, REFUSALS, WARNINGS, reason

TABLES = (REFUSALS, FAILURES, DUPLICATES, WARNINGS)
SENTENCES = [pair for table in TABLES for pair in table.items()]
CODES = sorted({code for code, _sentence in SENTENCES})


def test_no_code_means_two_things() -> None:
    # A warning may be a refusal, too, with the same sentence.
    assert len(set(SENTENCES)) == len(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_reason_is_its_code_and_a_sentence(code: str) -> None:
    assert re.fullmatch(r"[a-z_]+: [A-Z][^()]*[^.()]\.", reason(code))
    assert reason(code, "a.png") == f"{reason(code)[:-1]} (a.png)."


@pytest.mark.parametrize("code", ["killed_worker", "not_screened"])
def test_what_became_of_a_worker_or_a_job_is_a_failure(code: str) -> None:
    assert code in FAILURES


def test_what_another_job_has_scored_is_a_duplicate() -> None:
    assert reason("already_screened", "job 20261122-213005-9f3c2a") == (
        "already_screened: A finished job has scored this file (job 20261122-213005-9f3c2a)."
    )


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError, match="bored"):
        reason("bored")
