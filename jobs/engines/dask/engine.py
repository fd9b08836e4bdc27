"""Screen films on a Dask cluster: workers read and predict, this process builds the rows."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Final

from jobs.engines.dask.client import DaskClient, WorkerKilled
from jobs.engines.dask.config import ClusterConfig
from jobs.engines.dask.task import Task, TaskResult
from jobs.errors import ClusterUnavailable, JobFailed
from jobs.sources.folder_changes import hash_now
from jobs.worker.lease import Stop
from screening.errors import NotAFilm, ScreeningError, UnreadableFilm
from screening.files import Found, film_path
from screening.inference.inference import InferenceResult
from screening.inference.pipeline import Screener, Seen
from screening.inference.reader import ReadFilm, read_file
from screening.results import Reason, Row, Status

#: Seconds to wait for an unavailable cluster: its scheduler restarts, or its hosts boot.
PATIENCE: Final = 300.0

#: Seconds between wake-ups for signals received by another thread; see the local engine.
_POLL: Final = 0.2

#: Tasks per thread of the cluster: one in progress and one ready.
_TASKS_PER_THREAD: Final = 2

#: Results that may wait for an earlier one, per task in progress: a slow film blocks no others.
_RESULTS_PER_TASK: Final = 2


class ClusterEngine:
    """Send films to a Dask cluster, keeping a bounded number of batches in flight.

    A batch that is lost with its process, host or scheduler is sent again. A batch that kills
    processes is rerun film by film, with nothing else from this client running on the cluster, to
    find the film responsible; that film gets the status failed.

    Args:
        access: how to reach the cluster.
        stop: once requested, ends the wait for an unavailable cluster.
        patience: seconds to wait for an unavailable cluster otherwise.
    """

    def __init__(self, access: ClusterConfig, stop: Stop, patience: float = PATIENCE) -> None:
        self._access = access
        self._link = DaskClient(access, stop, patience)

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Generator[list[Row], None, None]:
        """Yield rows in the order of `films`, up to `batch` at a time, in constant memory.

        Raises:
            ClusterUnavailable: if the cluster, or a share that its hosts need, is unavailable for
                too long.
            JobFailed: if a host has a different bundle or a different version of this package.
        """
        order = Task.of(screener, self._access)
        flight = _BatchesInFlight(self._link, screener, order, iter(films), batch)
        try:
            for examined in flight:
                yield screener.rows(examined, seen)
        except BaseException:
            # Also when the generator is closed early: do not wait for pending results.
            flight.cancel()
            screener.close()
            raise

    def close(self) -> None:
        """Disconnect from the cluster."""
        self._link.close()


@dataclass
class _SentBatch:
    """A batch that was sent.

    Attributes:
        known: films that need no worker.
        order: the task for the other films.
        answer: None if there are no other films.
    """

    films: list[Found]
    known: dict[str, ReadFilm]
    order: Task
    answer: Future[TaskResult] | None


class _BatchesInFlight:
    """Batches in flight for one job, in the order of its films."""

    def __init__(
        self, link: DaskClient, screener: Screener, order: Task, coming: Iterator[Found], batch: int
    ) -> None:
        self._link = link
        self._screener = screener
        self._order = order
        self._coming = coming
        self._batch = batch
        self._waiting: deque[_SentBatch] = deque()

    def __iter__(self) -> Iterator[list[InferenceResult]]:
        while self._fill():
            head = self._waiting[0]
            while not self._is_ready(head):
                self._wait()
                self._fill()
            try:
                examined = self._examined(head)
            except WorkerKilled:
                yield from self._one_by_one(head)
            else:
                yield examined
            self._waiting.popleft()

    def cancel(self) -> None:
        """Cancel all pending tasks."""
        for sent in self._waiting:
            if sent.answer is not None:
                sent.answer.cancel()

    def _fill(self) -> bool:
        """Resend lost batches and send new ones up to the limit; return False when all are done."""
        for sent in self._waiting:
            self._send_again(sent)
        most = max(1, self._link.threads()) * _TASKS_PER_THREAD
        while len(self._waiting) < _RESULTS_PER_TASK * most and len(self._pending()) < most:
            films = list(islice(self._coming, self._batch))
            if not films:
                break
            self._waiting.append(self._sent(films))
        return bool(self._waiting)

    def _pending(self) -> list[Future[TaskResult]]:
        """Return the pending answers that are not lost."""
        answers = [sent.answer for sent in self._waiting if sent.answer is not None]
        return [one for one in answers if not one.done() and not self._link.is_lost(one)]

    def _is_ready(self, sent: _SentBatch) -> bool:
        answer = sent.answer
        return answer is None or (answer.done() and not self._link.is_lost(answer))

    def _sent(self, films: list[Found]) -> _SentBatch:
        reader = self._screener.reader
        looked_up = {found.film: reader.known(found) for found in films}
        known = {name: film for name, film in looked_up.items() if film is not None}
        order = self._order.for_films(tuple(found for found in films if found.film not in known))
        return _SentBatch(films, known, order, self._link.send(order) if order.films else None)

    def _send_again(self, sent: _SentBatch) -> None:
        if sent.answer is not None and self._link.is_lost(sent.answer):
            sent.answer.cancel()
            sent.answer = self._link.send(sent.order)

    def _wait(self) -> None:
        """Wait for the next answer, or at most until the next wake-up."""
        wait(self._pending(), _POLL, FIRST_COMPLETED)

    def _examined(self, sent: _SentBatch) -> list[InferenceResult]:
        """Return the results of a finished batch.

        Raises:
            WorkerKilled: if the batch killed processes of the cluster.
        """
        answered = iter(() if sent.answer is None else self._answered(sent.answer))
        return [
            InferenceResult(sent.known[found.film]) if found.film in sent.known else next(answered)
            for found in sent.films
        ]

    def _answered(self, answer: Future[TaskResult]) -> list[InferenceResult]:
        error = answer.exception()
        if isinstance(error, ScreeningError | WorkerKilled):
            raise error
        if error is not None:
            # An ImportError names what is not installed; other messages may contain film names.
            said = f": {error}" if isinstance(error, ImportError) else ""
            raise JobFailed(
                f"a worker of the cluster {self._link.address} failed with "
                f"{type(error).__name__}{said}; see the log of the worker"
            ) from error
        self._check_share(answer.result())
        return answer.result().films

    def _check_share(self, answer: TaskResult) -> None:
        """Raise if the host lacks the share: all films fail there, whatever is in them."""
        for examined in answer.films:
            reason = examined.film.reason
            is_lost = reason is not None and reason.code in ("vanished", "unreadable")
            if is_lost and self._is_readable(examined.film.film):
                raise ClusterUnavailable(
                    f"host {answer.host} of the cluster cannot read films in {self._order.folder} "
                    f"that this machine reads in {self._screener.folder}; check the mount on that host"
                )

    def _is_readable(self, film: str) -> bool:
        try:
            read_file(film_path(self._screener.folder, film), 1)
        except (NotAFilm, UnreadableFilm):
            return False
        return True

    def _one_by_one(self, sent: _SentBatch) -> Iterator[list[InferenceResult]]:
        """Send each film of a killing batch by itself, while this client runs nothing else.

        Dask blames every task of a lost process, even one that had not started.
        """
        while self._pending():
            self._wait()
            self._link.threads()
        for found in sent.films:
            alone = self._sent([found])
            self._waiting[0] = alone
            while not self._is_ready(alone):
                self._wait()
                self._link.threads()
                self._send_again(alone)
            try:
                examined = self._examined(alone)
            except WorkerKilled:
                examined = [self._killed_worker_result(found)]
            yield examined

    def _killed_worker_result(self, found: Found) -> InferenceResult:
        sha256, why = hash_now(self._screener.folder, found), Reason("killed_worker")
        return InferenceResult(ReadFilm(found.film, sha256, status=Status.FAILED, reason=why))
