"""Changes in a folder of films: whether it has settled, and what changed after its listing."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from screening.audit import Event
from screening.files import Found, discover, film_path, is_inside
from screening.inference.reader import hash_of

#: Maximum, in seconds, by which the clock of a file server may be ahead.
_AHEAD: Final = 60.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ChangeKind(StrEnum):
    """Change of a film since its folder was listed; the value is also the event's name."""

    ARRIVED_LATE = "arrived_late"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class FolderChange:
    """A film that differs from the listing.

    Attributes:
        found: its current state, or the listed one if it was removed.
    """

    kind: ChangeKind
    found: Found


def settles_at(folder: Path, settle: float, now: float) -> float | None:
    """Return when `folder` will have settled, if nothing in it changes any more.

    Args:
        settle: seconds without a change; 0 disables the check.
        now: seconds since the epoch.

    Returns:
        Seconds since the epoch, later than `now`; None if it has settled.

    Raises:
        OSError: if a folder cannot be listed.
    """
    if settle <= 0:
        return None
    at = newest_change(folder, now) + settle
    return at if at > now else None


def newest_change(folder: Path, now: float) -> float:
    """Return the time of the last change of `folder` or anything below it; links are not followed.

    This compares change times (``st_ctime``, inode(7)): the kernel sets them when content, name or
    attributes change, and programs cannot set them. A copy that preserves modification times
    (``cp -p``, rsync, a modality) has an old modification time but a new change time. Removing or
    renaming a file changes the folder it was in.

    Args:
        now: seconds since the epoch.

    Returns:
        Seconds since the epoch; 0 if all changes are dated more than a minute after `now`.

    Raises:
        OSError: if a folder cannot be listed. Files that vanish meanwhile are skipped.
    """
    # Dates in the future come from a wrong clock that was set back, or from a server with one.
    # Counting them would keep the folder from settling until that date, perhaps for years.
    latest = now + _AHEAD
    return max((at for at in _change_times(folder) if at <= latest), default=0.0)


def changes(listed: Sequence[Found], present: Sequence[Found]) -> list[FolderChange]:
    """Return the differences between two listings of a folder, sorted by path."""
    before = {found.film: found for found in listed}
    after = {found.film: found for found in present}
    changed = []
    for film in sorted(before.keys() | after.keys()):
        if film not in before:
            changed.append(FolderChange(ChangeKind.ARRIVED_LATE, after[film]))
        elif film not in after:
            changed.append(FolderChange(ChangeKind.REMOVED, before[film]))
        elif _differ(before[film], after[film]):
            changed.append(FolderChange(ChangeKind.CHANGED, after[film]))
    return changed


def late_events(
    folder: Path,
    listed: Sequence[Found],
    rows: Mapping[str, str],
    shown_name: Callable[[str], str],
    at: str,
) -> list[Event]:
    """Return the audit events for films that changed after the listing, sorted by path.

    New and changed films are read to hash them.

    Args:
        rows: SHA-256 in each film's row, by film; empty for a film that was not read.
        shown_name: returns the name under which a film is shown; nothing else reveals its name.
        at: time of the events: UTC, ISO 8601.

    Raises:
        OSError: if a folder cannot be listed.
    """
    return [
        _event(folder, change, rows.get(change.found.film, ""), shown_name, at)
        for change in changes(listed, discover(folder))
    ]


def hash_now(folder: Path, found: Found) -> str:
    """Return a film's current SHA-256; empty if it is unreadable or not inside the folder."""
    path = film_path(folder, found.film)
    return hash_of(path) if found.is_file and is_inside(path, folder) else ""


def _change_times(folder: Path) -> Iterator[float]:
    """Yield the change time of the folder and of everything below it, with one system call each."""
    yield folder.stat().st_ctime
    top = os.fspath(folder)
    waiting = [top]
    while waiting:
        walked = waiting.pop()
        try:
            entries = os.scandir(walked)
        except (FileNotFoundError, NotADirectoryError):
            if walked == top:
                raise
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                try:
                    changed = entry.stat(follow_symlinks=False).st_ctime
                except FileNotFoundError:
                    continue
                yield changed


def _differ(before: Found, after: Found) -> bool:
    if (before.size, before.is_file) != (after.size, after.is_file):
        return True
    return before.modified_ns not in (0, after.modified_ns)


def _event(
    folder: Path, change: FolderChange, row_sha256: str, shown_name: Callable[[str], str], at: str
) -> Event:
    found, name = change.found, shown_name(change.found.film)
    if change.kind is ChangeKind.REMOVED:
        return Event(at, change.kind.value, name)
    sha256 = hash_now(folder, found)
    fields = {}
    if change.kind is ChangeKind.CHANGED:
        fields["row_of"] = _row_of(found, row_sha256, sha256)
    if found.modified_ns:
        modified = _EPOCH + timedelta(microseconds=found.modified_ns // 1000)
        fields["modified"] = modified.isoformat(timespec="milliseconds")
    return Event(at, change.kind.value, name, fields, sha256)


def _row_of(found: Found, row_sha256: str, sha256: str) -> str:
    """Return which content of a changed film its row refers to, or why that is unknown."""
    if not found.is_file:
        return "no_file"
    if not sha256:
        return "unreadable"
    if not row_sha256:
        return "no_content"
    # Equal hashes: the film changed before it was read, or only its times changed.
    return "new_content" if row_sha256 == sha256 else "old_content"
