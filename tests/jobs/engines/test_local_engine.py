"""Local engine: order, batches, look-ahead and cleanup."""

import signal
import threading
from dataclasses import dataclass, field

import pytest

from jobs.engines.local import LocalEngine
from makers import write_film
from queue_makers import found
from screening.files import discover
from screening.inference.pipeline import Seen
from screening.results import Row, Status


@dataclass
class FakeScreener:
    """Reads names instead of films, and measures how far reading is ahead of the rows.

    Attributes:
        limit: maximum number of films read without a row.
        stuck: reading this film blocks until the screener is closed, or for a minute.
    """

    limit: int = 10_000
    broken: str = ""
    read_so_far: int = 0
    scored: list[str] = field(default_factory=list)
    most_ahead: int = 0
    at_once: int = 0
    most_at_once: int = 0
    too_far: threading.Event = field(default_factory=threading.Event)
    stuck: str = ""
    closed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, entry):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if entry.film == self.broken:
            raise RuntimeError(entry.film)
        if entry.film == self.stuck:
            self.closed.wait(60)
        with self.lock:
            self.at_once -= 1
            self.read_so_far += 1
            self.most_ahead = max(self.most_ahead, self.read_so_far - len(self.scored))
            if self.most_ahead > self.limit:
                self.too_far.set()
        return entry.film

    def examine(self, films, _seen):
        return [self.read(entry) for entry in films]

    def rows(self, films, _seen):
        # Give an engine that reads everything at once the time to do so.
        self.too_far.wait(0.05 if not self.scored else 0)
        with self.lock:
            self.scored += films
        return [Row(film=film, status=Status.REFUSED) for film in films]

    def close(self):
        self.closed.set()


def names(number):
    return [f"{index:03}.png" for index in range(number)]


@pytest.fixture
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


pytestmark = pytest.mark.usefixtures("no_thread_is_left")


@pytest.mark.parametrize(
    ("number", "batch", "threads"),
    [
        (0, 4, 2),
        (1, 4, 2),
        (8, 4, 2),
        (9, 4, 2),
        (10, 4, 2),
        (40, 4, 2),
        (41, 4, 1),
        (7, 1, 1),
        (30, 16, 3),
    ],
)
def test_every_film_is_returned_once_in_order(number, batch, threads):
    films = names(number)
    batches = list(LocalEngine(threads).screen(FakeScreener(), found(*films), Seen(), batch))
    assert [row.film for rows in batches for row in rows] == films


@pytest.mark.parametrize(
    ("number", "batch", "sizes"),
    [(0, 4, []), (3, 4, [3]), (4, 4, [4]), (10, 4, [4, 4, 2]), (5, 1, [1] * 5), (9, 8, [8, 1])],
)
def test_all_batches_but_last_are_full(number, batch, sizes):
    batches = LocalEngine(1).screen(FakeScreener(), found(*names(number)), Seen(), batch)
    assert [len(rows) for rows in batches] == sizes


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (4, 1), (4, 2), (8, 3)])
def test_look_ahead_is_bounded(batch, threads):
    limit = 2 * threads * batch
    screener = FakeScreener(limit)
    for _rows in LocalEngine(threads).screen(screener, found(*names(300)), Seen(), batch):
        pass
    assert screener.most_ahead <= limit
    assert screener.most_at_once <= threads


def test_next_films_are_read_while_rows_are_made():
    screener = FakeScreener(limit=4)
    rows = LocalEngine(1).screen(screener, found(*names(50)), Seen(), 4)
    next(rows)
    rows.close()
    assert screener.too_far.is_set()


def test_no_row_is_made_before_it_is_requested():
    screener = FakeScreener()
    rows = LocalEngine(1).screen(screener, found(*names(50)), Seen(), 4)
    assert screener.read_so_far == 0
    next(rows)
    assert len(screener.scored) == 4
    rows.close()


def test_failing_consumer_stops_reading():
    screener = FakeScreener()

    def consume() -> None:
        for _rows in LocalEngine(2).screen(screener, found(*names(500)), Seen(), 4):
            raise OSError("the ledger is full")

    with pytest.raises(OSError, match="the ledger is full"):
        consume()
    assert screener.read_so_far < 500


def test_error_thrown_into_engine_propagates():
    rows = LocalEngine(2).screen(FakeScreener(), found(*names(50)), Seen(), 4)
    next(rows)
    with pytest.raises(KeyboardInterrupt):
        rows.throw(KeyboardInterrupt())


@pytest.mark.parametrize("broken", ["000.png", "005.png", "011.png"])
def test_error_while_reading_reaches_consumer(broken):
    rows = LocalEngine(2).screen(FakeScreener(broken=broken), found(*names(12)), Seen(), 4)
    with pytest.raises(RuntimeError, match=broken):
        list(rows)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_equal_those_of_serial_screening(screener, folder, threads):
    for number in range(6):
        write_film(folder / f"{number}.png", seed=number % 4, brightness=0.3 + number % 4 / 10)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    films = discover(folder)
    expected = screener.screen(films, Seen())
    batches = LocalEngine(threads).screen(screener, films, Seen(), 4)
    given = [row for rows in batches for row in rows]
    assert [(row.film, row.status, row.reason, row.probability) for row in given] == [
        (row.film, row.status, row.reason, row.probability) for row in expected
    ]
    assert [row.status for row in given].count(Status.DUPLICATE) == 2


def test_closed_engine_abandons_films_being_read():
    screener = FakeScreener(stuck="004.png")
    batches = LocalEngine(2).screen(screener, found(*names(20)), Seen(), batch=2)
    next(batches)
    batches.close()
    assert screener.closed.is_set()


def test_finished_engine_leaves_screener_open():
    screener = FakeScreener()
    list(LocalEngine(2).screen(screener, found(*names(5)), Seen(), batch=2))
    assert not screener.closed.is_set()


@dataclass
class DeafScreener(FakeScreener):
    """Sends a signal to its own thread while reading, so that the waiting thread is not woken.

    Attributes:
        heard: the screener was closed while it was reading.
    """

    heard: threading.Event = field(default_factory=threading.Event)

    def read(self, entry):
        # Wait until the main thread waits.
        assert not self.closed.wait(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        # The signal's handler makes the engine close this screener.
        if self.closed.wait(20):
            self.heard.set()
        return entry.film


def test_signal_is_handled_even_if_waiting_thread_is_not_woken():
    def heard(_signal, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, heard)
    screener = DeafScreener()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(LocalEngine(1).screen(screener, found("a.png"), Seen(), 1))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert screener.heard.is_set()
