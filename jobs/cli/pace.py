"""How fast films are screened, and how long the rest will take."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: Seconds over which the pace is taken: rows come in batches, and films differ.
_WINDOW: Final = 60.0


class Pace:
    """Films a second, from how many there were at each look.

    Args:
        clock: seconds that never go back.
        window: how many of them count; the time between the last two looks, if that is longer.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, window: float = _WINDOW
    ) -> None:
        self._clock = clock
        self._window = window
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, done: int) -> float | None:
        """Films a second, now that so many are done; None as long as that is not known."""
        now = self._clock()
        self._looks.append((now, done))
        while len(self._looks) > 2 and now - self._looks[1][0] >= self._window:
            self._looks.popleft()
        began, first = self._looks[0]
        return (done - first) / (now - began) if now > began else None


def seconds_left(films: int, rate: float | None) -> float | None:
    """How long so many films will take; None if there is no telling."""
    return films / rate if rate else None
