"""All stores: fencing of writes, and idempotence of repeated calls."""

from operator import methodcaller

import pytest

from jobs.errors import JobsError, LeaseLost
from jobs.queue.jobs import State
from queue_makers import found, make_job, scored_row
from store_makers import EVENT, LEASE, claimed, everything, failed_row, retried

WRITES = {
    "list_films": lambda store, job: store.list_films(job, found("late.png"), [EVENT]),
    "commit": lambda store, job: store.commit(job, [scored_row("b.png")], LEASE),
    "take": lambda store, job: store.commit(job, [], 2 * LEASE, ["b.png"]),
    "record": lambda store, job: store.record(job, retried("job-1")),
    "renew": lambda store, job: store.renew(job, 2 * LEASE),
    "release": lambda store, job: store.release(job),
    "postpone": lambda store, job: store.postpone(job, 10, "the folder is away", 1),
    "finish": lambda store, job: store.finish(job, 0, "all is well"),
}


def _taken_over(store, clock, _job):
    clock.seconds += LEASE + 1
    assert store.claim("B", LEASE).worker == "B"


LOSSES = {
    "taken over": _taken_over,
    "released": lambda store, _clock, job: store.release(job),
    "put off": lambda store, _clock, job: store.postpone(job, 10, "no network", 1),
    "done": lambda store, _clock, job: store.finish(job, 3),
    "failed": lambda store, _clock, job: store.finish(job, 1, "no disk"),
    "cancelled": lambda store, _clock, job: store.cancel(job.name),
}

# Repeated after their answers were lost, these calls raise no error and change nothing.
REPEATED = {(write, loss) for write in ("release", "postpone") for loss in ("released", "put off")}


@pytest.fixture
def store(any_store):
    return any_store


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("write", WRITES)
def test_worker_that_lost_its_lease_cannot_write(store, clock, write, loss):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE)
    LOSSES[loss](store, clock, job)
    before = everything(store)
    if (write, loss) in REPEATED:
        WRITES[write](store, job)
    else:
        with pytest.raises(LeaseLost, match=r"job-1 is no longer held by A"):
            WRITES[write](store, job)
    assert everything(store) == before


@pytest.mark.parametrize("write", WRITES)
def test_worker_that_holds_its_job_can_write(store, write):
    store.add(make_job())
    job = store.claim("A", LEASE)
    if write != "list_films":
        store.list_films(job, found("a.png", "b.png"), [EVENT])
    before = everything(store)
    WRITES[write](store, job)
    assert everything(store) != before


def test_expired_lease_is_usable_until_another_worker_claims(store, clock):
    job = claimed(store)
    clock.seconds += LEASE + 1
    store.commit(job, [scored_row("a.png")], LEASE)
    assert store.claim("B", LEASE) is None
    assert store.get(job.name).committed == 1


def listed(store):
    store.add(make_job())
    return store.claim("A", LEASE)


def half_done(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png"), failed_row("c.png")], LEASE)
    return job


def failed(store):
    job = half_done(store)
    store.finish(job, 4, "too many failed")
    return job


CALLS = {
    "add": (lambda _store: make_job(identity="i"), lambda job: ("add", job)),
    "list_films": (listed, lambda job: ("list_films", job, found("a.png", "b.png"), [EVENT])),
    "commit": (half_done, lambda job: ("commit", job, [scored_row("b.png")], LEASE, ["b.png"])),
    "record": (half_done, lambda job: ("record", job, retried("job-1"))),
    "renew": (half_done, lambda job: ("renew", job, LEASE)),
    "expire": (half_done, lambda job: ("expire", job)),
    "release": (half_done, lambda job: ("release", job)),
    "postpone": (half_done, lambda job: ("postpone", job, 10, "the folder is away", 1)),
    "done": (half_done, lambda job: ("finish", job, 3)),
    "failed": (half_done, lambda job: ("finish", job, 1, "no disk")),
    "cancel": (half_done, lambda _job: ("cancel", "job-1")),
    "retry": (failed, lambda _job: ("retry", "job-1", retried("job-1"))),
    "pin": (half_done, lambda _job: ("pin", "patient_key", "1")),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_is_idempotent_after_lost_answer(store, name):
    prepare, call = CALLS[name]
    ask = methodcaller(*call(prepare(store)))
    first = ask(store)
    before = everything(store)
    assert ask(store) == first
    assert everything(store) == before


def test_repeated_row_is_accepted_only_if_equal(store):
    job = half_done(store)
    store.commit(job, [scored_row("a.png"), scored_row("b.png")], LEASE)
    assert store.get("job-1").committed == 3
    with pytest.raises(JobsError, match=r"a\.png is not an open film"):
        store.commit(job, [scored_row("a.png", 0.75)], LEASE)


def test_row_repeated_within_batch_is_written_once(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png"), scored_row("a.png")], LEASE)
    assert store.get("job-1").committed == 1


def test_job_does_not_end_twice_with_different_results(store):
    job = failed(store)
    for exit_code in (0, 1):
        with pytest.raises(LeaseLost):
            store.finish(job, exit_code)
    assert store.get("job-1").exit_code == 4


def test_late_repetition_of_retry_does_not_retry_again(store):
    failed(store)
    store.retry("job-1", retried("job-1"))
    store.finish(store.claim("B", LEASE), 1)
    assert store.retry("job-1", retried("job-1")).state is State.FAILED
    later = retried("job-1", "2026-11-24T08:00:00.000+00:00")
    assert store.retry("job-1", later).state is State.QUEUED


def test_adding_ended_job_again_does_not_queue_it(store):
    job = make_job(identity="i")
    store.add(job)
    store.finish(store.claim("A", LEASE), 0)
    assert store.add(job).state is State.DONE
    assert store.claim("A", LEASE) is None


def test_claim_with_lost_answer_is_found_by_its_worker(store):
    store.add(make_job())
    store.claim("A", LEASE)
    (held,) = store.jobs(State.RUNNING)
    assert held.worker == "A"
    store.expire(held)
    assert store.claim("A", LEASE).deaths == 0
