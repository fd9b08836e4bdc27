"""Every change of a small report is detected, and attributed to the changed file.

The changes are made in memory, with the part of the verification that needs no disk; its file
access is tested in `test_verification.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path

import pytest

from screened_report import files_of, write_small_report
from screening.audit import AUDIT, read_audit
from screening.report.verification import examine, examine_beside, verify

Files = dict[str, bytes]


@pytest.fixture(scope="module", params=[write_small_report])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a report: contents by name."""
    write: Callable[[Path], Path] = request.param
    folder = write(tmp_path_factory.mktemp("small"))
    assert verify(folder) == []
    files = files_of(folder)
    assert sum(map(len, files.values())) < 50_000
    return files


@pytest.fixture(scope="module")
def is_long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


def assert_found(report: Files, changes: Callable[[str, bytes], Iterable[bytes]]) -> None:
    """Check that each of the `changes` of each file is a problem of that file only.

    If the audit is unchanged, it is not read again, and unchanged files are not checked: files are
    never compared with each other.
    """
    history = read_audit(report[AUDIT])
    for name, content in report.items():
        tried = 0
        for changed in changes(name, content):
            if name == AUDIT:
                files = report | {name: changed}
                problems = examine(files, files.__getitem__)
            else:
                there = list(examine_beside([name], {name: changed}.__getitem__, history))
                problems = [one for one in there if one.what != "missing"]
            assert {problem.file for problem in problems} == {name}, (name, tried, changed)
            tried += 1
        assert tried


def flips(content: bytes, masks: Callable[[int], Iterable[int]]) -> Iterator[bytes]:
    """Yield the content with one byte changed, for each mask at each position."""
    for place, byte in enumerate(content):
        for mask in masks(place):
            yield content[:place] + bytes([byte ^ mask]) + content[place + 1 :]


def test_any_flipped_byte_is_detected(report: Files, is_long: bool) -> None:
    single_bits = [1 << bit for bit in range(8)]

    def changes(name: str, content: bytes) -> Iterator[bytes]:
        if not is_long:
            return flips(content, lambda place: [single_bits[place % 8]])
        values = range(1, 256) if name == AUDIT else single_bits
        return flips(content, lambda _place: values)

    assert_found(report, changes)


def test_truncation_at_any_byte_is_detected(report: Files) -> None:
    assert_found(report, lambda _name, content: (content[:end] for end in range(len(content))))


def test_any_appended_byte_is_detected(report: Files) -> None:
    assert_found(report, lambda _name, content: (content + bytes([byte]) for byte in range(256)))


def test_any_prepended_byte_is_detected(report: Files) -> None:
    assert_found(report, lambda _name, content: (bytes([byte]) + content for byte in range(256)))


def rows(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def test_any_removed_row_is_detected(report: Files) -> None:
    def changes(_name: str, content: bytes) -> Iterator[bytes]:
        lines = rows(content)
        for place in range(len(lines)):
            yield b"".join(lines[:place] + lines[place + 1 :])

    assert_found(report, changes)


def test_any_inserted_row_is_detected(report: Files, is_long: bool) -> None:
    """Insert each row of a table, and an empty one, before each row and at the end.

    For the page, which has hundreds of rows, only its first, its last and an empty row are
    inserted, unless at full length.
    """

    def changes(name: str, content: bytes) -> Iterator[bytes]:
        lines = rows(content)
        put_in = lines if is_long or name.endswith(".csv") else [lines[0], lines[-1]]
        for row in {*put_in, b"\n", b"\r\n"}:
            for place in range(len(lines) + 1):
                yield b"".join([*lines[:place], row, *lines[place:]])

    assert_found(report, changes)


def test_swapped_rows_are_detected(report: Files, is_long: bool) -> None:
    """Swap neighbours; for the audit, and at full length for every file, all pairs."""

    def changes(name: str, content: bytes) -> Iterator[bytes]:
        lines = rows(content)
        for one, other in combinations(range(len(lines)), 2):
            is_tried = other == one + 1 or name == AUDIT or is_long
            if is_tried and lines[one] != lines[other]:
                swapped = list(lines)
                swapped[one], swapped[other] = lines[other], lines[one]
                yield b"".join(swapped)

    assert_found(report, changes)


def test_any_duplicated_row_is_detected(report: Files) -> None:
    def changes(_name: str, content: bytes) -> Iterator[bytes]:
        lines = rows(content)
        for place, row in enumerate(lines):
            yield b"".join([*lines[:place], row, *lines[place:]])

    assert_found(report, changes)


def test_any_removed_file_is_detected(report: Files) -> None:
    for name in report:
        files = {other: content for other, content in report.items() if other != name}
        (problem,) = examine(files, files.__getitem__)
        assert (problem.file, problem.what) == (name, "missing")


def test_any_renamed_file_is_detected(report: Files) -> None:
    for name in report:
        for renamed in (name.upper(), f"{name} ", f"folder/{name}", f"{name}={'0' * 64}"):
            files = {renamed if other == name else other: report[other] for other in report}
            found = {(one.file, one.what) for one in examine(files, files.__getitem__)}
            expected = {(name, "missing")}
            # Without an audit, the other files of the report are unknown.
            assert found == (expected if name == AUDIT else expected | {(renamed, "unknown")})


def test_files_with_swapped_names_are_detected(report: Files) -> None:
    for one, other in combinations(report, 2):
        files = report | {one: report[other], other: report[one]}
        found = {problem.file for problem in examine(files, files.__getitem__)}
        assert found == ({AUDIT} if AUDIT in (one, other) else {one, other})
