"""All stores: releasing, ending, retrying and pruning jobs."""

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import JobsError, LeaseLost, TransitionError, UnknownJob
from jobs.queue.jobs import State
from queue_makers import found, make_job, scored_row
from screening.results import Status
from store_makers import LEASE, claimed, everything, failed_row, retried


@pytest.fixture
def store(any_store):
    return any_store


def ended(store, name="job-1", exit_code=0, films=("a.png",), **changes):
    """Make a job that is done, with a row for each film."""
    job = claimed(store, name, films, **changes)
    store.commit(job, [scored_row(film) for film in films], LEASE)
    store.finish(job, exit_code)
    return store.get(name)


def test_released_job_is_queued_and_keeps_its_rows(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE)
    store.release(job)
    released = store.get(job.name)
    assert (released.state, released.worker, released.committed) == (State.QUEUED, "", 1)
    assert released.lease_until == 0
    assert store.claim("B", LEASE).fence == job.fence + 1


def test_postponed_job_has_message_and_waits(store, clock):
    job = claimed(store)
    store.postpone(job, 100, "the folder is away", 2)
    waiting = store.get(job.name)
    assert (waiting.state, waiting.worker, waiting.attempts) == (State.QUEUED, "", 2)
    assert waiting.message == "the folder is away"
    assert waiting.not_before == clock.seconds + 100
    assert store.claim("B", LEASE) is None
    clock.seconds += 100
    again = store.claim("B", LEASE)
    assert (again.message, again.attempts) == ("", 2)


@pytest.mark.parametrize(
    ("exit_code", "state"),
    [(0, State.DONE), (3, State.DONE), (4, State.FAILED), (1, State.FAILED)],
)
def test_exit_code_decides_final_state(store, exit_code, state):
    job = claimed(store)
    store.finish(job, exit_code, "because")
    over = store.get(job.name)
    assert (over.state, over.exit_code, over.message) == (state, exit_code, "because")
    assert over.finished_at >= over.started_at


def test_queued_job_is_cancelled(store):
    store.add(make_job())
    cancelled = store.cancel("job-1")
    assert cancelled.state is State.CANCELLED
    assert cancelled.finished_at
    assert store.get("job-1") == cancelled


def test_worker_of_cancelled_job_cannot_write_and_rows_stay(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE, ["b.png"])
    cancelled = store.cancel("job-1")
    assert (cancelled.state, cancelled.worker) == (State.CANCELLED, "")
    before = everything(store)
    with pytest.raises(LeaseLost):
        store.commit(job, [scored_row("b.png")], LEASE)
    with pytest.raises(LeaseLost):
        store.renew(job, LEASE)
    with pytest.raises(LeaseLost):
        store.finish(job, 0)
    store.expire(job)
    assert everything(store) == before
    assert [row.film for row in store.rows(job)] == ["a.png"]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_ended_job_cannot_be_cancelled(store, exit_code):
    before = ended(store, exit_code=exit_code)
    with pytest.raises(
        TransitionError, match=f"cancel is not allowed for a job that is {before.state}"
    ):
        store.cancel("job-1")
    assert store.get("job-1") == before


@pytest.mark.parametrize("ask", [lambda s: s.cancel("x"), lambda s: s.retry("x", retried("x"))])
def test_unknown_job_cannot_be_cancelled_or_retried(store, ask):
    with pytest.raises(UnknownJob, match="no job x"):
        ask(store)


@pytest.mark.parametrize("exit_code", [3, 4, 1, None])
def test_retry_keeps_rows_except_failed_ones(store, clock, exit_code):
    job = claimed(store, priority=3)
    store.commit(job, [scored_row("a.png"), failed_row("b.png"), failed_row("c.png")], LEASE)
    if exit_code is None:
        store.cancel("job-1")
    else:
        store.finish(job, exit_code, "too many failed")
    again = store.retry("job-1", retried("job-1"))
    assert (again.state, again.worker, again.message) == (State.QUEUED, "", "")
    assert (again.exit_code, again.finished_at) == (None, "")
    assert (again.films, again.committed, again.priority) == (3, 1, 3)
    assert again == store.get("job-1")
    assert store.films_left(again) == found("b.png", "c.png")
    assert store.rows(again) == [scored_row("a.png")]
    assert store.events(again)[-1] == retried("job-1")
    assert store.claim("B", LEASE).name == "job-1"


@pytest.mark.parametrize("exit_code", [4, 1])
def test_job_that_failed_before_its_first_film_can_be_retried(store, exit_code):
    store.add(make_job())
    store.finish(store.claim("A", LEASE), exit_code)
    assert store.retry("job-1", retried("job-1")).state is State.QUEUED
    assert not store.claim("B", LEASE).listed_at


def test_retry_resets_deaths_attempts_and_wait(store, clock):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png"])
    store.expire(job)
    job = store.claim("B", LEASE)
    store.commit(job, [], LEASE, ["a.png", "b.png"])
    store.postpone(job, 1000, "the folder is away", 3)
    store.cancel("job-1")
    again = store.retry("job-1", retried("job-1"))
    assert (again.deaths, again.attempts, again.not_before) == (0, 0, 0)
    assert store.deaths(again) == {}


def test_films_in_progress_at_cancellation_are_not_suspected_later(store):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png", "b.png"])
    store.cancel("job-1")
    store.retry("job-1", retried("job-1"))
    second = store.claim("B", LEASE)
    store.commit(second, [], LEASE, ["a.png"])
    store.expire(second)
    store.claim("C", LEASE)
    assert store.deaths(job) == {"a.png": 1}


def test_done_job_without_failed_films_is_not_retried(store):
    ended(store)
    before = everything(store)
    with pytest.raises(TransitionError, match="none of its films failed"):
        store.retry("job-1", retried("job-1"))
    assert everything(store) == before


