"""Measure the CPU time of each stage of a film; return freed memory to the system."""

import ctypes
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Cost:
    """CPU seconds spent on a film, in the order of the stages.

    Attributes:
        reading: reading and hashing the file.
        decoding: decoding the header and the pixels.
        preparing: building and hashing the input tensor.
        inference: this film's share of the network's time.
        lungs: finding and measuring the lungs; 0 without a lung network.
        answering: processing the network's outputs: recognition, statistics, pictures.
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
    """Measures the CPU time of the current thread in laps."""

    def __init__(self) -> None:
        self._last = time.thread_time()

    def lap(self) -> float:
        """Return the seconds since the last lap, or since the start."""
        last, self._last = self._last, time.thread_time()
        return self._last - last


def give_back() -> None:
    """Return memory that the allocator keeps for reuse to the system; malloc_trim(3).

    Only glibc has this function, and only glibc keeps that much memory.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
