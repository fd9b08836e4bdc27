"""Enqueue each sub-folder of a watched folder once it is complete."""

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

#: Seconds before a failed action is tried again.
_AGAIN: Final = 60.0

#: Seconds for which the folders below a queued study are checked once a minute: a late film may
#: arrive in one of them.
_RECENT_SECONDS: Final = 3600.0

#: Maximum of jobs created in one pass: each takes a moment, and waiting jobs should start.
_MAX_JOBS: Final = 50


@dataclass(frozen=True)
class _Recent:
    """A study that was queued recently.

    Attributes:
        until: end of that period; seconds since the epoch, like `next_look`.
        below: modification time of each folder below the study.
    """

    until: float
    next_look: float
    below: dict[str, int]


class StudySource:
    """A :class:`~jobs.worker.worker.JobSource` for a watched folder, whose sub-folders are studies.

    A sub-folder becomes a job when it contains a file and nothing in it has changed for the number
    of seconds in the option `settle`. This happens once, across restarts and several workers.
    Sub-folders whose names begin with a dot are ignored, because programs use them for incomplete
    data; so are links.

    After that, only modification times of folders are checked: those of the sub-folder itself, and
    for an hour those of the folders below it. If one has changed, a warning names the job.

    Args:
        request: template for the jobs, except for the folder; `reports` is the folder of reports.
        clock: seconds since the epoch.
    """

    def __init__(
        self, folder: Path, request: JobRequest, agenda: ScheduleStore, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._request = request
        self._agenda = agenda
        self._clock = clock
        # Sub-folders that exist, with the record of their job; None if they have none yet.
        self._known: dict[str, WatchedFolder | None] = {}
        self._later: dict[str, float] = {}
        self._recent: dict[str, _Recent] = {}
        self._loose = 0

    def feed(self) -> None:
        """Enqueue the sub-folders that have settled since the last call, up to fifty of them."""
        now = self._clock()
        if self._is_later("", now):
            return
        try:
            studies = self._listed(now)
        except OSError as error:
            self._postpone("", now, "folder_not_listed", error)
            return
        self._remember(studies)
        queued = 0
        for name, entry in studies.items():
            if self._is_later(name, now):
                continue
            try:
                queued += self._process(entry, now)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._postpone(name, now, "study_not_queued", error)
            except ScreeningError as error:
                # The bundle or the labels are invalid, which affects all studies.
                self._postpone("", now, "studies_not_queued", error)
                return
            if queued == _MAX_JOBS:
                return

    def _listed(self, now: float) -> dict[str, "os.DirEntry[str]"]:
        """Return the sub-folders, sorted by name; warn about any other entries."""
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
        """Load the records of the sub-folders that exist, and drop the others."""
        unknown = [name for name in studies if name not in self._known]
        before = self._agenda.watched(self._folder, unknown) if unknown else {}
        self._known = {name: self._known.get(name, before.get(name)) for name in studies}
        self._recent = {name: one for name, one in self._recent.items() if name in self._known}
        self._later = {
            name: at for name, at in self._later.items() if name in self._known or name in ("", "/")
        }

    def _process(self, entry: "os.DirEntry[str]", now: float) -> bool:
        """Process one sub-folder; return True if it has just become a job."""
        modified = modified_ns(entry.stat(follow_symlinks=False))
        known = self._known[entry.name]
        if known is not None:
            changed = known.modified_ns != modified
            # Check both at once, so that a new folder causes one warning.
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
            # Another worker that watches the same folder was faster.
            self._known.pop(entry.name)
            return False
        structlog.get_logger().info("study_queued", job=job.name)
        self._known[entry.name] = WatchedFolder(modified, job.name)
        self._recent[entry.name] = _Recent(now + _RECENT_SECONDS, now + _AGAIN, below)
        return True

    def _has_changed_below(self, entry: "os.DirEntry[str]", now: float, at_once: bool) -> bool:
        recent = self._recent.get(entry.name)
        if recent is None:
            return False
        if now >= recent.until:
            del self._recent[entry.name]
            return False
        if _is_waiting(recent.next_look, now) and not at_once:
            return False
        below = _changes_below(Path(entry.path))
        self._recent[entry.name] = replace(recent, next_look=now + _AGAIN, below=below)
        return below != recent.below

    def _is_later(self, name: str, now: float) -> bool:
        return _is_waiting(self._later.get(name, 0.0), now)

    def _postpone(self, name: str, now: float, event: str, error: Exception) -> None:
        """Retry in a minute. The folder and the message are not logged: both may name a patient."""
        self._later[name] = now + _AGAIN
        structlog.get_logger().error(event, why=type(error).__name__)


def _is_waiting(at: float, now: float) -> bool:
    """Return True before `at`, but not for longer than a minute, in case the clock was set back."""
    return now < at <= now + _AGAIN


def _changes_below(study: Path) -> dict[str, int]:
    """Return the modification time of each folder below a study, in nanoseconds since 1970."""
    below = [Path(walked, name) for walked, names, _files in os.walk(study) for name in names]
    return {str(folder): modified_ns(folder.lstat()) for folder in below}
