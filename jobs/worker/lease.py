"""Keep the lease of a job while its worker makes progress, and stop when asked."""

import threading
import time
from types import TracebackType
from typing import Final, Self

from jobs.errors import LeaseLost, QueueUnavailable
from jobs.queue.jobs import Job
from jobs.queue.store import Store

#: Seconds after which a sleeper notices.
_NAP: Final = 0.1


class Stop:
    """Asked for by a signal, seen by the work.

    A handler of signals may run between any two steps of the work, so there is no lock here:
    neither of :class:`threading.Event` nor of anything else.
    """

    def __init__(self) -> None:
        self._asked_at: list[float] = []

    @property
    def asked(self) -> bool:
        """True once the worker is to stop."""
        return bool(self._asked_at)

    @property
    def asked_twice(self) -> bool:
        """True once it is to stop at once."""
        return len(self._asked_at) > 1

    @property
    def seconds(self) -> float:
        """For which the worker has been stopping."""
        return time.monotonic() - self._asked_at[0] if self._asked_at else 0.0

    def ask(self) -> None:
        """Begin nothing more; for the second time: leave what is in hand."""
        self._asked_at.append(time.monotonic())

    def wait(self, seconds: float) -> bool:
        """Sleep, but not through the signal to stop; True if there is one."""
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))
        return self.asked


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
