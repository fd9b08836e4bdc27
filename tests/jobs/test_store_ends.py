"""Every store: how jobs are given back, end, are tried again and are forgotten."""

from pathlib import Path

import pytest

from jobs.errors import JobsError, LeaseLost, TransitionError, UnknownJob
from jobs.queue.jobs import State
from queue_makers import found, make_job, scored_row
from store_makers import LEASE, claimed, everything, failed_row, retried


@pytest.fixture
def store(any_store):
    return any_store


def ended(store, name="job-1", exit_code=0, films=("a.png",), **changes):
    """A job that is done, with a row for each film."""
    job = claimed(store, name, films, **changes)
    store.commit(job, [scored_row(film) for film in films], LEASE)
    store.finish(job, exit_code)
    return store.get(name)


def test_a_released_job_waits_again_and_keeps_its_rows(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE)
    store.release(job)
    released = store.get(job.name)
    assert (released.state, released.worker, released.committed) == (State.QUEUED, "", 1)
    assert released.lease_until == 0
    assert store.claim("B", LEASE).fence == job.fence + 1


def test_a_job_that_is_put_off_says_why_and_waits_for_its_time(store, clock):
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
def test_the_exit_code_decides_how_a_job_ends(store, exit_code, state):
    job = claimed(store)
    store.finish(job, exit_code, "because")
    over = store.get(job.name)
    assert (over.state, over.exit_code, over.message) == (state, exit_code, "because")
    assert over.finished_at >= over.started_at


def test_a_waiting_job_is_cancelled(store):
    store.add(make_job())
    cancelled = store.cancel("job-1")
    assert cancelled.state is State.CANCELLED
    assert cancelled.finished_at
    assert store.get("job-1") == cancelled


def test_a_worker_whose_job_is_cancelled_cannot_write_and_what_it_wrote_stays(store):
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
def test_a_job_that_has_ended_cannot_be_cancelled(store, exit_code):
    before = ended(store, exit_code=exit_code)
    with pytest.raises(TransitionError, match=f"{before.state} has no cancel"):
        store.cancel("job-1")
    assert store.get("job-1") == before


@pytest.mark.parametrize("ask", [lambda s: s.cancel("x"), lambda s: s.retry("x", retried("x"))])
def test_a_job_that_is_not_there_is_neither_cancelled_nor_tried_again(store, ask):
    with pytest.raises(UnknownJob, match="no job x"):
        ask(store)


@pytest.mark.parametrize("exit_code", [3, 4, 1, None])
def test_a_job_is_tried_again_for_the_films_that_failed(store, clock, exit_code):
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
def test_a_job_that_failed_before_its_first_film_is_tried_again(store, exit_code):
    store.add(make_job())
    store.finish(store.claim("A", LEASE), exit_code)
    assert store.retry("job-1", retried("job-1")).state is State.QUEUED
    assert not store.claim("B", LEASE).listed_at


def test_a_job_that_is_tried_again_begins_afresh(store, clock):
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


def test_a_worker_did_not_die_of_what_was_in_hand_before_the_job_was_cancelled(store):
    job = claimed(store)
    store.commit(job, [], LEASE, ["a.png", "b.png"])
    store.cancel("job-1")
    store.retry("job-1", retried("job-1"))
    second = store.claim("B", LEASE)
    store.commit(second, [], LEASE, ["a.png"])
    store.expire(second)
    store.claim("C", LEASE)
    assert store.deaths(job) == {"a.png": 1}


def test_a_job_that_is_done_without_a_failed_film_is_not_tried_again(store):
    ended(store)
    before = everything(store)
    with pytest.raises(TransitionError, match="none of its films failed"):
        store.retry("job-1", retried("job-1"))
    assert everything(store) == before


@pytest.mark.parametrize("is_running", [False, True])
def test_a_job_that_is_still_open_is_not_tried_again(store, is_running):
    store.add(make_job())
    if is_running:
        store.claim("A", LEASE)
    with pytest.raises(TransitionError, match="has no retry"):
        store.retry("job-1", retried("job-1"))


