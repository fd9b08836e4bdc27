"""How long to wait before something is tried again."""

import random
from collections.abc import Callable
from typing import Final

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
