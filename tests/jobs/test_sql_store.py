"""The queue in SQL: claims, leases, fences and rows."""

import threading
from pathlib import Path

import pytest

from jobs.errors import JobsError, LeaseLost, UnknownJob
from jobs.sql_store import SqlStore
from jobs.states import State
from queue_makers import found, make_job, opened_store, scored_row
from screening.audit import Event
from screening.films import Found
from screening.row import Row, Status

EVENT = Event("2026-11-22T21:30:06.000+00:00", "started", "job-1", "größer", "b" * 64)
LEASE = 60.0


def claimed(store, name="job-1", films=("a.png", "b.png", "c.png")):
    """A new job, held by worker A, with its films listed."""
    store.add(make_job(name))
    job = store.claim("A", LEASE, only=name)
    store.list_films(job, found(*films), [EVENT])
    return job


def everything(store, name="job-1"):
    """All that a queue knows about a job."""
    job = store.get(name)
    return job, job.films, job.committed, store.films_left(job), store.rows(job), store.events(job)


@pytest.mark.parametrize("changes", [{}, {"labels": Path("/labels.csv")}, {"heatmaps": True}])
def test_a_job_comes_back_as_it_was_added(store, changes):
    job = make_job(**changes)
    store.add(job)
    assert store.get(job.name) == job


def test_an_unknown_job_is_an_error_that_names_it(store):
    with pytest.raises(UnknownJob, match="job-7"):
        store.get("job-7")


def test_jobs_are_listed_and_claimed_in_the_order_in_which_they_were_added(store):
    names = ["c", "a", "b"]
    for name in names:
        store.add(make_job(name))
    assert [job.name for job in store.jobs()] == names
    assert [store.claim("A", LEASE).name for _ in names] == names


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


@pytest.mark.parametrize("exit_code", [0, 3, 1, 4])
def test_a_job_that_ended_is_never_claimed(store, clock, exit_code):
    store.finish(claimed(store), exit_code)
    clock.seconds += 10 * LEASE
    assert store.claim("B", LEASE) is None


def test_a_commit_renews_the_lease(store, clock):
    job = claimed(store)
    clock.seconds += LEASE - 1
    store.commit(job, [scored_row("a.png")], LEASE)
    clock.seconds += LEASE - 1
    assert store.claim("B", LEASE) is None
    assert store.get(job.name).lease_until == clock.seconds + 1


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


WRITES = {
    "list_films": lambda store, job: store.list_films(job, found("late.png"), [EVENT]),
    "commit": lambda store, job: store.commit(job, [scored_row("b.png")], LEASE),
    "record": lambda store, job: store.record(job, EVENT),
    "release": lambda store, job: store.release(job),
    "finish": lambda store, job: store.finish(job, 0, "all is well"),
}


def _taken_over(store, clock, _job):
    clock.seconds += LEASE + 1
    assert store.claim("B", LEASE).worker == "B"


LOSSES = {
    "taken over": _taken_over,
    "released": lambda store, _clock, job: store.release(job),
    "finished": lambda store, _clock, job: store.finish(job, 3),
    "failed": lambda store, _clock, job: store.finish(job, 1, "no disk"),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_worker_that_lost_its_lease_cannot_write(store, clock, write, lose):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE)
    lose(store, clock, job)
    before = everything(store)
    with pytest.raises(LeaseLost, match=r"job-1 is no longer held by A"):
        write(store, job)
    assert everything(store) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_worker_that_holds_its_job_can_write(store, write):
    store.add(make_job())
    job = store.claim("A", LEASE)
    if write is not WRITES["list_films"]:
        store.list_films(job, found("a.png", "b.png"), [EVENT])
    before = everything(store)
    write(store, job)
    assert everything(store) != before


def test_a_worker_whose_lease_ran_out_may_go_on_while_nobody_else_took_the_job(store, clock):
    job = claimed(store)
    clock.seconds += LEASE + 1
    store.commit(job, [scored_row("a.png")], LEASE)
    assert store.claim("B", LEASE) is None
    assert store.get(job.name).committed == 1


@pytest.mark.parametrize(
    "rows",
    [["b.png", "a.png"], ["b.png", "b.png"], ["b.png", "never-listed.png"]],
    ids=["committed before", "twice in one batch", "not of this job"],
)
def test_a_batch_with_a_row_that_is_not_open_is_rolled_back_whole(store, clock, rows):
    job = claimed(store)
    store.commit(job, [scored_row("a.png", 0.25)], LEASE)
    before = everything(store)
    clock.seconds += 1
    with pytest.raises(JobsError, match=f"{rows[-1]} is no open film of job job-1"):
        store.commit(job, [scored_row(film, 0.75) for film in rows], LEASE)
    assert everything(store) == before


