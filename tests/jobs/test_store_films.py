"""Every store: the films of a job, their rows, and the workers that died over them."""

import pytest
from sqlalchemy.exc import IntegrityError

from jobs.errors import JobsError
from queue_makers import found, make_job, scored_row
from screening.audit import Event
from screening.files import Found
from screening.results import Row, Status
from store_makers import EVENT, LEASE, SUBMITTED, claimed, everything, failed_row

ODD = [
    "größe '\".png",
    "100%_\\.png",
    "a\nb\t.png",
    "-- ; DROP",
    "胸部/☢.dcm",
    "\uf700\uf780",
    "=1+1",
]


@pytest.fixture
def store(any_store):
    return any_store


def test_films_left_are_those_without_a_row_in_the_order_of_the_report(store):
    job = claimed(store, films=["d.png", "a.png", "c.png", "b.png"])
    store.commit(job, [scored_row("c.png"), scored_row("d.png")], LEASE)
    assert store.films_left(job) == found("a.png", "b.png")
    assert store.films(job) == found("d.png", "a.png", "c.png", "b.png")


def test_rows_come_in_the_order_of_the_report_whatever_the_order_of_commits(store):
    job = claimed(store)
    for film in ("c.png", "a.png", "b.png"):
        store.commit(job, [scored_row(film)], LEASE)
    assert [row.film for row in store.rows(job)] == ["a.png", "b.png", "c.png"]


def test_a_row_comes_back_as_it_was_committed(store):
    job = claimed(store)
    rows = [
        scored_row("a.png", 0.123456),
        failed_row("b.png"),
        Row(film="c.png", status=Status.DUPLICATE, reason="same_bytes: … a.png."),
    ]
    store.commit(job, rows, LEASE)
    assert store.rows(job) == rows


def test_a_row_may_hold_any_text(store):
    # A DICOM header may hold NUL, which PostgreSQL's text cannot.
    job = claimed(store, films=["a.png"])
    row = Row(film="a.png", status=Status.REFUSED, manufacturer="a\0b", warnings="\ud800 ☢")
    store.commit(job, [row], LEASE)
    assert store.rows(job) == [row]


def test_films_of_any_name_are_found_again(store):
    job = claimed(store, films=ODD)
    store.commit(job, [scored_row(film) for film in ODD[1:]], LEASE, ODD[:1])
    assert [row.film for row in store.rows(job)] == ODD[1:]
    store.expire(job)
    store.claim("B", LEASE)
    assert store.deaths(job) == {ODD[0]: 1}


@pytest.mark.parametrize(
    "film",
    [
        Found("a.png", 12345, modified_ns=1_795_000_000_123_456_789),
        Found("link", 0, is_file=False),
        Found("large", 2**31 + 5, modified_ns=2**63 - 1),
        Found("larger", 2**50, modified_ns=-(2**63)),
    ],
)
def test_a_listed_film_keeps_its_size_its_kind_and_its_time(store, film):
    store.add(make_job())
    job = store.claim("A", LEASE)
    store.list_films(job, [film], [])
    assert [vars(one) for one in store.films(job)] == [vars(film)]
    assert [vars(one) for one in store.films_left(job)] == [vars(film)]


def test_a_job_says_that_it_was_listed_and_counts_its_films_and_rows(store):
    job = claimed(store)
    assert (job.listed_at, job.films, job.committed) == ("", 0, 0)
    store.commit(job, [scored_row("a.png"), scored_row("c.png")], LEASE)
    now = store.get(job.name)
    assert now.listed_at
    assert (now.films, now.committed) == (3, 2)


def test_rows_are_counted_by_status(store):
    job = claimed(store)
    assert store.counts(job) == {}
    rows = [scored_row("a.png"), failed_row("b.png"), failed_row("c.png")]
    store.commit(job, rows, LEASE)
    assert store.counts(job) == {Status.SCORED: 1, Status.FAILED: 2}


def test_an_empty_list_of_films_still_leaves_its_history(store):
    job = claimed(store, films=[])
    assert store.get(job.name).films == 0
    assert store.get(job.name).listed_at
    assert store.events(job) == [SUBMITTED, EVENT]


@pytest.mark.parametrize("first", [[], ["a.png"]])
def test_films_are_listed_once_even_if_there_were_none(store, first):
    job = claimed(store, films=first)
    before = everything(store)
    store.list_films(job, found("late.png"), [Event("t", "listed", "job-1")])
    assert everything(store) == before


def test_films_and_history_are_listed_together_or_not_at_all(store):
    store.add(make_job())
    job = store.claim("A", LEASE)
    before = everything(store)
    with pytest.raises((IntegrityError, ValueError)):
        store.list_films(job, found("a.png", "a.png"), [EVENT])
    assert everything(store) == before


def test_events_come_back_in_the_order_in_which_they_were_recorded(store):
    job = claimed(store)
    later = [Event("t", word, "job-1") for word in ("zebra", "apple", "mole")]
    for event in later:
        store.record(job, event)
    assert store.events(job) == [SUBMITTED, EVENT, *later]