def test_a_job_is_not_tried_again_beside_another_for_the_same_work(store):
    store.add(make_job(identity="i"))
    job = store.claim("A", LEASE)
    store.list_films(job, found("a.png"), [])
    store.commit(job, [failed_row("a.png")], LEASE)
    store.finish(job, 3)
    store.add(make_job("job-2", identity="i"))
    before = everything(store)
    with pytest.raises(JobsError, match="job-1 is queued as job job-2"):
        store.retry("job-1", retried("job-1"))
    assert everything(store) == before
    store.cancel("job-2")
    assert store.retry("job-1", retried("job-1")).state is State.QUEUED


def test_a_worker_from_before_a_retry_cannot_write(store):
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


def test_jobs_that_ended_before_a_time_are_forgotten_with_all_that_was_theirs(store, clock):
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


def test_all_ways_to_end_are_forgotten(store):
    ended(store, "done")
    ended(store, "failed", exit_code=1)
    store.add(make_job("cancelled"))
    store.cancel("cancelled")
    assert sorted(store.prune("9999")) == ["cancelled", "done", "failed"]
    assert store.jobs() == []


def test_a_name_that_was_forgotten_begins_anew(store):
    ended(store)
    store.prune("9999")
    job = claimed(store, films=["z.png"])
    assert store.films_left(job) == found("z.png")
    assert store.rows(job) == []
    assert len(store.events(job)) == 2


SCORED = "a" * 64


def test_a_file_that_a_finished_job_has_scored_is_known(store):
    ended(store, "first")
    ended(store, "second")
    assert store.scored_before(make_job("new"), SCORED) == "first"
    assert store.scored_before(make_job("first"), SCORED) == "second"
    assert store.scored_before(make_job("new"), "b" * 64) == ""


@pytest.mark.parametrize("changes", [{"folder": Path("/others")}, {"model_sha256": "e" * 64}])
def test_what_was_scored_in_another_folder_or_by_another_bundle_does_not_count(store, changes):
    ended(store, "first", **changes)
    assert store.scored_before(make_job("new"), SCORED) == ""


@pytest.mark.parametrize("exit_code", [1, 4])
def test_what_a_job_without_a_report_has_scored_does_not_count(store, exit_code):
    ended(store, "first", exit_code=exit_code)
    assert store.scored_before(make_job("new"), SCORED) == ""


def test_what_a_job_has_scored_counts_only_once_it_is_done(store):
    job = claimed(store, "first", ["a.png", "b.png"])
    store.commit(job, [scored_row("a.png"), failed_row("b.png")], LEASE)
    assert store.scored_before(make_job("new"), SCORED) == ""
    store.finish(job, 3)
    assert store.scored_before(make_job("new"), SCORED) == "first"
    store.retry("first", retried("first"))
    assert store.scored_before(make_job("new"), SCORED) == ""


def test_a_job_does_not_know_its_own_rows_from_before(store):
    first = ended(store, "first")
    assert store.scored_before(first, SCORED) == ""


@pytest.mark.parametrize("status", ["failed", "refused", "duplicate"])
def test_a_file_that_was_not_scored_is_not_known(store, status):
    job = claimed(store, "first", ["a.png"])
    row = vars(scored_row("a.png")) | {"status": status}
    store.commit(job, [type(scored_row("a.png")).from_dict(row)], LEASE)
    store.finish(job, 3)
    assert store.scored_before(make_job("new"), SCORED) == ""


@pytest.mark.parametrize("exit_code", [0, 1, 3, 4])
def test_the_end_of_a_job_waits_until_somebody_was_told(store, exit_code):
    job = ended(store, exit_code=exit_code)
    assert store.pending_notifications("") == [job]
    store.tell(job)
    assert store.pending_notifications("") == []


def test_nobody_is_told_of_what_is_open_was_cancelled_or_ended_before(store, clock):
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
def test_each_end_of_a_job_that_is_tried_again_is_told(store, is_late):
    first = ended(store, exit_code=1)
    if not is_late:
        store.tell(first)
    store.retry("job-1", retried("job-1"))
    if is_late:
        store.tell(first)
    store.finish(store.claim("B", LEASE), 1)
    store.tell(first)
    assert [job.fence for job in store.pending_notifications("")] == [2]