@pytest.mark.parametrize("is_running", [False, True])
def test_open_job_is_not_retried(store, is_running):
    store.add(make_job())
    if is_running:
        store.claim("A", LEASE)
    with pytest.raises(TransitionError, match="retry is not allowed"):
        store.retry("job-1", retried("job-1"))


def test_retry_is_refused_while_same_work_is_queued(store):
    store.add(make_job(identity="i"))
    job = store.claim("A", LEASE)
    store.list_films(job, found("a.png"), [])
    store.commit(job, [failed_row("a.png")], LEASE)
    store.finish(job, 3)
    store.add(make_job("job-2", identity="i"))
    before = everything(store)
    with pytest.raises(JobsError, match="job job-2 does the same work"):
        store.retry("job-1", retried("job-1"))
    assert everything(store) == before
    store.cancel("job-2")
    assert store.retry("job-1", retried("job-1")).state is State.QUEUED


def test_worker_from_before_retry_cannot_write(store):
    old = claimed(store)
    store.commit(old, [failed_row("a.png")], LEASE)
    store.finish(old, 1)
    store.retry("job-1", retried("job-1"))
    for _ in range(2):
        with pytest.raises(LeaseLost):
            store.commit(old, [scored_row("a.png")], LEASE)
        with pytest.raises(LeaseLost):
            store.finish(old, 1)
        store.claim("B", LEASE)
    assert store.rows(old) == []


def test_prune_deletes_jobs_ended_before_with_their_data(store, clock):
    first = ended(store, "first")
    clock.seconds += 10
    second = ended(store, "second")
    for name in ("waiting", "held"):
        store.add(make_job(name))
    store.claim("A", LEASE, only="held")
    assert store.prune(first.finished_at) == []
    assert store.prune(second.finished_at) == ["first"]
    assert [job.name for job in store.jobs()] == ["second", "waiting", "held"]
    for ask in (store.films, store.rows, store.events):
        assert ask(first) == []
        assert ask(second)
    assert sorted(store.prune("9999")) == ["second"]


def test_prune_deletes_jobs_in_every_final_state(store):
    ended(store, "done")
    ended(store, "failed", exit_code=1)
    store.add(make_job("cancelled"))
    store.cancel("cancelled")
    assert sorted(store.prune("9999")) == ["cancelled", "done", "failed"]
    assert store.jobs() == []


def test_pruned_name_can_be_used_again(store):
    ended(store)
    store.prune("9999")
    job = claimed(store, films=["z.png"])
    assert store.films_left(job) == found("z.png")
    assert store.rows(job) == []
    assert len(store.events(job)) == 2


SCORED = "a" * 64


def test_file_scored_by_finished_job_is_known(store):
    ended(store, "first")
    ended(store, "second")
    assert store.scored_before(make_job("new"), SCORED) == "first"
    assert store.scored_before(make_job("first"), SCORED) == "second"
    assert store.scored_before(make_job("new"), "b" * 64) == ""


@pytest.mark.parametrize("changes", [{"folder": Path("/others")}, {"model_sha256": "e" * 64}])
def test_other_folder_or_bundle_does_not_count(store, changes):
    ended(store, "first", **changes)
    assert store.scored_before(make_job("new"), SCORED) == ""


@pytest.mark.parametrize("exit_code", [1, 4])
def test_job_without_report_does_not_count(store, exit_code):
    ended(store, "first", exit_code=exit_code)
    assert store.scored_before(make_job("new"), SCORED) == ""


def test_job_counts_only_while_it_is_done(store):
    job = claimed(store, "first", ["a.png", "b.png"])
    store.commit(job, [scored_row("a.png"), failed_row("b.png")], LEASE)
    assert store.scored_before(make_job("new"), SCORED) == ""
    store.finish(job, 3)
    assert store.scored_before(make_job("new"), SCORED) == "first"
    store.retry("first", retried("first"))
    assert store.scored_before(make_job("new"), SCORED) == ""


def test_job_does_not_count_its_own_rows(store):
    first = ended(store, "first")
    assert store.scored_before(first, SCORED) == ""


@pytest.mark.parametrize("status", ["failed", "refused", "duplicate"])
def test_file_that_was_not_scored_is_not_known(store, status):
    job = claimed(store, "first", ["a.png"])
    store.commit(job, [replace(scored_row("a.png"), status=Status(status))], LEASE)
    store.finish(job, 3)
    assert store.scored_before(make_job("new"), SCORED) == ""


@pytest.mark.parametrize("exit_code", [0, 1, 3, 4])
def test_ended_job_is_pending_until_notified(store, exit_code):
    job = ended(store, exit_code=exit_code)
    assert store.pending_notifications("") == [job]
    store.mark_notified(job)
    assert store.pending_notifications("") == []


def test_open_cancelled_and_older_jobs_are_not_pending(store, clock):
    early = ended(store, "early")
    clock.seconds += 10
    late = ended(store, "late")
    for name in ("waiting", "held", "cancelled"):
        store.add(make_job(name))
    store.claim("A", LEASE, only="held")
    store.cancel("cancelled")
    assert store.pending_notifications(late.finished_at) == [late]
    assert store.pending_notifications(early.finished_at) == [early, late]


@pytest.mark.parametrize("is_late", [False, True])
def test_each_end_of_retried_job_is_pending(store, is_late):
    first = ended(store, exit_code=1)
    if not is_late:
        store.mark_notified(first)
    store.retry("job-1", retried("job-1"))
    if is_late:
        store.mark_notified(first)
    store.finish(store.claim("B", LEASE), 1)
    store.mark_notified(first)
    assert [job.fence for job in store.pending_notifications("")] == [2]
