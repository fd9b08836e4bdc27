"""The films that are in hand: whoever takes over knows what a lost worker was reading."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from jobs.stop import Stop
from screening.films import Found
from screening.row import Row

#: A film that was in hand when so many workers died is not tried again.
DEADLY: Final = 2

#: Seconds from one commit to the next, about: what a worker that is killed has screened in vain.
PACE: Final = 1.0

#: Films taken at a time at most. Those a lost worker had in hand are screened one by one.
_MOST: Final = 128


class Hand:
    """Gives films to an engine, each after it was written down as taken, and holds their rows.

    Rows are written down with the films that are taken next, in one transaction. So many are taken
    at a time that this happens about once a second: what a commit costs hardly depends on its rows.

    Args:
        write: commits rows, and films that are taken from now on.
        films: those of the job that are left, in their order.
        batch: how many are taken at a time at least.
        pace: seconds from one commit to the next, about.
    """

    def __init__(
        self,
        write: Callable[[list[Row], list[str]], None],
        films: Sequence[Found],
        batch: int,
        stop: Stop,
        pace: float = PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._films = films
        self._batch = batch
        self._stop = stop
        self._pace = pace
        self._clock = clock
        self._taken = 0
        self._together = batch
        self._rows: list[Row] = []
        self._asked = self._written = clock()

    def __iter__(self) -> Iterator[Found]:
        for number, found in enumerate(self._films):
            if self._stop.asked:
                return
            if number == self._taken:
                self._commit(self._take())
            yield found

    def put(self, rows: Sequence[Row]) -> None:
        """Hold the rows of films that were given; not for long."""
        self._rows += rows
        if self._clock() - self._written >= self._pace:
            self.clear()

    def clear(self) -> None:
        """Write down the rows that are left."""
        if self._rows:
            self._commit([])

    def _take(self) -> list[str]:
        asked, self._asked = self._asked, self._clock()
        spent = self._asked - asked
        if spent > self._pace:
            self._together = max(self._batch, self._together // 2)
        elif spent < self._pace / 2 and self._taken:
            self._together = max(self._batch, min(2 * self._together, _MOST))
        names = [found.film for found in self._films[self._taken : self._taken + self._together]]
        self._taken += len(names)
        return names

    def _commit(self, taken: list[str]) -> None:
        rows, self._rows = self._rows, []
        self._write(rows, taken)
        self._written = self._clock()


def portions(films: Sequence[Found], deaths: Mapping[str, int]) -> Iterator[list[Found]]:
    """Films that may be in hand together, in their order.

    One that was in hand when a worker died goes alone: if it kills the next worker, too, it is known
    which film did.
    """
    for suspect, group in groupby(films, key=lambda found: found.film in deaths):
        if suspect:
            yield from ([found] for found in group)
        else:
            yield list(group)
