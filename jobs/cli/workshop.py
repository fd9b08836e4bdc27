"""Where an engine and a predictor are put together for the commands that screen."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from jobs import exit_codes
from jobs.agenda import Agenda
from jobs.cli.progress import ScreeningProgress
from jobs.engines.cluster.access import Access
from jobs.engines.engine import Engine
from jobs.engines.local import LocalEngine
from jobs.errors import QueueUnavailable, Stopped
from jobs.feeders.nights import Nights
from jobs.job import Job
from jobs.patience import PATIENCE, patient, patiently
from jobs.processes import cores
from jobs.profile import Profile
from jobs.runner import LEASE, Tools, Watcher
from jobs.sql.agenda import SqlAgenda
from jobs.sql.database import Database, open_database
from jobs.sql.store import SqlStore
from jobs.stop import Stop
from jobs.store import Store
from jobs.submission import Opener
from jobs.watchers import Herald, MetricsWriter, Watchers
from jobs.worker import Feeder, work

#: Seconds between two looks at a folder.
_LOOK: Final = 2.0

#: Makes the feeder for a folder whose sub-folders are studies.
StudiesOf = Callable[[Agenda], Feeder]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How a worker works.

    Attributes:
        drain: end when the queue is empty.
        max_jobs: end after so many jobs, in each process.
        processes: that share the work on this machine.
        lease: seconds after which another worker takes over a job of one that is not heard of.
        metrics: file for Prometheus.
        log: ``json`` or ``logfmt`` instead of lines for people.
        notify_command: told of each job that has ended.
        notify_url: likewise.
        public_key: whose bundles are taken; None for everybody's.
        sign_reports: private key with which every report is signed.
        cluster: whose machines screen; None for this one.
        profile: say where the time went.
    """

    drain: bool = False
    max_jobs: int | None = None
    processes: int = 1
    lease: float = LEASE
    metrics: Path | None = None
    log: str | None = None
    notify_command: str | None = None
    notify_url: str | None = None
    public_key: Path | None = None
    sign_reports: Path | None = None
    cluster: Access | None = None
    profile: bool = False

    @property
    def threads(self) -> int:
        """Of each process: all together one a core."""
        return max(1, cores() // self.processes)


def work_shift(queue: Path | str, shift: Shift, studies: StudiesOf | None = None) -> int:
    """Work off a queue in as many processes as were asked for; the exit code for the shell.

    Args:
        studies: what brings the sub-folders of a folder into the queue.
    """
    if shift.processes == 1:
        return work_off(queue, shift, studies=studies)
    from jobs.cli.crew import Crew
    from jobs.logs import configure

    configure(json=shift.log == "json", stream=sys.stderr)

    def work_as(number: int) -> int:
        # Each looks at the folder: one that is busy does not keep the others waiting.
        return work_off(queue, shift, None, number, studies)

    lasting = not shift.drain and shift.max_jobs is None
    return Crew(shift.processes, work_as, lasting).run()


def work_off(
    queue: Path | str,
    shift: Shift,
    only: str | None = None,
    number: int = 0,
    studies: StudiesOf | None = None,
) -> int:
    """Carry out jobs and say what becomes of them; the exit code for the shell.

    Args:
        only: this job and no other.
        number: of this process among those of the shift.
        studies: see :func:`work_shift`.
    """
    from jobs.logs import configure

    configure(json=shift.log == "json", stream=sys.stderr)
    sign = signer_of(shift.sign_reports)
    stop = Stop()
    _listen(stop)
    # A worker that is left alone waits for its queue as long as it takes.
    seconds = PATIENCE if shift.drain or only else None
    database = patiently(lambda: open_database(queue), stop, seconds)
    plain = SqlStore(database)
    store = patient(plain, stop, seconds)
    feeders = [] if only else _feeders(database, stop, seconds, studies)
    opener = Opener(store.scored_before, shift.public_key, store.events)
    profile = Profile(shift.threads)
    with (
        ScreeningProgress(live=shift.processes == 1, silent=shift.log is not None) as progress,
        _engine(shift, stop, profile) as engine,
    ):
        watcher = Watchers(progress, profile, *_watchers(shift, plain, number))
        tools = Tools(store, engine, opener.open, watcher, stop, shift.lease, sign=sign)
        try:
            codes = [_code(job) for job in work(tools, shift.drain, only, shift.max_jobs, feeders)]
        except (Stopped, QueueUnavailable, KeyboardInterrupt) as end:
            if isinstance(end, QueueUnavailable) and not stop.asked:
                raise
            progress.say(
                "Interrupted. `screening worker --drain` on this queue goes on from the last film."
            )
            return exit_codes.INTERRUPTED
    if shift.profile:
        for line in profile.lines():
            progress.say(line)
    if only is not None:
        # Another worker of the queue may have been faster.
        return _code(store.get(only))
    return exit_codes.most_severe(codes)


@contextmanager
def _engine(shift: Shift, stop: Stop, profile: Profile) -> Iterator[Engine]:
    """What the shift screens with."""
    if shift.cluster is None:
        yield LocalEngine(shift.threads, profile.told)
        return
    from jobs.engines.cluster.engine import ClusterEngine

    with closing(ClusterEngine(shift.cluster, stop)) as engine:
        yield engine


def signer_of(private_key: Path | None) -> Callable[[str], bytes] | None:
    """What signs reports, if they are to be signed."""
    if private_key is None:
        return None
    from exports.signature import signer

    return signer(private_key)


def feed_only(queue: Path | str, studies: StudiesOf) -> int:
    """Queue the sub-folders of a folder until a signal to stop; the exit code for the shell."""
    from jobs.logs import configure

    configure(json=False, stream=sys.stderr)
    stop = Stop()
    _listen(stop)
    with suppress(QueueUnavailable):
        # Without an end to its patience, it gives up only when it is to stop.
        database = patiently(lambda: open_database(queue), stop, None)
        feeder = studies(patient(SqlAgenda(database), stop, None))
        while not stop.asked:
            feeder.feed()
            stop.wait(_LOOK)
    return exit_codes.INTERRUPTED


def _feeders(
    database: Database, stop: Stop, seconds: float | None, studies: StudiesOf | None
) -> list[Feeder]:
    agenda = patient(SqlAgenda(database), stop, seconds)
    nights = Nights(agenda, time.time)
    return [nights] if studies is None else [nights, studies(agenda)]


def _watchers(shift: Shift, store: Store, number: int) -> list[Watcher]:
    """Those that were asked for."""
    watchers: list[Watcher] = []
    if shift.log:
        from jobs.logs import LogWatcher

        watchers.append(LogWatcher())
    if shift.metrics:
        from jobs.metrics import Metrics

        label = str(number) if shift.processes > 1 else ""
        path = shift.metrics
        if number:
            path = path.with_name(f"{path.stem}-{number}{path.suffix}")
        watchers.append(MetricsWriter(Metrics(path, worker=label), store, time.time))
    if shift.notify_command or shift.notify_url:
        from jobs.notify import Notifier

        notifier = Notifier.of(shift.notify_command, shift.notify_url)
        watchers.append(Herald(notifier, store, time.time))
    return watchers


def _code(job: Job) -> int:
    return exit_codes.ERROR if job.exit_code is None else job.exit_code


def _listen(stop: Stop) -> None:
    """Ctrl-C, and what a service manager sends, let films in hand be finished; the second does not."""

    def heard(_signal: int, _frame: FrameType | None) -> None:
        stop.ask()
        if stop.asked_twice:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, heard)
