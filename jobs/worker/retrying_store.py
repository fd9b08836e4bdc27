"""Retry calls to a queue that is temporarily unavailable."""

import random
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import stamina

from jobs.errors import QueueUnavailable
from jobs.worker.lease import Stop

_FIRST: Final = 30.0
_LONGEST: Final = 3600.0


def delay(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds before the next attempt.

    The delay doubles with each attempt up to an hour, and half of it is random. The jitter keeps
    jobs that failed together from returning together; see M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015 ("equal jitter").

    Args:
        attempt: 0 before the first retry.
        chance: returns a random number from 0 to 1.
    """
    longest = min(_LONGEST, _FIRST * 2.0 ** min(attempt, 16))
    return longest * (1 + chance()) / 2


Result = TypeVar("Result")
Kept = TypeVar("Kept")

#: Seconds that a command retries before it gives up.
PATIENCE: Final = 600.0

#: Seconds that a stopping worker retries its final writes: long enough for a database restart.
#: Films that it leaves marked as in progress are suspected of having killed it.
FAREWELL: Final = 10.0

_FINAL_WRITES: Final = frozenset({"commit", "finish", "release", "postpone", "clear_suspicion"})

#: Not retried here: the next heartbeat is the next attempt of `renew`.
_NOT_RETRIED: Final = frozenset({"renew", "close"})


def retry_calls(
    ask: Callable[[], Result], stop: Stop, seconds: float | None = PATIENCE, farewell: float = 0.0
) -> Result:
    """Call `ask` until the queue answers.

    Args:
        ask: must be safe to call again if its answer was lost.
        stop: after a stop request, retries end after `farewell` seconds; after a second one, at
            once.
        seconds: give up after this time; None for never.
        farewell: seconds of retrying after a stop request.

    Raises:
        QueueUnavailable: if it gives up.
    """

    def should_retry(error: Exception) -> bool:
        waits = not stop.asked or (stop.seconds < farewell and not stop.asked_twice)
        return isinstance(error, QueueUnavailable) and waits

    for attempt in stamina.retry_context(
        on=should_retry, attempts=None, timeout=seconds, wait_initial=0.1, wait_max=5.0
    ):
        with attempt:
            return ask()
    raise AssertionError("the loop ends by its result or its error")


class _RetryingStore:
    """Proxy that retries every method of a job store or schedule store."""

    def __init__(self, asked: object, stop: Stop, seconds: float | None) -> None:
        self._asked = asked
        self._stop = stop
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._asked, name)
        if name in _NOT_RETRIED:
            return method
        farewell = FAREWELL if name in _FINAL_WRITES else 0.0

        def ask(*arguments: Any, **keywords: Any) -> Any:
            return retry_calls(
                lambda: method(*arguments, **keywords), self._stop, self._seconds, farewell
            )

        return ask


def retrying(asked: Kept, stop: Stop, seconds: float | None = PATIENCE) -> Kept:
    """Wrap a job store or schedule store so that its calls survive a restart of the database.

    Args:
        seconds: time after which :class:`~jobs.errors.QueueUnavailable` is raised; None for never.
    """
    return cast(Kept, _RetryingStore(asked, stop, seconds))
