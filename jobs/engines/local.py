"""Screen films on this machine: each core processes whole batches, from file to result."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final

from jobs.host import cores
from screening.files import Found
from screening.inference.costs import Cost, Stopwatch
from screening.inference.inference import InferenceResult
from screening.inference.pipeline import Screener, Seen
from screening.results import Row

#: Seconds between wake-ups for signals. A signal delivered to another thread, or just before this
#: one waits, does not wake it, and a second signal of the same kind would be merged with the first.
_POLL: Final = 0.2

#: Batches per thread: one in progress and one ready.
_BATCHES_PER_THREAD: Final = 2


Told = Callable[[list[Cost], float], None]


class LocalEngine:
    """Read, decode and score batches in threads; build rows in order in the caller's thread.

    Decoders and runtimes release the GIL, and formats that are unsafe to decode in-process are
    decoded in child processes (:mod:`screening.inference.sandbox`). No stage waits for another,
    whatever each costs.

    Args:
        threads: one per core by default.
        told: callback that receives the cost of each film and the seconds spent building the rows
            of a batch.
    """

    def __init__(self, threads: int | None = None, told: Told | None = None) -> None:
        self._threads = threads or cores()
        self._told = told

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Generator[list[Row], None, None]:
        """Yield rows in the order of `films`, `batch` at a time, in constant memory."""
        coming = iter(films)
        waiting: deque[Future[list[InferenceResult]]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                while True:
                    while len(waiting) < _BATCHES_PER_THREAD * self._threads:
                        together = list(islice(coming, batch))
                        if not together:
                            break
                        waiting.append(pool.submit(screener.examine, together, seen))
                    if not waiting:
                        break
                    examined, watch = _result(waiting.popleft()), Stopwatch()
                    rows = screener.rows(examined, seen)
                    if self._told is not None:
                        self._told([one.film.cost for one in examined], watch.lap())
                    yield rows
            except BaseException:
                # Shutting down with wait=True would block on films whose decoders may hang.
                pool.shutdown(wait=False, cancel_futures=True)
                screener.close()
                raise


def _result(answer: Future[list[InferenceResult]]) -> list[InferenceResult]:
    while not answer.done():
        wait([answer], _POLL)
    return answer.result()
