"""Screen the films of a job on this machine: each core has a batch of its own, from file to answer."""

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

#: Seconds after which a signal is heard that another thread received, or that came when this one
#: was about to wait: it wakes nobody, and the next one of its kind would be taken for the same.
_LISTEN: Final = 0.2

#: Batches for each thread: one that it has, and one that it takes when it is done.
_EACH: Final = 2


Told = Callable[[list[Cost], float], None]


class LocalEngine:
    """Threads read, decode and score batches; the caller's thread makes rows of them, in order.

    Decoders and runtimes let go of the interpreter lock, and what is not safe is decoded in
    processes (:mod:`screening.inference.sandbox`). So no stage waits for another, whatever each costs.

    Args:
        threads: by default one a core.
        told: of what each film has cost, and of the seconds in which rows were made of a batch.
    """

    def __init__(self, threads: int | None = None, told: Told | None = None) -> None:
        self._threads = threads or cores()
        self._told = told

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Generator[list[Row], None, None]:
        """Rows in the order of `films`, `batch` at a time; memory does not grow with the job."""
        coming = iter(films)
        waiting: deque[Future[list[InferenceResult]]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                while True:
                    while len(waiting) < _EACH * self._threads:
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
                # The pool waits for films that are being read; their decoders may hang.
                pool.shutdown(wait=False, cancel_futures=True)
                screener.close()
                raise


def _result(answer: Future[list[InferenceResult]]) -> list[InferenceResult]:
    while not answer.done():
        wait([answer], _LISTEN)
    return answer.result()
