"""Worker loop: claim jobs from the queue and run them one after the other."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from traceback import clear_frames
from typing import Final, Protocol

from jobs import exit_codes
from jobs.errors import (
    LeaseLost,
    QueueUnavailable,
    StillChanging,
    Stopped,
    SystemicFailure,
    UnknownJob,
)
from jobs.host import is_dead, worker_name
from jobs.queue.jobs import OPEN, Job, State
from jobs.queue.store import JobStore
from jobs.worker.job_run import Tools, run_job
from jobs.worker.retrying_store import delay
from screening.errors import ScreeningError, TransientError

#: Seconds between polls of an empty queue.
_POLL: Final = 2.0


class JobSource(Protocol):
    """Adds jobs to the queue on its own."""

    def feed(self) -> None:
        """Enqueue everything that is due now."""


def work(
    tools: Tools,
    drain: bool,
    only: str | None = None,
    most: int | None = None,
    feeders: Sequence[JobSource] = (),
) -> Iterator[Job]:
    """Run jobs as they arrive and yield each one after it has ended, until a stop is requested.

    Args:
        drain: return when no job is running, waiting, or postponed for a retry; otherwise keep
            polling for more.
        only: run this job and no other.
        most: return after this number of jobs.
        feeders: job sources, called before each poll of the queue.

    A job whose worker has died is taken over: immediately if that worker ran on this machine,
    otherwise when its lease has expired.

    Raises:
        Stopped: if a stop was requested before that.
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
            finished = _run(job, tools)
            if finished is not None:
                ended += 1
                yield finished
            continue
        left = [job for job in store.jobs(*OPEN) if only in (None, job.name)]
        if (drain or only) and not any(_is_imminent(job, tools) for job in left):
            return
        dead = [job for job in left if job.state is State.RUNNING and _is_lost(job, me)]
        for job in dead:
            store.expire(job)
        if not dead:
            tools.watcher.idle()
            tools.stop.wait(_idle_seconds(left, tools))


def _is_imminent(job: Job, tools: Tools) -> bool:
    """Return False for a job that its user scheduled for later."""
    return job.state is State.RUNNING or bool(job.message) or job.not_before <= tools.clock()


def _is_lost(job: Job, me: str) -> bool:
    """Return True if no worker runs this job: its process is dead, or is this idle worker."""
    return job.worker == me or is_dead(job.worker)


def _idle_seconds(left: list[Job], tools: Tools) -> float:
    """Return the seconds until a job may become available."""
    waits = [job.not_before - tools.clock() for job in left if job.state is State.QUEUED]
    return min(_POLL, max(0.05, min(waits, default=_POLL)))


def _run(job: Job, tools: Tools) -> Job | None:
    """Run a job and return its final state; None if it has not ended, or another worker has it."""
    try:
        return _run_and_record(job, tools)
    except (LeaseLost, UnknownJob):
        # Another worker has the job now and will finish it, or it was cancelled and deleted.
        with suppress(QueueUnavailable):
            tools.store.clear_suspicion(job)
        # If that worker has finished already, nothing uses the heat maps drawn here.
        if _is_over(job, tools) and job.gallery is not None:
            job.gallery.clear()
        return None


def _run_and_record(job: Job, tools: Tools) -> Job | None:
    store = tools.store
    try:
        code, message = run_job(job, tools), ""
    except (LeaseLost, QueueUnavailable):
        # Neither says anything about the job. It continues there, or with the next worker.
        raise
    except StillChanging as wait:
        _postpone(job, tools, wait.seconds, str(wait), job.attempts)
        return None
    except SystemicFailure as error:
        code, message = exit_codes.SYSTEMIC_FAILURE, str(error)
    except (Stopped, KeyboardInterrupt) as end:
        # An interrupt may hit a transaction, and the traceback keeps it open: until its frames are
        # cleared, a second transaction could not release the job.
        clear_frames(end.__traceback__)
        gc.collect()
        # If the release fails, a worker that finds this one dead takes the job over.
        with suppress(QueueUnavailable):
            _release(job, store)
        raise
    except ScreeningError as error:
        # Rows that were committed since the claim have reset the attempts.
        if isinstance(error, TransientError) and (
            (attempts := store.get(job.name).attempts) < job.options.retries
        ):
            _postpone(job, tools, delay(attempts), str(error), attempts + 1)
            return None
        code, message = exit_codes.ERROR, str(error)
    store.finish(job, code, message)
    ended = store.get(job.name)
    tools.watcher.ended(ended)
    return ended


def _release(job: Job, store: JobStore) -> None:
    try:
        store.release(job)
    except LeaseLost:
        store.clear_suspicion(job)


def _is_over(job: Job, tools: Tools) -> bool:
    """Return True if no worker will use the heat maps drawn for this job."""
    try:
        return tools.store.get(job.name).state is State.DONE
    except UnknownJob:
        # The job was cancelled and pruned.
        return True


def _postpone(job: Job, tools: Tools, seconds: float, message: str, attempts: int) -> None:
    tools.store.postpone(job, seconds, message, attempts)
    tools.watcher.waiting(tools.store.get(job.name))
