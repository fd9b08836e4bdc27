"""Take jobs from the queue, one after the other."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from traceback import clear_frames
from typing import Final, Protocol

from jobs import exit_codes
from jobs.errors import (
    ClusterUnavailable,
    FolderUnreadable,
    LeaseLost,
    QuarantineError,
    QueueUnavailable,
    StillChanging,
    Stopped,
    SystemicFailure,
    UnknownJob,
)
from jobs.host import is_dead, worker_name
from jobs.queue.jobs import OPEN, Job, State
from jobs.queue.store import Store
from jobs.worker.job_run import Tools, run_job
from jobs.worker.retrying_store import delay
from screening.errors import DecoderError, ReportError, ScreeningError

#: Seconds between looks at an empty queue.
_POLL: Final = 2.0

#: What lies outside the job, and may be better later.
_PASSING: Final = (
    ClusterUnavailable,
    FolderUnreadable,
    DecoderError,
    ReportError,
    QuarantineError,
)


class JobSource(Protocol):
    """Brings jobs into the queue by itself."""

    def feed(self) -> None:
        """Queue what is to be queued now."""


def work(
    tools: Tools,
    drain: bool,
    only: str | None = None,
    most: int | None = None,
    feeders: Sequence[JobSource] = (),
) -> Iterator[Job]:
    """Carry out jobs as they come, and yield each as it has ended, until a stop is asked for.

    Args:
        drain: stop when no job is running, waiting, or put off to be tried again; otherwise wait
            for more.
        only: carry out this job and no other.
        most: stop after so many jobs.
        feeders: asked before each look at the queue.

    A job whose worker has died is taken over: at once if that was on this machine, else when its
    lease has run out.

    Raises:
        Stopped: if a stop was asked for before that.
    """
    store, me, ended = tools.store, worker_name(), 0
    most = most if only is None else 1
    while ended != most:
        if tools.stop.asked:
            raise Stopped("the worker was asked to stop")
        for feeder in feeders:
            feeder.feed()
        job = store.claim(me, tools.lease, only)
        if job is not None:
            finished = _carry_out(job, tools)
            if finished is not None:
                ended += 1
                yield finished
            continue
        left = [job for job in store.jobs(*OPEN) if only in (None, job.name)]
        if (drain or only) and not any(_is_near(job, tools) for job in left):
            return
        dead = [job for job in left if job.state is State.RUNNING and _is_lost(job, me)]
        for job in dead:
            store.expire(job)
        if not dead:
            tools.watcher.idle()
            tools.stop.wait(_nap(left, tools))


def _may_pass(error: ScreeningError) -> bool:
    """True if it may be better later: a share with the bundle, labels or key is away, too."""
    return isinstance(error, _PASSING) or isinstance(error.__cause__, OSError)


def _is_near(job: Job, tools: Tools) -> bool:
    """False for a job that its user wants later."""
    return job.state is State.RUNNING or bool(job.message) or job.not_before <= tools.clock()


def _is_lost(job: Job, me: str) -> bool:
    """True if nobody carries out this running job; what this worker has claimed it would know."""
    return job.worker == me or is_dead(job.worker)


def _nap(left: list[Job], tools: Tools) -> float:
    """Seconds until there may be something to do."""
    waits = [job.not_before - tools.clock() for job in left if job.state is State.QUEUED]
    return min(_POLL, max(0.05, min(waits, default=_POLL)))


def _carry_out(job: Job, tools: Tools) -> Job | None:
    """The job as it has ended; None if it has not, or not by this worker."""
    try:
        return _end(job, tools)
    except LeaseLost:
        # Another worker has it now, and will finish it.
        with suppress(QueueUnavailable):
            tools.store.clear_suspicion(job)
        # If it has done so already, the heat maps that were drawn meanwhile are nobody's.
        if _is_nobodys(job, tools) and job.gallery is not None:
            job.gallery.clear()
        return None


def _end(job: Job, tools: Tools) -> Job | None:
    store = tools.store
    try:
        code, message = run_job(job, tools), ""
    except (LeaseLost, QueueUnavailable):
        # Neither says anything of the job. It goes on where it is, or with the next worker.
        raise
    except StillChanging as wait:
        _postpone(job, tools, wait.seconds, str(wait), job.attempts)
        return None
    except SystemicFailure as error:
        code, message = exit_codes.SYSTEMIC_FAILURE, str(error)
    except (Stopped, KeyboardInterrupt) as end:
        # An interrupt may fall into a transaction, and what was interrupted keeps it open: the job
        # could not be given back beside it.
        clear_frames(end.__traceback__)
        gc.collect()
        # If it cannot be given back, whoever finds this worker gone takes it.
        with suppress(QueueUnavailable):
            _give_back(job, store)
        raise
    except ScreeningError as error:
        if _may_pass(error) and job.attempts < job.options.retries:
            _postpone(job, tools, delay(job.attempts), str(error), job.attempts + 1)
            return None
        code, message = exit_codes.ERROR, str(error)
    store.finish(job, code, message)
    ended = store.get(job.name)
    tools.watcher.ended(ended)
    return ended


def _give_back(job: Job, store: Store) -> None:
    try:
        store.release(job)
    except LeaseLost:
        store.clear_suspicion(job)


def _is_nobodys(job: Job, tools: Tools) -> bool:
    """True if nothing more will come of what was drawn for this job."""
    try:
        return tools.store.get(job.name).state is State.DONE
    except UnknownJob:
        # It was cancelled, and forgotten.
        return True


def _postpone(job: Job, tools: Tools, seconds: float, message: str, attempts: int) -> None:
    tools.store.postpone(job, seconds, message, attempts)
    tools.watcher.waiting(tools.store.get(job.name))
