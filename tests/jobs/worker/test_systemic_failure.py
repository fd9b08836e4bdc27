"""A job is aborted when so many films fail that the cause must lie elsewhere."""

from dataclasses import replace

import pytest

from jobs import exit_codes
from jobs.errors import SystemicFailure
from jobs.queue.jobs import State
from jobs.worker.job_run import LEASE, run_job
from jobs.worker.worker import work
from makers import write_film
from queue_makers import PowerCut, SerialEngine, Witness, make_job, make_tools, table
from screening.report.verification import verify
from screening.results import Status, read_rows

#: Batch size.
BATCH = 5


@pytest.fixture
def submit(store, folder):
    """Queue a job whose films fail where the string has an `x`."""

    def submitted(films, **changes):
        for number, letter in enumerate(films):
            if letter == "x":
                (folder / f"{number:03}.png").write_bytes(b"no picture" + bytes([number]))
            else:
                write_film(folder / f"{number:03}.png", seed=number)
        job = make_job(folder=folder, batch=BATCH, **changes)
        store.add(job)
        return job

    return submitted


def worked(tools):
    """Drain the queue and return the exit codes."""
    return [job.exit_code for job in work(tools, drain=True)]


def read_of(job):
    return read_rows(job.report / "predictions.csv")


def not_screened(rows):
    return [row.film for row in rows if row.reason_code == "not_screened"]


def test_job_stops_after_batch_that_exceeds_share(store, submit, screener):
    job = submit("....x" * 3 + ".xxx." + "....." * 4)
    witness = Witness()
    tools = make_tools(store, screener, watcher=witness)
    assert worked(tools) == [exit_codes.SYSTEMIC_FAILURE]
    rows = read_of(job)
    assert [row.film for row in rows] == [f"{number:03}.png" for number in range(40)]
    assert not_screened(rows) == [f"{number:03}.png" for number in range(20, 40)]
    assert sum(row.status is Status.SCORED for row in rows) == 14
    assert sum(screener.predictor.batches) == 14
    assert sum(map(len, witness.batches)) == 40
    assert len(witness.reports) == 1


def test_aborted_job_has_failed_with_message(store, submit, screener):
    job = submit("x" * 30)
    assert worked(make_tools(store, screener)) == [exit_codes.SYSTEMIC_FAILURE]
    ended = store.get(job.name)
    assert (ended.state, ended.exit_code) == (State.FAILED, exit_codes.SYSTEMIC_FAILURE)
    assert ended.message.startswith("20 of 20 films failed (not_decodable 20), more than the ")
    (given_up,) = [event for event in store.events(job) if event.event == "given_up"]
    assert given_up.fields == {
        "films": "20",
        "failed": "20",
        "max_failure_rate": "0.2",
        "not_decodable": "20",
    }


def test_report_of_aborted_job_is_complete(store, submit, screener):
    job = submit("x" * 30)
    worked(make_tools(store, screener))
    summary = {line["metric"]: line["value"] for line in table(job.report / "summary.csv")}
    assert (summary["files"], summary["failed"]) == ("30", "30")
    audit = table(job.report / "audit.csv")
    assert [line["event"] for line in audit].count("given_up") == 1
    assert [line["event"] for line in audit].count("failed") == 30
    assert verify(job.report) == []


def test_unreached_film_has_only_reason(store, submit, screener):
    job = submit("x" * 25)
    worked(make_tools(store, screener))
    row = read_of(job)[-1]
    assert str(row.reason) == "not_screened: The job was stopped before it reached this film."
    assert (row.status, row.sha256, row.probability) == (Status.FAILED, "", None)
    assert row.screened_at


@pytest.mark.parametrize(
    ("films", "rate"),
    [("x" * 19, 0.2), ("x" * 60, 1.0), ("...x." * 8, 0.2), ("." * 40, 0.0)],
    ids=["fewer than 20 films", "all may fail", "exactly the share", "none fails"],
)
def test_job_completes_unless_share_is_exceeded(store, submit, screener, films, rate):
    job = submit(films, max_failure_rate=rate)
    code = exit_codes.SOME_FAILED if "x" in films else exit_codes.OK
    assert worked(make_tools(store, screener)) == [code]
    rows = read_of(job)
    assert not_screened(rows) == []
    assert [row.status is Status.FAILED for row in rows] == [letter == "x" for letter in films]
    assert store.get(job.name).state is State.DONE


def test_share_exceeded_by_last_batch_skips_no_film(store, submit, screener):
    job = submit("....." * 3 + "xxxxx")
    assert worked(make_tools(store, screener)) == [exit_codes.SYSTEMIC_FAILURE]
    assert not_screened(read_of(job)) == []


def test_resumed_job_counts_earlier_failures(store, submit, screener, clock):
    job = submit("xxx.." * 2 + "....x" * 8)
    with pytest.raises(PowerCut):
        run_job(
            store.claim("A", LEASE), make_tools(store, screener, engine=SerialEngine(dies_at=3))
        )
    clock.seconds += LEASE + 1
    assert worked(make_tools(store, screener)) == [exit_codes.SYSTEMIC_FAILURE]
    assert not_screened(read_of(job)) == [f"{number:03}.png" for number in range(20, 50)]


class Killed(Witness):
    """Kills the worker after this number of committed rows, or after the report."""

    def __init__(self, after):
        super().__init__()
        self._after = after

    def committed(self, rows, seconds):
        super().committed(rows, seconds)
        if sum(map(len, self.batches)) == self._after:
            raise PowerCut

    def reported(self, report, seconds):
        super().reported(report, seconds)
        if self._after == "report":
            raise PowerCut


@pytest.mark.parametrize("after", [20, 40, 45, "report"])
def test_job_is_aborted_again_after_worker_died_aborting_it(
    store, submit, screener, clock, monkeypatch, after
):
    monkeypatch.setattr("jobs.worker.job_run._MANY", 20)
    job = submit("x" * 20 + "." * 25)
    with pytest.raises(PowerCut):
        run_job(store.claim("A", LEASE), make_tools(store, screener, watcher=Killed(after)))
    clock.seconds += LEASE + 1
    assert worked(make_tools(store, screener)) == [exit_codes.SYSTEMIC_FAILURE]
    assert screener.predictor.batches == []
    rows = read_of(job)
    assert len(rows) == 45
    assert not_screened(rows) == [f"{number:03}.png" for number in range(20, 45)]
    assert store.get(job.name).message.startswith("20 of 20 films failed")


def test_labels_are_joined_in_aborted_job(store, submit, screener, tmp_path):
    (tmp_path / "labels.csv").write_text("film,label\n000.png,1\n024.png,1\n")
    job = submit("." * 10 + "x" * 20, labels=tmp_path / "labels.csv")
    assert worked(make_tools(store, screener)) == [exit_codes.SYSTEMIC_FAILURE]
    rows = {row.film: row for row in read_of(job)}
    assert rows["000.png"].outcome in ("TP", "FN")
    assert (rows["024.png"].label, rows["024.png"].outcome) == ("PNEUMONIA", "")


def test_error_of_aborted_job_is_raised_after_report(store, submit, screener):
    submit("x" * 20)
    job = store.claim("A", LEASE)
    with pytest.raises(SystemicFailure, match=r"^20 of 20 films failed"):
        run_job(job, make_tools(store, screener))
    assert len(read_of(replace(job))) == 20
