"""Retry calls to a queue that is away for a while."""

import random
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import stamina

from jobs.errors import QueueUnavailable
from jobs.worker.lease import Stop

_FIRST: Final = 30.0
_LONGEST: Final = 3600.0


def delay(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds before the next try: doubled with each, up to an hour, half of it left to chance.

    Jobs that failed together do not come back together; see M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015 ("equal jitter").

    Args:
        attempt: 0 before the first repetition.
        chance: from 0 to 1.
    """
    longest = min(_LONGEST, _FIRST * 2.0 ** min(attempt, 16))
    return longest * (1 + chance()) / 2


Result = TypeVar("Result")
Kept = TypeVar("Kept")

#: Seconds for which a command waits before it gives up.
PATIENCE: Final = 600.0

#: Seconds for which a worker that was asked to stop waits to hand in its work: a restart of the
#: database. Films that it leaves in hand look as if they had killed it.
FAREWELL: Final = 10.0

_HANDING_IN: Final = frozenset({"commit", "finish", "release", "postpone", "acquit"})

#: The next beat of the heart is the next try.
_AT_ONCE: Final = frozenset({"renew", "close"})


def retry_calls(
    ask: Callable[[], Result], stop: Stop, seconds: float | None = PATIENCE, farewell: float = 0.0
) -> Result:
    """Ask until the queue answers.

    Args:
        ask: may be called again after its answer was lost.
        stop: once it is asked for, nobody waits for longer than the farewell; twice, not at all.
        seconds: after which it is given up; None for never.
        farewell: seconds after a stop was asked for.

    Raises:
        QueueUnavailable: if it is given up.
    """

    def worth_while(error: Exception) -> bool:
        waits = not stop.asked or (stop.seconds < farewell and not stop.asked_twice)
        return isinstance(error, QueueUnavailable) and waits

    for attempt in stamina.retry_context(
        on=worth_while, attempts=None, timeout=seconds, wait_initial=0.1, wait_max=5.0
    ):
        with attempt:
            return ask()
    raise AssertionError("the loop ends by its result or its error")


class _RetryingStore:
    """Every method of a store or an agenda, asked patiently."""

    def __init__(self, asked: object, stop: Stop, seconds: float | None) -> None:
        self._asked = asked
        self._stop = stop
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._asked, name)
        if name in _AT_ONCE:
            return method
        farewell = FAREWELL if name in _HANDING_IN else 0.0

        def ask(*arguments: Any, **keywords: Any) -> Any:
            return retry_calls(
                lambda: method(*arguments, **keywords), self._stop, self._seconds, farewell
            )

        return ask


def retrying(asked: Kept, stop: Stop, seconds: float | None = PATIENCE) -> Kept:
    """The same store or agenda, for work that outlasts a restart of the database.

    Args:
        seconds: after which :class:`~jobs.errors.QueueUnavailable` is raised; None for never.
    """
    return cast(Kept, _RetryingStore(asked, stop, seconds))
