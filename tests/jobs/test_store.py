"""Every store: jobs that are added, found again, claimed and held."""

import inspect
from pathlib import Path

import pytest

from jobs.errors import UnknownJob
from jobs.queue.jobs import State
from jobs.queue.sql.store import SqlStore
from jobs.queue.store import Store
from memory_store import MemoryStore
from queue_makers import make_job, scored_row
from store_makers import EVENT, LEASE, SUBMITTED, claimed


@pytest.fixture
def store(any_store):
    return any_store


@pytest.mark.parametrize("kind", [SqlStore, MemoryStore])
def test_a_store_has_the_methods_of_the_protocol_and_no_others(kind):
    assert asked(kind) == asked(Store)


def asked(kind):
    """Public methods, with the kinds and the defaults of their arguments in order."""
    return {
        name: [
            (argument.kind, argument.default)
            for argument in inspect.signature(method).parameters.values()
        ]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"labels": Path("/labels.csv"), "quarantine": Path("/aside"), "new_only": True},
        {"labels_policy": "list", "prevalence": 0.05},
        {"heatmaps": True, "hash_names": True, "retries": 7, "settle": 0.5},
        {"priority": -3, "tags": ("ward 7", "größe", "'; --"), "schedule": "nightly"},
        {"identity": "e" * 64, "not_before": 1_000_000.25},
        {"folder": Path("/films/größe '\" % \\ :x"), "report": Path("/Bericht ♥")},
    ],
)
def test_a_job_comes_back_as_it_was_added(store, changes):
    job = make_job(**changes)
    assert store.add(job) == job
    assert store.get(job.name) == job
    assert store.jobs() == [job]


def test_an_unknown_job_is_an_error_that_names_it(store):
    with pytest.raises(UnknownJob, match="job-7"):
        store.get("job-7")


@pytest.mark.parametrize("ask", ["films", "films_left", "rows", "events", "deaths", "counts"])
def test_an_unknown_job_has_no_films_no_rows_and_no_history(store, ask):
    assert not getattr(store, ask)(make_job())


def test_a_history_begins_with_the_submission(store):
    job = make_job()
    store.add(job)
    assert store.events(job) == [SUBMITTED]


def test_jobs_are_listed_in_the_order_in_which_they_were_added_and_chosen_by_state(store):
    for name in ("c", "a", "b"):
        store.add(make_job(name))
    store.claim("A", LEASE, only="a")
    assert [job.name for job in store.jobs()] == ["c", "a", "b"]
    assert [job.name for job in store.jobs(State.QUEUED)] == ["c", "b"]
    assert [job.name for job in store.jobs(State.RUNNING, State.DONE)] == ["a"]
    assert store.jobs(State.CANCELLED) == []


def test_jobs_are_counted_by_state(store):
    assert dict(store.totals()) == {}
    for name in ("a", "b", "c"):
        store.add(make_job(name))
    store.finish(store.claim("A", LEASE), 0)
    assert dict(store.totals()) == {State.QUEUED: 2, State.DONE: 1}


def test_what_is_still_open_is_not_queued_again(store):
    first = store.add(make_job("first", identity="i"))
    assert store.add(make_job("second", identity="i")) == first
    held = store.claim("A", LEASE)
    assert store.add(make_job("third", identity="i")) == held
    assert store.jobs() == [held]
    assert [event.subject for event in store.events(held)] == ["first"]


@pytest.mark.parametrize("exit_code", [0, 1, None])
def test_what_has_ended_is_queued_again_as_a_new_job(store, exit_code):
    store.add(make_job("first", identity="i"))
    if exit_code is None:
        store.cancel("first")
    else:
        store.finish(store.claim("A", LEASE), exit_code)
    assert store.add(make_job("second", identity="i")).name == "second"


def test_jobs_without_an_identity_are_always_new(store):
    for name in ("first", "second"):
        assert store.add(make_job(name)).name == name


def test_jobs_are_claimed_in_the_order_in_which_they_were_added(store):
    names = ["c", "a", "b"]
    for name in names:
        store.add(make_job(name))
    assert [store.claim("A", LEASE).name for _ in names] == names


def test_jobs_of_a_higher_priority_are_claimed_first_and_of_these_the_oldest(store):
    for name, priority in {"a": 0, "b": 5, "c": -1, "d": 5}.items():
        store.add(make_job(name, priority=priority))
    assert [store.claim("A", LEASE).name for _ in range(4)] == ["b", "d", "a", "c"]


def test_a_job_is_not_claimed_before_its_time(store, clock):
    store.add(make_job(not_before=clock.seconds + 10))
    store.add(make_job("job-2"))
    assert store.claim("A", LEASE).name == "job-2"
    clock.seconds += 9.5
    assert store.claim("A", LEASE) is None
    clock.seconds += 0.5
    assert store.claim("A", LEASE).name == "job-1"


def test_an_empty_queue_has_nothing_to_claim(store):
    assert store.claim("A", LEASE) is None


def test_a_claimed_job_says_who_holds_it_and_until_when(store, clock):
    store.add(make_job())
    job = store.claim("A", LEASE)
    assert (job.state, job.worker, job.fence) == (State.RUNNING, "A", 1)
    assert job.lease_until == clock.seconds + LEASE
    assert job.started_at
    assert store.get(job.name) == job


