"""Build the store, the engine and the predictor for the commands that need them."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Final

from sqlalchemy import make_url

from jobs import exit_codes
from jobs.cli.progress import ScreeningProgress
from jobs.engines.dask.config import ClusterConfig
from jobs.engines.local import LocalEngine
from jobs.errors import QueueUnavailable, Stopped, UnknownJob
from jobs.host import cores
from jobs.outputs.observers import JobProfile, MetricsWriter, NotificationObserver, Observers
from jobs.queue.jobs import Job
from jobs.queue.schedules import ScheduleStore
from jobs.queue.sql.database import Database, open_database
from jobs.queue.sql.schedules import SqlScheduleStore
from jobs.queue.sql.store import SqlStore
from jobs.queue.store import Store
from jobs.sources.scheduled import ScheduleSource
from jobs.sources.submission import Opener
from jobs.worker.engine import Engine
from jobs.worker.job_run import LEASE, Observer, Tools
from jobs.worker.lease import Stop
from jobs.worker.retrying_store import PATIENCE, retry_calls, retrying
from jobs.worker.worker import JobSource, work


def open_store(queue: Path | str) -> Store:
    """The queue in an SQLite file, made if it is not there, or in a PostgreSQL database."""
    return SqlStore(open_database(queue))


@contextmanager
def open_schedules(queue: Path | str) -> Iterator[ScheduleStore]:
    """The schedules of the same queue, which is closed afterwards."""
    database = open_database(queue)
    try:
        yield SqlScheduleStore(database)
    finally:
        database.close()


def shown(queue: Path | str) -> str:
    """The queue for people to read, without a password."""
    if isinstance(queue, Path):
        return str(queue)
    # A password may also stand behind the question mark.
    return make_url(queue).set(query={}).render_as_string()


def find(store: Store, word: str) -> Job:
    """The job that is called `word`, or the only one whose name begins so.

    Raises:
        UnknownJob: if there is none, or more than one; with the names that were perhaps meant.
    """
    try:
        return store.get(word)
    except UnknownJob as error:
        every = {job.name: job for job in store.jobs()}
        meant = [name for name in every if word and name.startswith(word)]
        if len(meant) == 1:
            return every[meant[0]]
        if meant:
            some = ", ".join(meant[:3]) + (", …" if len(meant) > 3 else "")
            why = f"{word} begins the names of {len(meant)} jobs: {some}"
            raise UnknownJob(why) from error
        near = get_close_matches(word, every)
        if near:
            raise UnknownJob(f"{error}; perhaps {' or '.join(near)} was meant") from error
        raise


#: Seconds between two looks at a folder.
_LOOK: Final = 2.0

#: Makes the feeder for a folder whose sub-folders are studies.
StudiesOf = Callable[[ScheduleStore], JobSource]


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
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
    cluster: ClusterConfig | None = None
    profile: bool = False

    @property
    def threads(self) -> int:
        """Of each process: all together one a core."""
        return max(1, cores() // self.processes)


def run_worker(queue: Path | str, shift: WorkerConfig, studies: StudiesOf | None = None) -> int:
    """Work off a queue in as many processes as were asked for; the exit code for the shell.

    Args:
        studies: what brings the sub-folders of a folder into the queue.
    """
    if shift.processes == 1:
        return run_single_job(queue, shift, studies=studies)
    from jobs.cli.supervisor import Supervisor
    from jobs.outputs.logs import configure

    configure(json=shift.log == "json", stream=sys.stderr)

    def work_as(number: int) -> int:
        # Each looks at the folder: one that is busy does not keep the others waiting.
        return run_single_job(queue, shift, None, number, studies)

    lasting = not shift.drain and shift.max_jobs is None
    return Supervisor(shift.processes, work_as, lasting).run()


def run_single_job(
    queue: Path | str,
    shift: WorkerConfig,
    only: str | None = None,
    number: int = 0,
    studies: StudiesOf | None = None,
) -> int:
    """Carry out jobs and say what becomes of them; the exit code for the shell.

    Args:
        only: this job and no other.
        number: of this process among those of the shift.
        studies: see :func:`run_worker`.
    """
    from jobs.outputs.logs import configure

    configure(json=shift.log == "json", stream=sys.stderr)
    sign = signer_of(shift.sign_reports)
    stop = Stop()
    _listen(stop)
    # A worker that is left alone waits for its queue as long as it takes.
    seconds = PATIENCE if shift.drain or only else None
    database = retry_calls(lambda: open_database(queue), stop, seconds)
    plain = SqlStore(database)
    store = retrying(plain, stop, seconds)
    feeders = [] if only else _feeders(database, stop, seconds, studies)
    opener = Opener(store.scored_before, shift.public_key, store.events)
    profile = JobProfile(shift.threads)
    with (
        ScreeningProgress(live=shift.processes == 1, silent=shift.log is not None) as progress,
        _engine(shift, stop, profile) as engine,
    ):
        watcher = Observers(progress, profile, *_watchers(shift, plain, number))
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
def _engine(shift: WorkerConfig, stop: Stop, profile: JobProfile) -> Iterator[Engine]:
    """What the shift screens with."""
    if shift.cluster is None:
        yield LocalEngine(shift.threads, profile.told)
        return
    from jobs.engines.dask.engine import ClusterEngine

    with closing(ClusterEngine(shift.cluster, stop)) as engine:
        yield engine


def signer_of(private_key: Path | None) -> Callable[[str], bytes] | None:
    """What signs reports, if they are to be signed."""
    if private_key is None:
        return None
    from exports.bundle import signer

    return signer(private_key)


def submit_from(queue: Path | str, studies: StudiesOf) -> int:
    """Queue the sub-folders of a folder until a signal to stop; the exit code for the shell."""
    from jobs.outputs.logs import configure

    configure(json=False, stream=sys.stderr)
    stop = Stop()
    _listen(stop)
    with suppress(QueueUnavailable):
        # Without an end to its patience, it gives up only when it is to stop.
        database = retry_calls(lambda: open_database(queue), stop, None)
        feeder = studies(retrying(SqlScheduleStore(database), stop, None))
        while not stop.asked:
            feeder.feed()
            stop.wait(_LOOK)
    return exit_codes.INTERRUPTED


def _feeders(
    database: Database, stop: Stop, seconds: float | None, studies: StudiesOf | None
) -> list[JobSource]:
    agenda = retrying(SqlScheduleStore(database), stop, seconds)
    nights = ScheduleSource(agenda, time.time)
    return [nights] if studies is None else [nights, studies(agenda)]


def _watchers(shift: WorkerConfig, store: Store, number: int) -> list[Observer]:
    """Those that were asked for."""
    watchers: list[Observer] = []
    if shift.log:
        from jobs.outputs.logs import LogObserver

        watchers.append(LogObserver())
    if shift.metrics:
        from jobs.outputs.metrics import Metrics

        label = str(number) if shift.processes > 1 else ""
        path = shift.metrics
        if number:
            path = path.with_name(f"{path.stem}-{number}{path.suffix}")
        watchers.append(MetricsWriter(Metrics(path, worker=label), store, time.time))
    if shift.notify_command or shift.notify_url:
        from jobs.outputs.notifications import Notifier

        notifier = Notifier.of(shift.notify_command, shift.notify_url)
        watchers.append(NotificationObserver(notifier, store, time.time))
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
