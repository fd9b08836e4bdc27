"""Tests of the journal, which survives power losses, full disks and damage."""

import json
import os
import resource

import pytest

from exports.edge.journal import LISTED, Journal
from screening.audit import Event
from screening.errors import ReportError
from screening.results import Row, Status

BEGUN = {"folder": "/films", "model_sha256": "0" * 64, LISTED: ["a", "b"]}


def row(number):
    return Row(film=f"{number}.png", status=Status.SCORED, probability=number / 100)


def event(number):
    return Event("2026-01-01T00:00:00.000+00:00", "resumed", "job", {"number": str(number)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".report.journal"


@pytest.fixture
def journal(path):
    """Three commits of two rows each."""
    journal = Journal.open(path, BEGUN)
    for number in range(0, 6, 2):
        journal.commit([row(number), row(number + 1)], [event(number)])
    return journal


def test_commits_are_read_back_on_reopening(journal, path):
    again = Journal.open(path, BEGUN)
    assert again.rows == journal.rows == [row(number) for number in range(6)]
    assert again.events == journal.events == [event(number) for number in (0, 2, 4)]
    assert again.resumed
    assert not journal.resumed


def test_any_file_name_survives_a_round_trip(path):
    names = ["ä b", "\ud800", "名.png", 'a"b', "a\\nb"]
    Journal.open(path, BEGUN).commit([Row(film=name, status=Status.FAILED) for name in names])
    assert [row.film for row in Journal.open(path, BEGUN).rows] == names


def test_resumed_journal_keeps_the_first_list_of_films(path, journal):
    later = BEGUN | {LISTED: ["a", "b", "c"]}
    assert Journal.open(path, later).begun[LISTED] == ["a", "b"]


@pytest.mark.parametrize("change", [{"folder": "/other"}, {"model_sha256": "1" * 64}, {"new": 1}])
def test_journal_of_another_screening_is_refused_and_kept(journal, path, change):
    before = path.read_bytes()
    with pytest.raises(ReportError, match="journal of an earlier run"):
        Journal.open(path, BEGUN | change)
    assert path.read_bytes() == before


def test_truncation_at_any_byte_loses_only_the_last_line(journal, path):
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        lines = sum(end <= cut for end in ends)
        # A line without only its line ending is complete, too.
        lines += any(end - 1 == cut for end in ends)
        again = Journal.open(path, BEGUN)
        assert again.rows == journal.rows[: 2 * max(0, lines - 1)]


def test_row_written_before_interrupt_counts_as_written(path, monkeypatch):
    journal = Journal.open(path, BEGUN)
    journal.commit(events=[event(0)])
    assert journal.is_empty

    def interrupt(_handle):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.commit([row(0)])
    assert not journal.is_empty
    again = Journal.open(path, BEGUN)
    assert (again.rows, again.is_empty) == ([row(0)], False)


def test_journal_continues_after_a_truncated_line(journal, path):
    path.write_bytes(path.read_bytes()[:-10])
    again = Journal.open(path, BEGUN)
    again.commit([row(4), row(5)])
    again.commit([row(6)])
    assert Journal.open(path, BEGUN).rows == [row(number) for number in range(7)]


@pytest.mark.parametrize(
    "tail", [bytes(4096), b"\xff" * 100, b"0123 {", b"\n\n\n", bytes(9) + b"\n"]
)
def test_garbage_at_the_end_is_truncated(journal, path, tail):
    with path.open("ab") as file:
        file.write(tail)
    again = Journal.open(path, BEGUN)
    assert again.rows == journal.rows
    again.commit([row(6)])
    assert len(Journal.open(path, BEGUN).rows) == 7


def test_damage_before_a_valid_line_is_an_error_and_keeps_the_file(journal, path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"scored", b"failed")
    path.write_bytes(b"".join(lines))
    with pytest.raises(ReportError, match=r"line 2 of the journal .*report.journal is damaged"):
        Journal.open(path, BEGUN)
    assert path.read_bytes() == b"".join(lines)


def test_full_disk_is_an_error_that_loses_no_committed_rows(journal, path):
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel writes as much as fits and then fails, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, limits[1]))
    try:
        with pytest.raises(ReportError, match=r"cannot be written: .*earlier results are kept"):
            journal.commit([row(6), row(7)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.stat().st_size == size + 50
    assert Journal.open(path, BEGUN).rows == [row(number) for number in range(6)]
    journal.commit([row(6), row(7)])
    assert Journal.open(path, BEGUN).rows == [row(number) for number in range(8)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ReportError, match="cannot be written: Permission denied"):
        Journal.open(tmp_path / ".report.journal", BEGUN)


def test_journal_path_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match="cannot be written"):
        Journal.open(tmp_path / "file" / ".report.journal", BEGUN)


def test_each_line_is_json_with_a_checksum(journal, path):
    for line in path.read_text("ascii").splitlines():
        assert isinstance(json.loads(line[9:]), dict)
