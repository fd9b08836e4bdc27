"""A worker that is at work keeps its job; one that hangs loses it."""

import threading
import time
from types import TracebackType
from typing import Final, Self

from jobs.errors import LeaseLost, QueueUnavailable
from jobs.job import Job
from jobs.store import Store

#: Renewals in the time of one lease: some may fail.
_BEATS: Final = 4


class Heartbeat:
    """Renews the lease of a claimed job from a thread of its own, within the block.

    That a process is alive says nothing of its work: the lease is renewed only as long as the work
    has promised to be heard of again, see :meth:`expect`.

    Args:
        store: asked once a beat; the next beat is the next try.
        lease: seconds for which each renewal holds.
    """

    def __init__(self, store: Store, job: Job, lease: float) -> None:
        self._store = store
        self._job = job
        self._lease = lease
        self._deadline = time.monotonic() + lease
        self._ended = threading.Event()
        # A connection that answers no more must not keep the process from ending.
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
        """The work is well, and will call this again, or be over, within so many seconds."""
        self._deadline = time.monotonic() + seconds

    def _beat(self) -> None:
        while not self._ended.wait(self._lease / _BEATS):
            if time.monotonic() > self._deadline:
                continue
            try:
                self._store.renew(self._job, self._lease)
            except LeaseLost:
                # The work finds out by itself when it writes next.
                return
            except QueueUnavailable:
                continue
