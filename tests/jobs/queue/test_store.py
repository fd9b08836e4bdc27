"""All stores: adding, finding, claiming and holding jobs."""

import inspect
from pathlib import Path

import pytest

from jobs.errors import UnknownJob
from jobs.queue.jobs import State
from jobs.queue.sql.store import SqlStore
from jobs.queue.store import JobStore, Outbox, RunHistory
from memory_store import MemoryStore
from queue_makers import make_job, scored_row
from store_makers import EVENT, LEASE, SUBMITTED, claimed


@pytest.fixture
def store(any_store):
    return any_store


@pytest.mark.parametrize("kind", [SqlStore, MemoryStore])
def test_store_has_exactly_the_methods_of_the_protocols(kind):
    assert asked(kind) == asked(JobStore) | asked(RunHistory) | asked(Outbox)


def asked(kind):
    """Return public methods, with the kinds and defaults of their arguments in order."""
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
def test_job_is_stored_unchanged(store, changes):
    job = make_job(**changes)
    assert store.add(job) == job
    assert store.get(job.name) == job
    assert store.jobs() == [job]


def test_unknown_job_raises_error_with_name(store):
    with pytest.raises(UnknownJob, match="job-7"):
        store.get("job-7")


@pytest.mark.parametrize("ask", ["films", "films_left", "rows", "events", "deaths", "counts"])
def test_unknown_job_has_no_films_rows_or_history(store, ask):
    assert not getattr(store, ask)(make_job())


def test_history_begins_with_submission(store):
    job = make_job()
    store.add(job)
    assert store.events(job) == [SUBMITTED]


def test_jobs_are_listed_in_order_and_filtered_by_state(store):
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


def test_open_job_with_same_identity_is_returned(store):
    first = store.add(make_job("first", identity="i"))
    assert store.add(make_job("second", identity="i")) == first
    held = store.claim("A", LEASE)
    assert store.add(make_job("third", identity="i")) == held
    assert store.jobs() == [held]
    assert [event.subject for event in store.events(held)] == ["first"]


@pytest.mark.parametrize("exit_code", [0, 1, None])
def test_work_of_ended_job_is_queued_as_new_job(store, exit_code):
    store.add(make_job("first", identity="i"))
    if exit_code is None:
        store.cancel("first")
    else:
        store.finish(store.claim("A", LEASE), exit_code)
    assert store.add(make_job("second", identity="i")).name == "second"


def test_jobs_without_identity_are_always_new(store):
    for name in ("first", "second"):
        assert store.add(make_job(name)).name == name


def test_jobs_are_claimed_in_order_of_submission(store):
    names = ["c", "a", "b"]
    for name in names:
        store.add(make_job(name))
    assert [store.claim("A", LEASE).name for _ in names] == names


def test_jobs_are_claimed_by_priority_then_age(store):
    for name, priority in {"a": 0, "b": 5, "c": -1, "d": 5}.items():
        store.add(make_job(name, priority=priority))
    assert [store.claim("A", LEASE).name for _ in range(4)] == ["b", "d", "a", "c"]


def test_job_is_not_claimed_before_its_time(store, clock):
    store.add(make_job(not_before=clock.seconds + 10))
    store.add(make_job("job-2"))
    assert store.claim("A", LEASE).name == "job-2"
    clock.seconds += 9.5
    assert store.claim("A", LEASE) is None
    clock.seconds += 0.5
    assert store.claim("A", LEASE).name == "job-1"


def test_empty_queue_has_nothing_to_claim(store):
    assert store.claim("A", LEASE) is None


def test_claimed_job_has_worker_and_lease(store, clock):
    store.add(make_job())
    job = store.claim("A", LEASE)
    assert (job.state, job.worker, job.fence) == (State.RUNNING, "A", 1)
    assert job.lease_until == clock.seconds + LEASE
    assert job.started_at
    assert store.get(job.name) == job


def test_only_requested_job_is_claimed(store):
    for name in ("a", "b"):
        store.add(make_job(name))
    assert store.claim("A", LEASE, only="b").name == "b"
    assert store.claim("A", LEASE, only="b") is None
    assert store.claim("A", LEASE, only="c") is None
    assert store.get("a").state is State.QUEUED


@pytest.mark.parametrize(
    ("later", "is_free"), [(0, False), (59.9, False), (60.0, False), (60.1, True)]
)
def test_running_job_can_be_claimed_only_after_its_lease(store, clock, later, is_free):
    claimed(store)
    clock.seconds += later
    job = store.claim("B", LEASE)
    assert (job is not None) is is_free
    assert store.get("job-1").worker == ("B" if is_free else "A")