def test_the_same_film_name_in_another_job_is_another_film(store):
    one, two = claimed(store, "one", ["a.png"]), claimed(store, "two", ["a.png"])
    store.commit(one, [scored_row("a.png")], LEASE)
    assert store.rows(two) == []
    assert store.films_left(one) == []
    assert store.films_left(two) == found("a.png")


def test_films_left_are_those_without_a_row_in_the_order_of_the_report(store):
    job = claimed(store, films=["d.png", "a.png", "c.png", "b.png"])
    store.commit(job, [scored_row("c.png"), scored_row("d.png")], LEASE)
    assert store.films_left(job) == found("a.png", "b.png")


def test_rows_come_in_the_order_of_the_report_whatever_the_order_of_commits(store):
    job = claimed(store)
    for film in ("c.png", "a.png", "b.png"):
        store.commit(job, [scored_row(film)], LEASE)
    assert [row.film for row in store.rows(job)] == ["a.png", "b.png", "c.png"]


def test_a_row_comes_back_as_it_was_committed(store):
    job = claimed(store)
    rows = [
        scored_row("a.png", 0.123456),
        Row(film="b.png", status=Status.FAILED, reason="empty: The file is empty."),
        Row(film="c.png", status=Status.DUPLICATE, reason="same_bytes: … a.png."),
    ]
    store.commit(job, rows, LEASE)
    assert store.rows(job) == rows


def test_a_listed_film_keeps_its_size_and_kind(store):
    films = [Found("a.png", 12345), Found("link", 0, is_file=False)]
    store.add(make_job())
    job = store.claim("A", LEASE)
    store.list_films(job, films, [])
    assert store.films_left(job) == films


def test_a_job_counts_its_films_and_rows(store):
    job = claimed(store)
    assert (job.films, job.committed) == (0, 0)
    store.commit(job, [scored_row("a.png"), scored_row("c.png")], LEASE)
    now = store.get(job.name)
    assert (now.films, now.committed) == (3, 2)


def test_an_empty_list_of_films_still_leaves_its_history(store):
    job = claimed(store, films=[])
    assert store.get(job.name).films == 0
    assert store.events(job) == [EVENT]


def test_films_and_history_are_listed_together_or_not_at_all(store):
    store.add(make_job())
    job = store.claim("A", LEASE)
    before = everything(store)
    with pytest.raises(Exception, match="UNIQUE"):
        store.list_films(job, found("a.png", "a.png"), [EVENT])
    assert everything(store) == before


def test_events_come_back_in_the_order_in_which_they_were_recorded(store):
    job = claimed(store)
    later = [Event("t", word, "job-1") for word in ("zebra", "apple", "mole")]
    for event in later:
        store.record(job, event)
    assert store.events(job) == [EVENT, *later]


def test_a_released_job_waits_again_and_keeps_its_rows(store):
    job = claimed(store)
    store.commit(job, [scored_row("a.png")], LEASE)
    store.release(job)
    released = store.get(job.name)
    assert (released.state, released.worker, released.committed) == (State.QUEUED, "", 1)
    assert store.claim("B", LEASE).fence == job.fence + 1


@pytest.mark.parametrize(
    ("exit_code", "state"),
    [(0, State.DONE), (3, State.DONE), (4, State.FAILED), (1, State.FAILED)],
)
def test_the_exit_code_decides_how_a_job_ends(store, exit_code, state):
    job = claimed(store)
    store.finish(job, exit_code, "because")
    ended = store.get(job.name)
    assert (ended.state, ended.exit_code, ended.message) == (state, exit_code, "because")
    assert ended.finished_at >= ended.started_at


def test_connections_that_race_for_jobs_claim_each_once(tmp_path, clock):
    names = [f"job-{number}" for number in range(6)]
    path = tmp_path / "queue.sqlite"
    with opened_store(path, clock) as one, opened_store(path, clock) as two:
        for name in names:
            one.add(make_job(name))
        start = threading.Barrier(2)
        won: dict[str, list[str]] = {"A": [], "B": []}

        def claim_all(store: SqlStore, worker: str) -> None:
            start.wait(timeout=10)
            while job := store.claim(worker, LEASE):
                won[worker].append(job.name)

        racers = [
            threading.Thread(target=claim_all, args=racer) for racer in ((one, "A"), (two, "B"))
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(timeout=20)
        assert sorted(won["A"] + won["B"]) == names
        assert {job.name: job.worker for job in one.jobs()} == {
            name: worker for worker, mine in won.items() for name in mine
        }
        assert {job.fence for job in one.jobs()} == {1}


def test_a_job_is_claimed_by_only_one_of_two_connections(tmp_path, clock):
    path = tmp_path / "queue.sqlite"
    with opened_store(path, clock) as one, opened_store(path, clock) as two:
        one.add(make_job())
        assert one.claim("A", LEASE).worker == "A"
        assert two.claim("B", LEASE) is None
