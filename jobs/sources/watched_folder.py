"""Queue each sub-folder of a folder, once it is written."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from jobs.queue.schedules import ScheduleStore, WatchedFolder
from jobs.sources.folder_changes import settles_at
from jobs.sources.submission import JobRequest, new_job
from screening.errors import ScreeningError
from screening.files import discover, modified_ns

#: Seconds until what went wrong is tried again.
_AGAIN: Final = 60.0

#: Seconds after it was queued for which a study is looked through, once a minute: a film may come late
#: into a folder below it.
_RECENT: Final = 3600.0

#: Jobs made in one look: each takes a moment, and those that are there wait to be begun.
_MOST: Final = 50


@dataclass(frozen=True)
class _Recent:
    """A study that was queued a short time ago.

    Attributes:
        until: when it is recent no more; seconds since the epoch, like `next_look`.
        below: when the list of entries of each folder below it changed.
    """

    until: float
    next_look: float
    below: dict[str, int]


class StudySource:
    """A :class:`~jobs.worker.worker.JobSource` for one folder, whose sub-folders are studies.

    A sub-folder becomes a job when it holds a file and nothing in it has changed for as long as the
    option `settle` says; once, over restarts and several workers. One whose name begins with a dot
    is left alone, as programs write aside what is not complete; so is a link.

    Of a sub-folder that has become a job only lists of entries are looked at: its own, and for an hour
    those of the folders below it. If one has changed, a warning names the job.

    Args:
        request: for each of them, but for its folder; `reports` is where the reports go.
        clock: seconds since the epoch.
    """

    def __init__(
        self, folder: Path, request: JobRequest, agenda: ScheduleStore, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._request = request
        self._agenda = agenda
        self._clock = clock
        # Of the sub-folders that are there: what they have become, None if that is to come.
        self._known: dict[str, WatchedFolder | None] = {}
        self._later: dict[str, float] = {}
        self._recent: dict[str, _Recent] = {}
        self._loose = 0

    def feed(self) -> None:
        """Queue the sub-folders that have settled since the last time, up to fifty of them."""
        now = self._clock()
        if self._is_later("", now):
            return
        try:
            studies = self._listed(now)
        except OSError as error:
            self._put_off("", now, "folder_not_listed", error)
            return
        self._remember(studies)
        queued = 0
        for name, entry in studies.items():
            if self._is_later(name, now):
                continue
            try:
                queued += self._look_at(entry, now)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._put_off(name, now, "study_not_queued", error)
            except ScreeningError as error:
                # It is the same for all of them: the bundle, or the labels.
                self._put_off("", now, "studies_not_queued", error)
                return
            if queued == _MOST:
                return

    def _listed(self, now: float) -> dict[str, "os.DirEntry[str]"]:
        """Sub-folders, sorted by name; warns if there is something else."""
        with os.scandir(self._folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
        studies = {entry.name: entry for entry in shown if entry.is_dir(follow_symlinks=False)}
        loose = len(shown) - len(studies)
        if loose <= self._loose:
            self._loose = loose
        elif not self._is_later("/", now):
            structlog.get_logger().warning("entries_in_no_study", number=loose)
            self._later["/"] = now + _AGAIN
            self._loose = loose
        return dict(sorted(studies.items()))

    def _remember(self, studies: Iterable[str]) -> None:
        """Know what those that are there have become, and forget the others."""
        unknown = [name for name in studies if name not in self._known]
        before = self._agenda.watched(self._folder, unknown) if unknown else {}
        self._known = {name: self._known.get(name, before.get(name)) for name in studies}
        self._recent = {name: one for name, one in self._recent.items() if name in self._known}
        self._later = {
            name: at for name, at in self._later.items() if name in self._known or name in ("", "/")
        }

    def _look_at(self, entry: "os.DirEntry[str]", now: float) -> bool:
        """True if it has become a job just now."""
        modified = modified_ns(entry.stat(follow_symlinks=False))
        known = self._known[entry.name]
        if known is not None:
            changed = known.modified_ns != modified
            # Together, so that a new folder is told of once.
            changed_below = self._has_changed_below(entry, now, at_once=changed)
            if changed:
                self._agenda.rewatch(self._folder, entry.name, modified)
                self._known[entry.name] = replace(known, modified_ns=modified)
            if changed or changed_below:
                structlog.get_logger().warning("study_changed_after_its_job", job=known.job)
            return False
        folder = Path(entry.path)
        if settles_at(folder, self._request.options.settle, now) or not discover(folder):
            return False
        below = _changes_below(folder)
        job = new_job(replace(self._request, folder=folder), always=True)
        if not self._agenda.watch(self._folder, entry.name, modified, job):
            # Another worker watches the same folder, and was faster.
            self._known.pop(entry.name)
            return False
        structlog.get_logger().info("study_queued", job=job.name)
        self._known[entry.name] = WatchedFolder(modified, job.name)
        self._recent[entry.name] = _Recent(now + _RECENT, now + _AGAIN, below)
        return True

    def _has_changed_below(self, entry: "os.DirEntry[str]", now: float, at_once: bool) -> bool:
        recent = self._recent.get(entry.name)
        if recent is None:
            return False
        if now >= recent.until:
            del self._recent[entry.name]
            return False
        if _is_to_come(recent.next_look, now) and not at_once:
            return False
        below = _changes_below(Path(entry.path))
        self._recent[entry.name] = replace(recent, next_look=now + _AGAIN, below=below)
        return below != recent.below

    def _is_later(self, name: str, now: float) -> bool:
        return _is_to_come(self._later.get(name, 0.0), now)

    def _put_off(self, name: str, now: float, event: str, error: Exception) -> None:
        """Try again in a minute. A folder's name may be a person's, and so may a message."""
        self._later[name] = now + _AGAIN
        structlog.get_logger().error(event, why=type(error).__name__)


def _is_to_come(at: float, now: float) -> bool:
    """True before `at`; a clock that was put back keeps nothing waiting."""
    return now < at <= now + _AGAIN


def _changes_below(study: Path) -> dict[str, int]:
    """When the list of entries of each folder below a study changed, nanoseconds since 1970."""
    below = [Path(walked, name) for walked, names, _files in os.walk(study) for name in names]
    return {str(folder): modified_ns(folder.lstat()) for folder in below}
