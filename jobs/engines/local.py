"""Screen the films of a job on this machine: a few are read ahead while a batch is scored."""

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final

from screening.films import Found
from screening.pipeline import Screener, Seen
from screening.reading import ReadFilm
from screening.row import Row

#: Seconds after which a signal is heard that another thread received, or that came when this one
#: was about to wait: it wakes nobody, and the next one of its kind would be taken for the same.
_LISTEN: Final = 0.2


class LocalEngine:
    """Threads read and decode (both release the interpreter lock), the caller's thread scores.

    Args:
        readers: threads that read; by default one a core.
    """

    def __init__(self, readers: int | None = None) -> None:
        self._readers = readers or os.cpu_count() or 1

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Generator[list[Row], None, None]:
        """Rows in the order of `films`, `batch` at a time; memory does not grow with the job."""
        ahead = batch + 2 * self._readers
        waiting: deque[Future[ReadFilm]] = deque()
        with ThreadPoolExecutor(self._readers) as pool:
            try:
                coming = iter(films)
                for found in islice(coming, ahead):
                    waiting.append(pool.submit(screener.read, found))
                while waiting:
                    ready = [_read(waiting.popleft()) for _ in range(min(batch, len(waiting)))]
                    for found in islice(coming, len(ready)):
                        waiting.append(pool.submit(screener.read, found))
                    yield screener.score(ready, seen)
            except BaseException:
                # The pool waits for films that are being read; their decoders may hang.
                pool.shutdown(wait=False, cancel_futures=True)
                screener.close()
                raise


def _read(film: Future[ReadFilm]) -> ReadFilm:
    while not film.done():
        wait([film], _LISTEN)
    return film.result()
