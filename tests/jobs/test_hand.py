"""What is in hand is written down before it is read, and rows a little after they are there."""

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
    """The part of a store that knows what is in hand, and a clock."""

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
    """Knows which films were read though nobody had written that they are in hand."""

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


def handed(ledger, number, batch, stop=None, pace=1.0):
    films = found(*names(number))
    return InFlight(ledger.write, films, batch, stop or Stop(), pace, ledger.clock)


def screened_one_by_one(ledger, number, batch, seconds):
    """Films that take so long each; their rows are held as soon as a batch is full."""
    hand, ready = handed(ledger, number, batch), []
    for entry in hand:
        ledger.time += seconds
        ready.append(row(entry.film))
        if len(ready) == batch:
            hand.put(ready)
            ready = []
    hand.put(ready)
    hand.clear()


@given(st.integers(0, 30), st.integers(1, 9))
def test_each_film_is_written_down_before_it_is_given_and_all_are(number, batch):
    ledger, given_films = Ledger(), []
    for entry in handed(ledger, number, batch):
        assert entry.film in ledger.in_hand
        given_films.append(entry.film)
    assert given_films == ledger.in_hand == names(number)


@given(
    st.integers(0, 600),
    st.integers(1, 9),
    st.integers(1, 3),
    st.lists(st.floats(0, 2), min_size=1),
)
def test_an_engine_reads_what_is_in_hand_alone_and_every_row_is_written_once(
    number, batch, threads, seconds
):
    ledger = Ledger()
    hand, reader = handed(ledger, number, batch), Reader(ledger)
    screened = LocalEngine(threads).screen(reader, hand, Seen(), batch)
    for turn, rows in enumerate(screened):
        ledger.time += seconds[turn % len(seconds)]
        hand.put(rows)
    hand.clear()
    assert reader.unmarked == []
    assert ledger.rows == names(number)
    assert ledger.in_hand == []
    assert ledger.most <= MOST + (2 * threads + 1) * batch


def test_so_many_films_are_taken_that_a_commit_a_second_is_enough():
    ledger = Ledger()
    screened_one_by_one(ledger, 600, 4, 0.006)
    assert [taken for _rows, taken in ledger.commits] == [4, 8, 16, 32, 64, 128, 128, 128, 92, 0]


def test_of_films_that_take_long_no_more_are_taken_than_are_scored_together():
    ledger = Ledger()
    screened_one_by_one(ledger, 60, 4, 1.0)
    assert {taken for _rows, taken in ledger.commits} <= {0, 4}


def test_when_films_begin_to_take_long_fewer_are_taken():
    ledger = Ledger()
    hand = handed(ledger, 600, 4)
    for number, _entry in enumerate(hand):
        ledger.time += 0.001 if number < 252 else 0.1
    taken = [taken for _rows, taken in ledger.commits]
    assert taken[:7] == [4, 8, 16, 32, 64, 128, 128]
    assert min(taken[7:-1]) <= 8


def test_rows_are_written_down_with_the_films_that_are_taken_next():
    ledger = Ledger()
    screened_one_by_one(ledger, 300, 4, 0.008)
    alone = [rows for rows, taken in ledger.commits if not taken]
    assert len(alone) == 1


def test_rows_are_not_held_for_longer_than_a_second():
    ledger = Ledger()
    hand = handed(ledger, 64, 64)
    list(hand)
    ledger.time += 0.9
    hand.put([row("000.png")])
    assert ledger.rows == []
    ledger.time += 0.2
    hand.put([row("001.png")])
    assert ledger.rows == names(2)


def test_nothing_is_written_where_there_is_nothing():
    ledger = Ledger()
    hand = handed(ledger, 0, 4)
    assert list(hand) == []
    ledger.time += 100
    hand.put([])
    hand.clear()
    assert ledger.commits == []


@pytest.mark.parametrize("asked_at", [0, 3, 4, 5])
def test_nothing_is_given_and_nothing_taken_once_a_stop_is_asked_for(asked_at):
    ledger, stop = Ledger(), Stop()
    hand = handed(ledger, 30, 4, stop)
    films = iter(hand)
    for _entry in range(asked_at):
        next(films)
    before = list(ledger.commits)
    stop.ask()
    assert list(films) == []
    assert ledger.commits == before
    hand.put([row("000.png")])
    hand.clear()
    assert ledger.rows == ["000.png"]


def test_a_stop_between_the_look_and_the_writing_gives_no_film_that_is_not_written_down():
    class Late(Stop):
        """Asked for just after somebody has looked."""

        def __init__(self):
            super().__init__()
            self._looks = count()

        @property
        def asked(self):
            return next(self._looks) > 0

    ledger = Ledger()
    assert [entry.film for entry in handed(ledger, 9, 4, Late())] == ["000.png"]
    assert ledger.in_hand == names(4)


films_and_deaths = st.lists(st.integers(0, 2), max_size=30)


@given(films_and_deaths)
def test_portions_are_the_films_in_their_order_and_each_suspect_is_alone(numbers):
    films = found(*names(len(numbers)))
    died = {entry.film: n for entry, n in zip(films, numbers, strict=True) if n}
    given_portions = list(isolate_suspects(films, died))
    assert [entry for portion in given_portions for entry in portion] == films
    for portion in given_portions:
        assert len(portion) == 1 or not any(entry.film in died for entry in portion)
    # Those that are beyond suspicion are not parted from each other.
    clear = [portion[0].film not in died for portion in given_portions]
    assert (True, True) not in pairwise(clear)