def test_takeover_raises_fence_and_keeps_start_time(store, clock):
    first = claimed(store)
    clock.seconds += LEASE + 1
    second = store.claim("B", LEASE)
    assert second.fence == first.fence + 1
    assert second.started_at == first.started_at


def test_job_with_expired_lease_is_claimed_before_later_jobs(store, clock):
    claimed(store)
    store.add(make_job("job-2"))
    clock.seconds += LEASE + 1
    assert store.claim("B", LEASE).name == "job-1"


@pytest.mark.parametrize(
    ("back", "is_free"), [(30, False), (LEASE, False), (LEASE + 1, True), (500_000, True)]
)
def test_lease_expires_when_clock_is_set_back_too_far(store, clock, back, is_free):
    claimed(store)
    clock.seconds -= back
    assert (store.claim("B", LEASE) is not None) is is_free


def test_maximum_of_lease_depends_on_its_own_length(store, clock):
    job = claimed(store)
    store.renew(job, 10 * LEASE)
    clock.seconds -= 9 * LEASE
    assert store.claim("B", 1.0) is None
    clock.seconds -= 2 * LEASE
    assert store.claim("B", 1.0).name == job.name


@pytest.mark.parametrize("exit_code", [0, 3, 1, 4])
def test_ended_job_is_never_claimed(store, clock, exit_code):
    store.finish(claimed(store), exit_code)
    clock.seconds += 10 * LEASE
    assert store.claim("B", LEASE) is None


def test_cancelled_job_is_never_claimed(store, clock):
    claimed(store)
    store.cancel("job-1")
    clock.seconds += 10 * LEASE
    assert store.claim("B", LEASE) is None


def test_jobs_of_one_schedule_run_one_at_a_time(store):
    for name, schedule in {"mon": "nightly", "tue": "nightly", "other": "weekly"}.items():
        store.add(make_job(name, schedule=schedule, priority=9 if name == "tue" else 0))
    monday = store.claim("A", LEASE)
    assert monday.name == "mon"
    assert store.claim("A", LEASE, only="tue") is None
    assert store.claim("A", LEASE).name == "other"
    store.finish(monday, 1)
    assert store.claim("A", LEASE).name == "tue"


def test_postponed_job_blocks_later_ones_of_its_schedule(store):
    for name in ("mon", "tue"):
        store.add(make_job(name, schedule="nightly"))
    store.postpone(store.claim("A", LEASE), 100, "the folder is away", 1)
    assert store.claim("A", LEASE) is None
    store.cancel("mon")
    assert store.claim("A", LEASE).name == "tue"


def test_jobs_without_schedule_do_not_wait_for_each_other(store):
    for name in ("a", "b"):
        store.add(make_job(name))
    assert {store.claim("A", LEASE).name, store.claim("B", LEASE).name} == {"a", "b"}


def test_commit_renews_lease(store, clock):
    job = claimed(store)
    clock.seconds += LEASE - 1
    store.commit(job, [scored_row("a.png")], LEASE)
    clock.seconds += LEASE - 1
    assert store.claim("B", LEASE) is None
    assert store.get(job.name).lease_until == clock.seconds + 1


def test_renew_changes_only_lease(store, clock):
    job = claimed(store)
    before = vars(store.get(job.name))
    clock.seconds += 10
    store.renew(job, 3 * LEASE)
    assert vars(store.get(job.name)) == before | {"lease_until": clock.seconds + 3 * LEASE}


def test_record_does_not_renew_lease(store, clock):
    job = claimed(store)
    clock.seconds += LEASE - 1
    store.record(job, EVENT)
    assert store.get(job.name).lease_until == job.lease_until


def test_job_of_dead_worker_can_be_claimed_at_once(store):
    job = claimed(store)
    store.expire(job)
    assert store.claim("B", LEASE).name == job.name


def test_expiring_old_claim_does_not_end_new_lease(store, clock):
    old = claimed(store)
    clock.seconds += LEASE + 1
    held = store.claim("B", LEASE)
    store.expire(old)
    assert store.get(old.name) == held


def test_first_value_is_pinned_for_all(store):
    assert store.pin("patient_key", "1") == "1"
    assert store.pin("patient_key", "2") == "1"
    assert store.pin("patient_key", "1") == "1"
    assert store.pin("other", "2") == "2"
