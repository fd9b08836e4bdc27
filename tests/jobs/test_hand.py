"""What is in hand is written down before it is read, and never more than is about to be read."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.engines.local import LocalEngine
from jobs.hand import Hand, portions
from jobs.stop import Stop
from queue_makers import found, make_job
from screening.pipeline import Seen
from screening.row import Row, Status

LEASE = 120.0


class Ledger:
    """The part of a store that knows what is in hand."""

    def __init__(self):
        self.in_hand, self.most, self.commits = [], 0, []

    def commit(self, job, rows, lease, taken=()):
        self.commits.append(list(taken))
        self.in_hand = [film for film in self.in_hand if film not in {row.film for row in rows}]
        self.in_hand += taken
        self.most = max(self.most, len(self.in_hand))


class Reader:
    """Knows which films were read though nobody had written that they are in hand."""

    def __init__(self, ledger):
        self.unmarked, self._ledger = [], ledger

    def read(self, entry):
        if entry.film not in self._ledger.in_hand:
            self.unmarked.append(entry.film)
        return entry.film

    def score(self, films, seen):
        return [Row(film=film, status=Status.REFUSED) for film in films]

    def close(self):
        pass


def names(number):
    return [f"{index:03}.png" for index in range(number)]


def handed(ledger, number, batch, stop=None):
    return Hand(ledger, make_job(), LEASE, found(*names(number)), batch, stop or Stop())


@given(st.integers(0, 30), st.integers(1, 9))
def test_each_film_is_written_down_before_it_is_given_and_all_are(number, batch):
    ledger, given_films = Ledger(), []
    for entry in handed(ledger, number, batch):
        assert entry.film in ledger.in_hand
        given_films.append(entry.film)
    assert given_films == ledger.in_hand == names(number)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 3))
def test_with_the_local_engine_no_more_is_in_hand_than_it_reads_ahead_and_two_batches(
    number, batch, readers
):
    ledger = Ledger()
    hand, reader = handed(ledger, number, batch), Reader(ledger)
    for rows in LocalEngine(readers).screen(reader, hand, Seen(), batch):
        ledger.commit(None, rows, LEASE, hand.take(len(rows)))
    assert reader.unmarked == []
    assert ledger.in_hand == []
    assert ledger.most <= batch + 2 * readers + 2 * batch


def test_what_comes_next_is_written_down_with_the_rows_and_not_by_itself():
    ledger = Ledger()
    hand = handed(ledger, 300, 4)
    for rows in LocalEngine(1).screen(Reader(ledger), hand, Seen(), 4):
        ledger.commit(None, rows, LEASE, hand.take(len(rows)))
    alone = len(ledger.commits) - 75
    assert alone <= 3


@pytest.mark.parametrize("asked_at", [0, 3, 4, 5])
def test_nothing_is_given_and_nothing_written_down_once_a_stop_is_asked_for(asked_at):
    ledger, stop = Ledger(), Stop()
    hand = handed(ledger, 30, 4, stop)
    films = iter(hand)
    for _entry in range(asked_at):
        next(films)
    before = list(ledger.commits)
    stop.ask()
    assert list(films) == []
    assert hand.take(4) == []
    assert ledger.commits == before


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
    given_portions = list(portions(films, died))
    assert [entry for portion in given_portions for entry in portion] == films
    for portion in given_portions:
        assert len(portion) == 1 or not any(entry.film in died for entry in portion)
    # Those that are beyond suspicion are not parted from each other.
    clear = [portion[0].film not in died for portion in given_portions]
    assert (True, True) not in pairwise(clear)
