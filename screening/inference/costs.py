"""What a film costs in each stage, and memory that is returned."""

import ctypes
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Cost:
    """Processor seconds that a film has taken, in the order of its way.

    Attributes:
        reading: the file, and its hash.
        decoding: its header and its pixels.
        preparing: what becomes the input tensor, and its hash.
        inference: its share of the network's time.
        lungs: finding and measuring the lungs; 0 without a lung network.
        answering: what is made of the network's outputs: recognition, statistics, pictures.
    """

    reading: float = 0.0
    decoding: float = 0.0
    preparing: float = 0.0
    inference: float = 0.0
    lungs: float = 0.0
    answering: float = 0.0

    def __add__(self, other: Self) -> Self:
        names = [field.name for field in fields(self)]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))


class Stopwatch:
    """Processor time of this thread, lap by lap."""

    def __init__(self) -> None:
        self._last = time.thread_time()

    def lap(self) -> float:
        """Seconds since the last lap, or the beginning."""
        last, self._last = self._last, time.thread_time()
        return self._last - last


def give_back() -> None:
    """Let the system have what the allocator keeps for later; malloc_trim(3).

    Only glibc has it, and only glibc keeps so much.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
