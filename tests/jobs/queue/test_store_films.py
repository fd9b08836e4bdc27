"""All stores: films of a job, their rows, and workers that died on them."""

import pytest
from sqlalchemy.exc import IntegrityError

from jobs.errors import JobsError
from queue_makers import found, make_job, scored_row
from screening.audit import Event
from screening.files import Found
from screening.results import FilmWarning, Reason, Row, Status
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


def test_films_left_are_those_without_row_in_order(store):
    job = claimed(store, films=["d.png", "a.png", "c.png", "b.png"])
    store.commit(job, [scored_row("c.png"), scored_row("d.png")], LEASE)
    assert store.films_left(job) == found("a.png", "b.png")
    assert store.films(job) == found("d.png", "a.png", "c.png", "b.png")


def test_rows_are_in_order_of_report(store):
    job = claimed(store)
    for film in ("c.png", "a.png", "b.png"):
        store.commit(job, [scored_row(film)], LEASE)
    assert [row.film for row in store.rows(job)] == ["a.png", "b.png", "c.png"]


def test_row_is_stored_unchanged(store):
    job = claimed(store)
    rows = [
        scored_row("a.png", 0.123456),
        failed_row("b.png"),
        Row(film="c.png", status=Status.DUPLICATE, reason=Reason("same_bytes", "… a.png")),
    ]
    store.commit(job, rows, LEASE)
    assert store.rows(job) == rows


def test_row_may_contain_any_text(store):
    # A DICOM header may contain NUL, which PostgreSQL's text type rejects.
    job = claimed(store, films=["a.png"])
    warnings = (FilmWarning("same_pixels", "\ud800 ☢\0"),)
    row = Row(film="a.png", status=Status.REFUSED, manufacturer="a\0b", warnings=warnings)
    store.commit(job, [row], LEASE)
    assert store.rows(job) == [row]


def test_films_with_unusual_names_are_found(store):
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
def test_listed_film_keeps_size_kind_and_time(store, film):
    store.add(make_job())
    job = store.claim("A", LEASE)
    store.list_films(job, [film], [])
    assert [vars(one) for one in store.films(job)] == [vars(film)]
    assert [vars(one) for one in store.films_left(job)] == [vars(film)]


def test_job_counts_its_films_and_rows(store):
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


def test_empty_list_of_films_is_recorded(store):
    job = claimed(store, films=[])
    assert store.get(job.name).films == 0
    assert store.get(job.name).listed_at
    assert store.events(job) == [SUBMITTED, EVENT]


@pytest.mark.parametrize("first", [[], ["a.png"]])
def test_films_are_listed_only_once(store, first):
    job = claimed(store, films=first)
    before = everything(store)
    store.list_films(job, found("late.png"), [Event("t", "listed", "job-1")])
    assert everything(store) == before


def test_films_and_history_are_listed_atomically(store):
    store.add(make_job())
    job = store.claim("A", LEASE)
    before = everything(store)
    with pytest.raises((IntegrityError, ValueError)):
        store.list_films(job, found("a.png", "a.png"), [EVENT])
    assert everything(store) == before


def test_events_are_in_order_of_recording(store):
    job = claimed(store)
    later = [Event("t", word, "job-1") for word in ("zebra", "apple", "mole")]
    for event in later:
        store.record(job, event)
    assert store.events(job) == [SUBMITTED, EVENT, *later]


def test_films_of_different_jobs_are_independent(store):
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
def test_batch_with_invalid_row_is_rolled_back(store, clock, rows):
    job = claimed(store)
    store.commit(job, [scored_row("a.png", 0.25)], LEASE)
    before = everything(store)
    clock.seconds += 1
    with pytest.raises(JobsError, match=f"{rows[-1]} is not an open film of job job-1"):
        store.commit(job, [scored_row(film, 0.75) for film in rows], LEASE, ["c.png"])
    assert everything(store) == before


def test_contradicting_rows_in_one_batch_are_refused(store):
    job = claimed(store)
    before = everything(store)
    with pytest.raises(JobsError, match=r"b\.png is not an open film"):
        store.commit(job, [scored_row("b.png", 0.25), scored_row("b.png", 0.75)], LEASE)
    assert everything(store) == before


def test_refused_row_is_not_named_with_hashed_names(store):
    job = claimed(store, hash_names=True)
    with pytest.raises(JobsError, match=r"^a film is not an open film of job job-1$"):
        store.commit(job, [scored_row("Mustermann.png")], LEASE)


def died(store, job):
    """Expire the lease as for a dead worker, and claim the job with another one."""
    store.expire(job)
    return store.claim("another than " + job.worker, LEASE)


def test_films_in_progress_without_row_count_as_deaths(store, clock):
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


def test_clear_suspicion_of_late_worker(store, clock):
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


def test_untaken_film_is_not_counted_twice(store):
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
def test_released_job_leaves_no_suspects(store, give_back):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    give_back(store, job)
    second = store.claim("B", LEASE)
    third = died(store, second)
    assert store.deaths(third) == {}
    assert (second.deaths, third.deaths) == (0, 1)


def test_worker_claiming_again_after_lease_is_no_death(store, clock):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    clock.seconds += LEASE + 1
    again = store.claim("A", LEASE)
    assert store.deaths(again) == {}
    assert again.deaths == 0


def test_death_after_second_claim_keeps_suspects(store):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    store.expire(job)
    died(store, store.claim("A", LEASE))
    assert store.deaths(job) == {"a.png": 1}


def test_deaths_are_counted_until_a_row_is_committed(store):
    job = claimed(store)
    for deaths in (1, 2, 3):
        job = died(store, job)
        assert job.deaths == deaths
    store.commit(job, [], LEASE, ["a.png"])
    assert store.get(job.name).deaths == 3
    store.commit(job, [scored_row("a.png")], LEASE)
    assert store.get(job.name).deaths == 0
    assert died(store, job).deaths == 1


def test_finished_and_unlisted_films_are_not_suspected(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE, ["a.png", "never-listed.png"])
    died(store, job)
    assert store.deaths(job) == {}
