"""Build the engine and the predictor for the commands that screen, and run their workers."""

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
from jobs.cli.progress import ScreeningProgress
from jobs.engines.dask.config import ClusterConfig
from jobs.engines.local import LocalEngine
from jobs.errors import QueueUnavailable, Stopped
from jobs.host import cores
from jobs.outputs.observers import JobProfile, MetricsWriter, NotificationObserver, Observers
from jobs.queue.jobs import Job
from jobs.queue.schedules import ScheduleStore
from jobs.queue.sql.database import Database, open_database
from jobs.queue.sql.schedules import SqlScheduleStore
from jobs.queue.sql.store import SqlStore
from jobs.sources.scheduled import ScheduleSource
from jobs.sources.submission import Opener
from jobs.worker.engine import Engine
from jobs.worker.job_run import LEASE, Observer, Tools
from jobs.worker.lease import Stop
from jobs.worker.retrying_store import (
    PATIENCE,
    RetryingJobStore,
    RetryingRunHistory,
    RetryingScheduleStore,
    retry_calls,
)
from jobs.worker.worker import JobSource, work

#: Seconds between two scans of a watched folder.
_POLL_SECONDS: Final = 2.0

#: Makes the job source for a folder whose sub-folders are studies.
StudiesOf = Callable[[ScheduleStore], JobSource]


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Settings of a worker.

    Attributes:
        drain: stop when the queue is empty.
        max_jobs: stop after this many jobs, in each process.
        processes: number of processes that share the work on this machine.
        lease: seconds without a sign of life after which another worker takes over a job.
        metrics: file for Prometheus metrics.
        log: log format, ``json`` or ``logfmt``, instead of lines for people.
        notify_command: command that is run for each job that has ended.
        notify_url: URL that is notified of each job that has ended.
        public_key: accept only bundles signed with the matching private key; None accepts all.
        sign_reports: private key with which every report is signed.
        cluster: cluster that screens the films; None to screen on this machine.
        profile: print the time spent in each stage.
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
        """Threads of each process, so that all processes together have one per core."""
        return max(1, cores() // self.processes)


def run_worker(queue: Path | str, config: WorkerConfig, studies: StudiesOf | None = None) -> int:
    """Process the queue in `processes` processes and return the exit code for the shell.

    Args:
        studies: makes the source that enqueues the sub-folders of a watched folder.
    """
    if config.processes == 1:
        return run_single_job(queue, config, studies=studies)
    from jobs.cli.supervisor import Supervisor
    from jobs.outputs.logs import configure

    configure(json=config.log == "json", stream=sys.stderr)

    def work_as(number: int) -> int:
        # Every process scans the folder, so that a busy one does not delay the others.
        return run_single_job(queue, config, None, number, studies)

    lasting = not config.drain and config.max_jobs is None
    return Supervisor(config.processes, work_as, lasting).run()


def run_single_job(
    queue: Path | str,
    config: WorkerConfig,
    only: str | None = None,
    number: int = 0,
    studies: StudiesOf | None = None,
) -> int:
    """Run jobs in this process, report their progress, and return the exit code for the shell.

    Args:
        only: run only the job with this name; None to run any.
        number: number of this process among the `processes` of the worker.
        studies: see :func:`run_worker`.
    """
    from jobs.outputs.logs import configure

    configure(json=config.log == "json", stream=sys.stderr)
    sign = signer_of(config.sign_reports)
    stop = Stop()
    _handle_signals(stop)
    # A worker that runs unattended waits for its queue without a time limit.
    seconds = PATIENCE if config.drain or only else None
    database = retry_calls(lambda: open_database(queue), stop, seconds)
    plain = SqlStore(database)
    store = RetryingJobStore(plain, stop, seconds)
    sources = [] if only else _sources(database, stop, seconds, studies)
    opener = Opener(store.scored_before, config.public_key, store.events)
    profile = JobProfile(config.threads)
    with (
        ScreeningProgress(live=config.processes == 1, silent=config.log is not None) as progress,
        _engine(config, stop, profile) as engine,
    ):
        observer = Observers(progress, profile, *_observers(config, plain, number))
        tools = Tools(
            store=store,
            history=RetryingRunHistory(plain, stop, seconds),
            engine=engine,
            open_screener=opener.open,
            watcher=observer,
            stop=stop,
            lease=config.lease,
            sign=sign,
        )
        try:
            codes = [
                _code(job) for job in work(tools, config.drain, only, config.max_jobs, sources)
            ]
        except (Stopped, QueueUnavailable, KeyboardInterrupt) as end:
            if isinstance(end, QueueUnavailable) and not stop.asked:
                raise
            progress.say(
                "Interrupted. To continue from the last film, run `screening worker --drain` with the "
                "same queue."
            )
            return exit_codes.INTERRUPTED
    if config.profile:
        for line in profile.lines():
            progress.say(line)
    if only is not None:
        # Another worker of the queue may have run the job first.
        return _code(store.get(only))
    return exit_codes.most_severe(codes)


@contextmanager
def _engine(config: WorkerConfig, stop: Stop, profile: JobProfile) -> Iterator[Engine]:
    """Yield the engine that the settings ask for."""
    if config.cluster is None:
        yield LocalEngine(config.threads, profile.told)
        return
    from jobs.engines.dask.engine import ClusterEngine

    with closing(ClusterEngine(config.cluster, stop)) as engine:
        yield engine


def signer_of(private_key: Path | None) -> Callable[[str], bytes] | None:
    """Return the function that signs reports; None if they are not to be signed."""
    if private_key is None:
        return None
    from exports.bundle import signer

    return signer(private_key)


def submit_from(queue: Path | str, studies: StudiesOf) -> int:
    """Enqueue sub-folders of a folder until a stop signal; return the exit code for the shell."""
    from jobs.outputs.logs import configure

    configure(json=False, stream=sys.stderr)
    stop = Stop()
    _handle_signals(stop)
    with suppress(QueueUnavailable):
        # Without a time limit, the retries end only when a stop is requested.
        database = retry_calls(lambda: open_database(queue), stop, None)
        source = studies(RetryingScheduleStore(SqlScheduleStore(database), stop, None))
        while not stop.asked:
            source.feed()
            stop.wait(_POLL_SECONDS)
    return exit_codes.INTERRUPTED


def _sources(
    database: Database, stop: Stop, seconds: float | None, studies: StudiesOf | None
) -> list[JobSource]:
    schedules = RetryingScheduleStore(SqlScheduleStore(database), stop, seconds)
    due = ScheduleSource(schedules, time.time)
    return [due] if studies is None else [due, studies(schedules)]


def _observers(config: WorkerConfig, store: SqlStore, number: int) -> list[Observer]:
    """Return the observers that the settings ask for."""
    observers: list[Observer] = []
    if config.log:
        from jobs.outputs.logs import LogObserver

        observers.append(LogObserver())
    if config.metrics:
        from jobs.outputs.metrics import Metrics

        label = str(number) if config.processes > 1 else ""
        path = config.metrics
        if number:
            path = path.with_name(f"{path.stem}-{number}{path.suffix}")
        observers.append(MetricsWriter(Metrics(path, worker=label), store, time.time))
    if config.notify_command or config.notify_url:
        from jobs.outputs.notifications import Notifier

        notifier = Notifier.of(config.notify_command, config.notify_url)
        observers.append(NotificationObserver(notifier, store, outbox=store, clock=time.time))
    return observers


def _code(job: Job) -> int:
    return exit_codes.ERROR if job.exit_code is None else job.exit_code


def _handle_signals(stop: Stop) -> None:
    """Finish the films in progress on the first SIGTERM or Ctrl-C; stop at once on the second."""

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        stop.ask()
        if stop.asked_twice:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