def test_the_same_film_name_in_another_job_is_another_film(store):
    one, two = claimed(store, "one", ["a.png"]), claimed(store, "two", ["a.png"])
    store.commit(one, [scored_row("a.png")], LEASE, ["a.png"])
    assert store.rows(two) == []
    assert store.films_left(one) == []
    assert store.films_left(two) == found("a.png")
    store.expire(two)
    store.claim("B", LEASE, only="two")
    assert store.deaths(two) == {}


@pytest.mark.parametrize(
    "rows",
    [["b.png", "a.png"], ["b.png", "never-listed.png"]],
    ids=["committed before", "not of this job"],
)
def test_a_batch_with_a_row_that_is_not_open_is_rolled_back_whole(store, clock, rows):
    job = claimed(store)
    store.commit(job, [scored_row("a.png", 0.25)], LEASE)
    before = everything(store)
    clock.seconds += 1
    with pytest.raises(JobsError, match=f"{rows[-1]} is no open film of job job-1"):
        store.commit(job, [scored_row(film, 0.75) for film in rows], LEASE, ["c.png"])
    assert everything(store) == before


def test_two_rows_for_one_film_in_one_batch_are_refused(store):
    job = claimed(store)
    before = everything(store)
    with pytest.raises(JobsError, match=r"b\.png is no open film"):
        store.commit(job, [scored_row("b.png", 0.25), scored_row("b.png", 0.75)], LEASE)
    assert everything(store) == before


def test_a_refused_row_of_a_job_that_hides_names_is_not_named(store):
    job = claimed(store, hash_names=True)
    with pytest.raises(JobsError, match=r"^a film is no open film of job job-1$"):
        store.commit(job, [scored_row("Mustermann.png")], LEASE)


def died(store, job):
    """Its worker is known to be dead, and another takes over."""
    store.expire(job)
    return store.claim("another than " + job.worker, LEASE)


def test_films_in_hand_without_a_row_are_the_deaths_of_a_lost_worker(store, clock):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png", "b.png"])
    assert store.deaths(job) == {}
    store.commit(job, [scored_row("a.png")], LEASE, ["c.png"])
    clock.seconds += LEASE + 1
    second = store.claim("B", LEASE)
    assert store.deaths(second) == {"b.png": 1, "c.png": 1}
    store.commit(second, [], LEASE, ["b.png"])
    third = died(store, second)
    assert store.deaths(third) == {"b.png": 2, "c.png": 1}
    store.commit(third, [failed_row("b.png")], LEASE)
    assert store.deaths(third) == {"c.png": 1}


def test_who_was_only_late_has_not_died_of_the_films_in_hand(store, clock):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png", "b.png"])
    clock.seconds += LEASE + 1
    second = store.claim("B", LEASE)
    store.commit(second, [scored_row("a.png")], LEASE, ["b.png"])
    store.clear_suspicion(second)
    assert store.deaths(second) == {"b.png": 1}
    store.clear_suspicion(job)
    assert store.deaths(second) == {}
    third = died(store, second)
    store.clear_suspicion(job)
    assert store.deaths(third) == {"b.png": 1}


def test_a_film_that_nobody_took_again_is_not_counted_twice(store):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    second = died(store, job)
    third = died(store, second)
    assert store.deaths(third) == {"a.png": 1}


@pytest.mark.parametrize(
    "give_back",
    [
        lambda store, job: store.release(job),
        lambda store, job: store.postpone(job, 0, "the folder is away", 1),
    ],
    ids=["release", "postpone"],
)
def test_who_gives_a_job_back_has_not_died_of_its_films(store, give_back):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    give_back(store, job)
    second = store.claim("B", LEASE)
    third = died(store, second)
    assert store.deaths(third) == {}
    assert (second.deaths, third.deaths) == (0, 1)


def test_who_claims_a_job_again_has_not_died(store, clock):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    clock.seconds += LEASE + 1
    again = store.claim("A", LEASE)
    assert store.deaths(again) == {}
    assert again.deaths == 0


def test_who_claimed_a_job_again_and_then_died_had_the_same_films_in_hand(store):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    store.expire(job)
    died(store, store.claim("A", LEASE))
    assert store.deaths(job) == {"a.png": 1}


def test_workers_that_died_without_a_row_are_counted_until_one_writes_a_row(store):
    job = claimed(store)
    for deaths in (1, 2, 3):
        job = died(store, job)
        assert job.deaths == deaths
    store.commit(job, [], LEASE, ["a.png"])
    assert store.get(job.name).deaths == 3
    store.commit(job, [scored_row("a.png")], LEASE)
    assert store.get(job.name).deaths == 0
    assert died(store, job).deaths == 1


def test_what_is_taken_and_has_a_row_or_is_not_of_the_job_is_left_alone(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE, ["a.png", "never-listed.png"])
    died(store, job)
    assert store.deaths(job) == {}
