"""A folder of films while it is written into: has it settled, and what came after its listing?"""

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

#: Seconds by which the clock of a file server may be ahead.
_AHEAD: Final = 60.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ChangeKind(StrEnum):
    """What became of a film since its folder was listed; also the name of the event."""

    ARRIVED_LATE = "arrived_late"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class FolderChange:
    """One film that is not as it was listed.

    Attributes:
        found: as it is now; as it was listed if it was removed.
    """

    kind: ChangeKind
    found: Found


def settles_at(folder: Path, settle: float, now: float) -> float | None:
    """When `folder` will have settled, if nothing more changes in it.

    Args:
        settle: seconds for which nothing may have changed; with 0 nobody looks.
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
    """When `folder` or something below it last changed; links are not followed.

    The change times (``st_ctime``, inode(7)) are compared: the kernel sets them when content, name
    or attributes change, and no program can choose them. A copy that keeps the modification times
    of its originals (``cp -p``, rsync, a modality) is years old by those, and new by these.
    What is taken away or renamed changes the folder it was in.

    Args:
        now: seconds since the epoch.

    Returns:
        Seconds since the epoch; 0 if all changes are dated later than a minute from `now`.

    Raises:
        OSError: if a folder cannot be listed. What vanishes meanwhile is left out.
    """
    # Written before a wrong clock was put back, or by a server with such a clock: counted, these
    # would keep the folder from settling until the clock is there again, perhaps for years.
    latest = now + _AHEAD
    return max((at for at in _change_times(folder) if at <= latest), default=0.0)


def changes(listed: Sequence[Found], present: Sequence[Found]) -> list[FolderChange]:
    """What differs between the listing of a folder and a later one, sorted by path."""
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
    """What the audit says of films that are not as they were listed, sorted by path.

    Films that are new or changed are read to hash them.

    Args:
        rows: SHA-256 that each film's row has, by film; empty for a film that was not read.
        shown_name: what a film is called outside; nothing else here tells its name.
        at: of the events: UTC, ISO 8601.

    Raises:
        OSError: if a folder cannot be listed.
    """
    return [
        _event(folder, change, rows.get(change.found.film, ""), shown_name, at)
        for change in changes(listed, discover(folder))
    ]


def hash_now(folder: Path, found: Found) -> str:
    """SHA-256 of a film as it is now; empty if it cannot be read or is none of this folder's."""
    path = film_path(folder, found.film)
    return hash_of(path) if found.is_file and is_inside(path, folder) else ""


def _change_times(folder: Path) -> Iterator[float]:
    """Of the folder and everything below it; one call of the system for each."""
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
    details = [_modified(found)]
    if change.kind is ChangeKind.CHANGED:
        details.insert(0, _row_is_of(found, row_sha256, sha256))
    return Event(at, change.kind.value, name, ", ".join(filter(None, details)), sha256)


def _row_is_of(found: Found, row_sha256: str, sha256: str) -> str:
    """Which content of a changed film its row tells of."""
    if not found.is_file:
        return "it is no file any more"
    if not sha256:
        return "it cannot be read now"
    if not row_sha256:
        return "the row is of no content"
    # The same: it changed before it was read, or was only touched.
    return f"the row is of the file as it {'is now' if row_sha256 == sha256 else 'was before'}"


def _modified(found: Found) -> str:
    if not found.modified_ns:
        return ""
    at = _EPOCH + timedelta(microseconds=found.modified_ns // 1000)
    return f"modified {at.isoformat(timespec='milliseconds')}"
