"""The films that are in hand: whoever takes over knows what a lost worker was reading."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from jobs.job import Job
from jobs.stop import Stop
from jobs.store import Store
from screening.films import Found

#: A film that was in hand when so many workers died is not tried again.
DEADLY: Final = 2


class Hand:
    """Gives films to an engine, each after it was written down as taken; none once a stop is asked.

    Args:
        films: those of the job that are left, in their order.
        batch: how many are taken at a time.
    """

    def __init__(
        self, store: Store, job: Job, lease: float, films: Sequence[Found], batch: int, stop: Stop
    ) -> None:
        self._store = store
        self._job = job
        self._lease = lease
        self._films = films
        self._batch = batch
        self._stop = stop
        self._taken = 0

    def __iter__(self) -> Iterator[Found]:
        for number, found in enumerate(self._films):
            if self._stop.asked:
                return
            if number == self._taken:
                self._store.commit(self._job, [], self._lease, self._take(self._batch))
            yield found

    def take(self, number: int) -> list[str]:
        """The next films, to be written down with the rows of as many before them."""
        # Those that will not be given any more are not what a worker dies of.
        return [] if self._stop.asked else self._take(number)

    def _take(self, number: int) -> list[str]:
        names = [found.film for found in self._films[self._taken : self._taken + number]]
        self._taken += len(names)
        return names


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
