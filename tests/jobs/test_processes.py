"""How many processors a worker may use."""

import os

import pytest

from jobs.host import cores

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("max 100000", ALLOWED),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("100000000 100000", ALLOWED),
        ("", ALLOWED),
        ("what", ALLOWED),
    ],
)
def test_a_container_may_be_allowed_less_than_the_machine_has(tmp_path, said, expected):
    (tmp_path / "cpu.max").write_text(said)
    assert cores(tmp_path / "cpu.max") == expected


def test_a_quota_is_rounded_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert cores(tmp_path / "cpu.max") == 3


def test_without_a_quota_all_that_the_process_may_run_on_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3})
    assert cores(tmp_path / "no such file") == 2
