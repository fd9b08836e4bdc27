"""A worker is asked to stop: it begins nothing more, and finishes what it has in hand."""

import time
from typing import Final

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
