"""A folder that is screened again and again, at fixed times."""

from dataclasses import dataclass
from pathlib import Path

from jobs.options import Options
from jobs.template import expand
from jobs.times import Times


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is queued at each firing; a new job each time.

    Attributes:
        cron: see :class:`~jobs.times.Times`, like `tz`.
        folder: template of the folder, absolute; :func:`jobs.template.expand` fills it in.
        report: template of the report, absolute; empty for a folder in `reports`.
        reports: where reports go that are called like their job, absolute.
        model: bundle, absolute; its hash is taken at each firing.
        catch_up: firings that are made up for after downtime.
        added_at: UTC, ISO 8601.
        last: the newest firing that was dealt with, or when it was added; seconds since the epoch.
    """

    name: str
    cron: str
    tz: str
    folder: str
    report: str
    reports: Path
    model: Path
    options: Options
    added_at: str
    last: float
    priority: int = 0
    tags: tuple[str, ...] = ()
    catch_up: int = 7

    @property
    def times(self) -> Times:
        """When it fires.

        Raises:
            ScheduleError: if they cannot be understood here: a machine may lack a time zone that
                the one on which it was added has.
        """
        return Times(self.cron, self.tz)

    def folder_at(self, at: float) -> Path:
        """The folder of the firing at `at`, seconds since the epoch."""
        return Path(expand(self.folder, self.times.local(at)))

    def report_at(self, at: float) -> Path | None:
        """The report of the firing at `at`; None if it is called like its job."""
        return Path(expand(self.report, self.times.local(at))) if self.report else None


@dataclass(frozen=True)
class Firing:
    """What became of one time at which a schedule fired.

    Attributes:
        at: seconds since the epoch.
        job: its name; empty if the firing was missed and not made up for.
    """

    at: int
    job: str