def test_only_the_job_asked_for_is_claimed(store):
    for name in ("a", "b"):
        store.add(make_job(name))
    assert store.claim("A", LEASE, only="b").name == "b"
    assert store.claim("A", LEASE, only="b") is None
    assert store.claim("A", LEASE, only="c") is None
    assert store.get("a").state is State.QUEUED


@pytest.mark.parametrize(
    ("later", "is_free"), [(0, False), (59.9, False), (60.0, False), (60.1, True)]
)
def test_a_running_job_can_be_claimed_only_after_its_lease(store, clock, later, is_free):
    claimed(store)
    clock.seconds += later
    job = store.claim("B", LEASE)
    assert (job is not None) is is_free
    assert store.get("job-1").worker == ("B" if is_free else "A")


def test_a_take_over_raises_the_fence_and_keeps_the_time_of_the_first_start(store, clock):
    first = claimed(store)
    clock.seconds += LEASE + 1
    second = store.claim("B", LEASE)
    assert second.fence == first.fence + 1
    assert second.started_at == first.started_at


def test_a_job_whose_lease_ran_out_comes_before_jobs_that_were_added_later(store, clock):
    claimed(store)
    store.add(make_job("job-2"))
    clock.seconds += LEASE + 1
    assert store.claim("B", LEASE).name == "job-1"


@pytest.mark.parametrize(
    ("back", "is_free"), [(30, False), (LEASE, False), (LEASE + 1, True), (500_000, True)]
)
def test_a_lease_does_not_last_for_ever_when_the_clock_was_put_back(store, clock, back, is_free):
    claimed(store)
    clock.seconds -= back
    assert (store.claim("B", LEASE) is not None) is is_free


def test_how_long_a_lease_may_last_goes_by_its_own_length(store, clock):
    job = claimed(store)
    store.renew(job, 10 * LEASE)
    clock.seconds -= 9 * LEASE
    assert store.claim("B", 1.0) is None
    clock.seconds -= 2 * LEASE
    assert store.claim("B", 1.0).name == job.name


@pytest.mark.parametrize("exit_code", [0, 3, 1, 4])
def test_a_job_that_ended_is_never_claimed(store, clock, exit_code):
    store.finish(claimed(store), exit_code)
    clock.seconds += 10 * LEASE
    assert store.claim("B", LEASE) is None


def test_a_cancelled_job_is_never_claimed(store, clock):
    claimed(store)
    store.cancel("job-1")
    clock.seconds += 10 * LEASE
    assert store.claim("B", LEASE) is None


def test_jobs_of_one_schedule_run_one_after_the_other(store):
    for name, schedule in {"mon": "nightly", "tue": "nightly", "other": "weekly"}.items():
        store.add(make_job(name, schedule=schedule, priority=9 if name == "tue" else 0))
    monday = store.claim("A", LEASE)
    assert monday.name == "mon"
    assert store.claim("A", LEASE, only="tue") is None
    assert store.claim("A", LEASE).name == "other"
    store.finish(monday, 1)
    assert store.claim("A", LEASE).name == "tue"


def test_a_job_that_was_put_off_holds_up_the_later_ones_of_its_schedule(store):
    for name in ("mon", "tue"):
        store.add(make_job(name, schedule="nightly"))
    store.postpone(store.claim("A", LEASE), 100, "the folder is away", 1)
    assert store.claim("A", LEASE) is None
    store.cancel("mon")
    assert store.claim("A", LEASE).name == "tue"


def test_jobs_without_a_schedule_do_not_wait_for_each_other(store):
    for name in ("a", "b"):
        store.add(make_job(name))
    assert {store.claim("A", LEASE).name, store.claim("B", LEASE).name} == {"a", "b"}


def test_a_commit_renews_the_lease(store, clock):
    job = claimed(store)
    clock.seconds += LEASE - 1
    store.commit(job, [scored_row("a.png")], LEASE)
    clock.seconds += LEASE - 1
    assert store.claim("B", LEASE) is None
    assert store.get(job.name).lease_until == clock.seconds + 1


def test_a_renewal_changes_the_lease_alone(store, clock):
    job = claimed(store)
    before = vars(store.get(job.name))
    clock.seconds += 10
    store.renew(job, 3 * LEASE)
    assert vars(store.get(job.name)) == before | {"lease_until": clock.seconds + 3 * LEASE}


def test_an_event_alone_does_not_renew_the_lease(store, clock):
    job = claimed(store)
    clock.seconds += LEASE - 1
    store.record(job, EVENT)
    assert store.get(job.name).lease_until == job.lease_until


def test_a_job_with_a_dead_worker_is_free_at_once(store):
    job = claimed(store)
    store.expire(job)
    assert store.claim("B", LEASE).name == job.name


def test_expiring_an_old_claim_does_not_end_the_lease_of_the_next_worker(store, clock):
    old = claimed(store)
    clock.seconds += LEASE + 1
    held = store.claim("B", LEASE)
    store.expire(old)
    assert store.get(old.name) == held


def test_the_first_value_is_pinned_and_all_others_learn_of_it(store):
    assert store.pin("patient_key", "1") == "1"
    assert store.pin("patient_key", "2") == "1"
    assert store.pin("patient_key", "1") == "1"
    assert store.pin("other", "2") == "2"
