"""Renew the lease of a job while its worker makes progress, and stop on request."""

import threading
import time
from types import TracebackType
from typing import Final, Self

from jobs.errors import LeaseLost, QueueUnavailable
from jobs.queue.jobs import Job
from jobs.queue.store import JobStore

#: Seconds between two checks for a stop while sleeping.
_POLL: Final = 0.1


class Stop:
    """A request to stop, set by a signal handler and polled by the worker.

    A signal handler may run between any two steps of the work, so this class uses no lock, not
    even the one inside :class:`threading.Event`.
    """

    def __init__(self) -> None:
        self._asked_at: list[float] = []

    @property
    def asked(self) -> bool:
        """True once a stop was requested."""
        return bool(self._asked_at)

    @property
    def asked_twice(self) -> bool:
        """True once an immediate stop was requested."""
        return len(self._asked_at) > 1

    @property
    def seconds(self) -> float:
        """Seconds since the stop was requested; 0 if it was not."""
        return time.monotonic() - self._asked_at[0] if self._asked_at else 0.0

    def ask(self) -> None:
        """Request a stop: start nothing new. A second call also abandons the work in progress."""
        self._asked_at.append(time.monotonic())

    def wait(self, seconds: float) -> bool:
        """Sleep until `seconds` have passed or a stop is requested; return True if it is."""
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
        return self.asked


#: Renewals per lease duration, so that a few may fail.
_BEATS: Final = 4


class Heartbeat:
    """Context manager that renews the lease of a claimed job from a background thread.

    A live process does not prove progress: the lease is renewed only until the deadline that the
    work has set with :meth:`expect`.

    Args:
        store: called once per beat, without retries; the next beat is the next attempt.
        lease: seconds that each renewal adds.
    """

    def __init__(self, store: JobStore, job: Job, lease: float) -> None:
        self._store = store
        self._job = job
        self._lease = lease
        self._deadline = time.monotonic() + lease
        self._ended = threading.Event()
        # A daemon thread: a hanging connection must not keep the process from exiting.
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=self._lease)

    def expect(self, seconds: float) -> None:
        """Set the deadline: call this again, or leave the block, within `seconds`."""
        self._deadline = time.monotonic() + seconds

    def _beat(self) -> None:
        while not self._ended.wait(self._lease / _BEATS):
            if time.monotonic() > self._deadline:
                continue
            try:
                self._store.renew(self._job, self._lease)
            except LeaseLost:
                # The next write of the job raises LeaseLost as well.
                return
            except QueueUnavailable:
                continue
