"""Number of processors available to a worker."""

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
def test_cpu_limit_of_container_is_respected(tmp_path, said, expected):
    (tmp_path / "cpu.max").write_text(said)
    assert cores(tmp_path / "cpu.max") == expected


def test_cpu_limit_is_rounded_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert cores(tmp_path / "cpu.max") == 3


def test_cpu_affinity_is_used_without_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3})
    assert cores(tmp_path / "no such file") == 2
