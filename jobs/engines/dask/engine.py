"""Screen the films of a job on a Dask cluster: its processes read and examine, here rows are made."""

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
from screening.results import Row, Status, reason

#: Seconds for which a cluster that is away is waited for: its scheduler restarts, its hosts boot.
PATIENCE: Final = 300.0

#: Seconds after which a signal is heard that another thread received; see the local engine.
_LISTEN: Final = 0.2

#: Orders for each thread of the cluster: one is carried out, one is there when it is done.
_EACH: Final = 2

#: Answers that wait for an earlier one, for each order that is out: a slow film stops nobody.
_AHEAD: Final = 2


class ClusterEngine:
    """Hands films to a Dask cluster, a bounded number of batches at a time.

    A batch that is lost with its process, its host or the scheduler is carried out again. One over
    which processes die is carried out film by film, with nothing else in the cluster's hands from
    here, so that it is known which film did it; that one has failed.

    Args:
        access: to the cluster.
        stop: a cluster that is away is not waited for once it is asked for.
        patience: seconds for which it is waited for otherwise.
    """

    def __init__(self, access: ClusterConfig, stop: Stop, patience: float = PATIENCE) -> None:
        self._access = access
        self._link = DaskClient(access, stop, patience)

    def screen(
        self, screener: Screener, films: Iterable[Found], seen: Seen, batch: int
    ) -> Generator[list[Row], None, None]:
        """Rows in the order of `films`, at most `batch` at a time; memory does not grow with the job.

        Raises:
            ClusterUnavailable: if the cluster, or what its hosts must see, is away for too long.
            JobFailed: if a host has another bundle or another version of this package.
        """
        order = Task.of(screener, self._access)
        flight = _Flight(self._link, screener, order, iter(films), batch)
        try:
            for examined in flight:
                yield screener.rows(examined, seen)
        except BaseException:
            # Closed early, too: answers are not waited for.
            flight.cancel()
            screener.close()
            raise

    def close(self) -> None:
        """Let go of the cluster."""
        self._link.close()


@dataclass
class _Sent:
    """A batch on its way.

    Attributes:
        known: films that no worker was asked for.
        order: for the others.
        answer: None if there are no others.
    """

    films: list[Found]
    known: dict[str, ReadFilm]
    order: Task
    answer: Future[TaskResult] | None


class _Flight:
    """The batches of one job that are out, in the order of its films."""

    def __init__(
        self, link: DaskClient, screener: Screener, order: Task, coming: Iterator[Found], batch: int
    ) -> None:
        self._link = link
        self._screener = screener
        self._order = order
        self._coming = coming
        self._batch = batch
        self._waiting: deque[_Sent] = deque()

    def __iter__(self) -> Iterator[list[InferenceResult]]:
        while self._fill():
            head = self._waiting[0]
            while not self._is_there(head):
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
        """Want none of the answers any more."""
        for sent in self._waiting:
            if sent.answer is not None:
                sent.answer.cancel()

    def _fill(self) -> bool:
        """Send what was lost, and as much more as the cluster should have; False if all is done."""
        for sent in self._waiting:
            self._send_again(sent)
        most = max(1, self._link.threads()) * _EACH
        while len(self._waiting) < _AHEAD * most and len(self._out()) < most:
            films = list(islice(self._coming, self._batch))
            if not films:
                break
            self._waiting.append(self._sent(films))
        return bool(self._waiting)

    def _out(self) -> list[Future[TaskResult]]:
        """Answers that will come."""
        answers = [sent.answer for sent in self._waiting if sent.answer is not None]
        return [one for one in answers if not one.done() and not self._link.is_lost(one)]

    def _is_there(self, sent: _Sent) -> bool:
        answer = sent.answer
        return answer is None or (answer.done() and not self._link.is_lost(answer))

    def _sent(self, films: list[Found]) -> _Sent:
        reader = self._screener.reader
        looked_up = {found.film: reader.known(found) for found in films}
        known = {name: film for name, film in looked_up.items() if film is not None}
        order = self._order.for_films(tuple(found for found in films if found.film not in known))
        return _Sent(films, known, order, self._link.send(order) if order.films else None)

    def _send_again(self, sent: _Sent) -> None:
        if sent.answer is not None and self._link.is_lost(sent.answer):
            sent.answer.cancel()
            sent.answer = self._link.send(sent.order)

    def _wait(self) -> None:
        """Until one more answer is there, or a little."""
        wait(self._out(), _LISTEN, FIRST_COMPLETED)

    def _examined(self, sent: _Sent) -> list[InferenceResult]:
        """The films of a batch that is done.

        Raises:
            Deadly: if processes of the cluster died over it.
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
            # An import says what is not installed; other texts may hold names of films.
            said = f": {error}" if isinstance(error, ImportError) else ""
            raise JobFailed(
                f"a worker of the cluster {self._link.address} failed with "
                f"{type(error).__name__}{said}; its log says where"
            ) from error
        self._check_share(answer.result())
        return answer.result().films

    def _check_share(self, answer: TaskResult) -> None:
        """A host without the share sees no film at all; that is not what films failed with."""
        for examined in answer.films:
            code = examined.film.reason.partition(":")[0]
            if code in ("vanished", "unreadable") and self._is_readable(examined.film.film):
                raise ClusterUnavailable(
                    f"host {answer.host} of the cluster cannot read films in {self._order.folder} "
                    f"that this machine reads in {self._screener.folder}: is it mounted there?"
                )

    def _is_readable(self, film: str) -> bool:
        try:
            read_file(film_path(self._screener.folder, film), 1)
        except (NotAFilm, UnreadableFilm):
            return False
        return True

    def _one_by_one(self, sent: _Sent) -> Iterator[list[InferenceResult]]:
        """Each film of a deadly batch by itself, while the cluster has nothing else from here.

        Dask blames every task that a lost process had, also one that had not begun.
        """
        while self._out():
            self._wait()
            self._link.threads()
        for found in sent.films:
            alone = self._sent([found])
            self._waiting[0] = alone
            while not self._is_there(alone):
                self._wait()
                self._link.threads()
                self._send_again(alone)
            try:
                examined = self._examined(alone)
            except WorkerKilled:
                examined = [self._killer(found)]
            yield examined

    def _killer(self, found: Found) -> InferenceResult:
        sha256, why = hash_now(self._screener.folder, found), reason("killed_worker")
        return InferenceResult(ReadFilm(found.film, sha256, status=Status.FAILED, reason=why))
