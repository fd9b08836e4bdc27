"""Films are marked as in progress before they are read, and rows are written soon after."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.engines.local import LocalEngine
from jobs.worker.job_run import InFlight, isolate_suspects
from jobs.worker.lease import Stop
from queue_makers import found
from screening.inference.pipeline import Seen
from screening.results import Row, Status

MOST = 128


class Ledger:
    """Minimal store that tracks films in progress, with a clock."""

    def __init__(self):
        self.in_hand, self.most, self.rows, self.commits, self.time = [], 0, [], [], 0.0

    def write(self, rows, taken):
        self.commits.append((len(rows), len(taken)))
        self.rows += [row.film for row in rows]
        self.in_hand = [film for film in self.in_hand if film not in {row.film for row in rows}]
        self.in_hand += taken
        self.most = max(self.most, len(self.in_hand))

    def clock(self):
        return self.time


class Reader:
    """Records films that were read without being marked as in progress."""

    def __init__(self, ledger):
        self.unmarked, self._ledger = [], ledger

    def examine(self, films, _seen):
        self.unmarked += [one.film for one in films if one.film not in self._ledger.in_hand]
        return [one.film for one in films]

    def rows(self, films, _seen):
        return [row(film) for film in films]

    def close(self):
        pass


def row(film):
    return Row(film=film, status=Status.REFUSED)


def names(number):
    return [f"{index:03}.png" for index in range(number)]


def make_in_flight(ledger, number, batch, stop=None, pace=1.0):
    films = found(*names(number))
    return InFlight(ledger.write, films, batch, stop or Stop(), pace, ledger.clock)


def screened_one_by_one(ledger, number, batch, seconds):
    """Screen films that take `seconds` each; put their rows whenever a batch is full."""
    in_flight, ready = make_in_flight(ledger, number, batch), []
    for entry in in_flight:
        ledger.time += seconds
        ready.append(row(entry.film))
        if len(ready) == batch:
            in_flight.put(ready)
            ready = []
    in_flight.put(ready)
    in_flight.clear()


@given(st.integers(0, 30), st.integers(1, 9))
def test_each_film_is_marked_before_it_is_yielded(number, batch):
    ledger, given_films = Ledger(), []
    for entry in make_in_flight(ledger, number, batch):
        assert entry.film in ledger.in_hand
        given_films.append(entry.film)
    assert given_films == ledger.in_hand == names(number)


@given(
    st.integers(0, 600),
    st.integers(1, 9),
    st.integers(1, 3),
    st.lists(st.floats(0, 2), min_size=1),
)
def test_engine_reads_marked_films_and_each_row_is_written_once(number, batch, threads, seconds):
    ledger = Ledger()
    in_flight, reader = make_in_flight(ledger, number, batch), Reader(ledger)
    screened = LocalEngine(threads).screen(reader, in_flight, Seen(), batch)
    for turn, rows in enumerate(screened):
        ledger.time += seconds[turn % len(seconds)]
        in_flight.put(rows)
    in_flight.clear()
    assert reader.unmarked == []
    assert ledger.rows == names(number)
    assert ledger.in_hand == []
    assert ledger.most <= MOST + (2 * threads + 1) * batch


def test_number_taken_grows_until_commits_are_a_second_apart():
    ledger = Ledger()
    screened_one_by_one(ledger, 600, 4, 0.006)
    assert [taken for _rows, taken in ledger.commits] == [4, 8, 16, 32, 64, 128, 128, 128, 92, 0]


def test_slow_films_are_taken_one_batch_at_a_time():
    ledger = Ledger()
    screened_one_by_one(ledger, 60, 4, 1.0)
    assert {taken for _rows, taken in ledger.commits} <= {0, 4}


def test_number_taken_shrinks_when_films_become_slow():
    ledger = Ledger()
    in_flight = make_in_flight(ledger, 600, 4)
    for number, _entry in enumerate(in_flight):
        ledger.time += 0.001 if number < 252 else 0.1
    taken = [taken for _rows, taken in ledger.commits]
    assert taken[:7] == [4, 8, 16, 32, 64, 128, 128]
    assert min(taken[7:-1]) <= 8


def test_rows_are_committed_with_next_films_taken():
    ledger = Ledger()
    screened_one_by_one(ledger, 300, 4, 0.008)
    alone = [rows for rows, taken in ledger.commits if not taken]
    assert len(alone) == 1


def test_rows_are_buffered_for_at_most_a_second():
    ledger = Ledger()
    in_flight = make_in_flight(ledger, 64, 64)
    list(in_flight)
    ledger.time += 0.9
    in_flight.put([row("000.png")])
    assert ledger.rows == []
    ledger.time += 0.2
    in_flight.put([row("001.png")])
    assert ledger.rows == names(2)


def test_nothing_is_committed_without_films():
    ledger = Ledger()
    in_flight = make_in_flight(ledger, 0, 4)
    assert list(in_flight) == []
    ledger.time += 100
    in_flight.put([])
    in_flight.clear()
    assert ledger.commits == []


@pytest.mark.parametrize("asked_at", [0, 3, 4, 5])
def test_no_film_is_yielded_or_taken_after_stop(asked_at):
    ledger, stop = Ledger(), Stop()
    in_flight = make_in_flight(ledger, 30, 4, stop)
    films = iter(in_flight)
    for _entry in range(asked_at):
        next(films)
    before = list(ledger.commits)
    stop.ask()
    assert list(films) == []
    assert ledger.commits == before
    in_flight.put([row("000.png")])
    in_flight.clear()
    assert ledger.rows == ["000.png"]


def test_stop_during_take_yields_only_marked_films():
    class Late(Stop):
        """Requests a stop just after the first check."""

        def __init__(self):
            super().__init__()
            self._looks = count()

        @property
        def asked(self):
            return next(self._looks) > 0

    ledger = Ledger()
    assert [entry.film for entry in make_in_flight(ledger, 9, 4, Late())] == ["000.png"]
    assert ledger.in_hand == names(4)


films_and_deaths = st.lists(st.integers(0, 2), max_size=30)


@given(films_and_deaths)
def test_groups_keep_order_and_each_suspect_is_alone(numbers):
    films = found(*names(len(numbers)))
    died = {entry.film: n for entry, n in zip(films, numbers, strict=True) if n}
    given_portions = list(isolate_suspects(films, died))
    assert [entry for portion in given_portions for entry in portion] == films
    for portion in given_portions:
        assert len(portion) == 1 or not any(entry.film in died for entry in portion)
    # Adjacent groups of unsuspected films are merged.
    clear = [portion[0].film not in died for portion in given_portions]
    assert (True, True) not in pairwise(clear)
