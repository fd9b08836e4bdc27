"""Retrying a job that has ended, and renaming its report."""

from dataclasses import replace

import pytest

from jobs.errors import JobsError, QueueUnavailable, TransitionError
from jobs.queue.jobs import State
from jobs.retry import retry_job
from jobs.worker.worker import work
from makers import write_film
from queue_makers import make_job, make_tools
from screening.audit import Event
from screening.report.verification import verify
from screening.results import Status, read_rows

RETRIED = Event("2026-11-23T07:00:00.000+00:00", "retried", "job-1", {"user": "somebody"})


@pytest.fixture
def job(store, folder):
    """A job for two films, one of them broken."""
    write_film(folder / "0.png", seed=0)
    (folder / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return store.add(make_job(folder=folder, identity="a" * 64))


@pytest.fixture
def screened(store, job, screener):
    """Run all queued jobs and return their exit codes."""
    return lambda: [job.exit_code for job in work(make_tools(store, screener), drain=True)]


def statuses(report):
    return [row.status for row in read_rows(report / "predictions.csv")]


def test_retry_screens_failed_films_again_and_keeps_old_report(store, job, screened, folder):
    assert screened() == [3]
    write_film(folder / "1.png", seed=1)
    again, old = retry_job(store, job.name, RETRIED)
    assert (again.state, again.committed) == (State.QUEUED, 1)
    assert old == job.report.with_name(f"{job.report.name}.1")
    assert not job.report.exists()
    assert screened() == [0]
    assert statuses(old) == [Status.SCORED, Status.FAILED]
    assert statuses(job.report) == [Status.SCORED, Status.SCORED]
    assert RETRIED in store.events(again)
    assert verify(old) == verify(job.report) == []


def test_old_report_does_not_replace_another(store, job, screened):
    taken = job.report.with_name(f"{job.report.name}.2")
    for number in (1, 3, 4):
        assert screened() == [3]
        taken.mkdir(exist_ok=True)
        _again, old = retry_job(
            store, job.name, replace(RETRIED, fields={"user": f"somebody {number}"})
        )
        assert old.name == f"{job.report.name}.{number}"
    assert list(taken.iterdir()) == []


def test_dangling_link_counts_as_taken_name(store, job, screened):
    assert screened() == [3]
    job.report.with_name(f"{job.report.name}.1").symlink_to("nowhere")
    assert retry_job(store, job.name, RETRIED)[1].name == f"{job.report.name}.2"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_open_job_is_refused_and_its_report_kept(store, job, screened, state):
    assert screened() == [3]
    store.retry(job.name, RETRIED)
    if state == "running":
        store.claim("A", 60)
    with pytest.raises(TransitionError, match=f"job-1 is {state}"):
        retry_job(store, job.name, RETRIED)
    assert len(statuses(job.report)) == 2


def test_job_without_failed_films_keeps_its_report(store, job, screened, folder):
    write_film(folder / "1.png", seed=1)
    assert screened() == [0]
    with pytest.raises(TransitionError, match="none of its films failed"):
        retry_job(store, job.name, RETRIED)
    assert len(statuses(job.report)) == 2
    assert list(job.report.parent.glob("report-*")) == [job.report]


def test_job_with_queued_twin_keeps_its_report(store, job, screened, folder):
    assert screened() == [3]
    store.add(make_job("job-2", folder, identity=job.identity))
    with pytest.raises(JobsError, match="job-2"):
        retry_job(store, job.name, RETRIED)
    assert len(statuses(job.report)) == 2


def test_cancelled_job_without_report_can_be_retried(store, job, screened):
    store.cancel(job.name)
    again, old = retry_job(store, job.name, RETRIED)
    assert (again.state, old) == (State.QUEUED, None)
    assert screened() == [3]


def test_report_of_another_job_is_not_renamed(store, job, screened):
    assert screened() == [3]
    other = make_job("job-2", job.folder, report=job.report)
    store.add(other)
    store.cancel(other.name)
    assert retry_job(store, other.name, RETRIED)[1] is None
    assert len(statuses(job.report)) == 2


class Away:
    """A store that loses its answer to a retry."""

    def __init__(self, store):
        self.get = store.get

    def retry(self, _name, _event):
        raise QueueUnavailable("the queue is away")


def test_report_stays_renamed_if_outcome_of_retry_is_unknown(store, job, screened):
    assert screened() == [3]
    with pytest.raises(QueueUnavailable, match=r"the queue is away.*renamed to .*report-job-1\.1"):
        retry_job(Away(store), job.name, RETRIED)
    assert not job.report.exists()
    again, old = retry_job(store, job.name, RETRIED)
    assert (again.state, old) == (State.QUEUED, None)


def test_retry_is_idempotent_after_lost_answer(store, job, screened):
    assert screened() == [3]
    assert store.retry(job.name, RETRIED) == store.retry(job.name, RETRIED)
    again = store.claim("A", 60)
    store.finish(again, 3)
    assert store.retry(job.name, RETRIED).state is State.DONE
    assert store.events(job).count(RETRIED) == 1
