"""Running one job: one row per file, no matter what dies, and the report."""

import os
import platform
import threading
from dataclasses import replace

import pytest

from exports.bundle import seal
from jobs import exit_codes
from jobs.engines.local import LocalEngine
from jobs.errors import JobFailed, JobsError, LeaseLost
from jobs.queue.jobs import Options
from jobs.sources.submission import JobRequest, Opener, new_job
from jobs.worker.job_run import LEASE, run_job
from makers import make_card, write_film
from queue_makers import (
    PowerCut,
    SerialEngine,
    Witness,
    empty_bundle,
    make_tools,
    table,
    write_films,
)
from screening.inference.pipeline import Screener
from screening.report.verification import verify
from screening.report.writer import write_report
from screening.results import Row, Status, read_rows


@pytest.fixture
def reclaim(store, clock):
    """Claim the same job as another worker after the first lease has expired."""

    def claimed():
        clock.seconds += LEASE + 1
        return store.claim("B", LEASE)

    return claimed


def audited(job, event):
    """Return the audit lines of one kind of event."""
    return [line for line in table(job.report / "audit.csv") if line["event"] == event]


def test_every_file_becomes_one_row(store, claim, screener, folder):
    write_films(folder, 3)
    write_film(folder / "ward 2" / "no-suffix", seed=9)
    (folder / "notes.txt").write_text("not a film")
    (folder / "empty.png").touch()
    (folder / ".hidden.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "dangling").symlink_to(folder / "nowhere")
    job = claim()
    assert run_job(job, make_tools(store, screener)) == exit_codes.SOME_FAILED
    rows = {row.film: row.status for row in read_rows(job.report / "predictions.csv")}
    assert rows == {
        ".hidden.png": Status.SCORED,
        "0.png": Status.DUPLICATE,
        "1.png": Status.SCORED,
        "2.png": Status.SCORED,
        "dangling": Status.REFUSED,
        "empty.png": Status.FAILED,
        "notes.txt": Status.REFUSED,
        "ward 2/no-suffix": Status.SCORED,
    }
    assert store.rows(job) == [
        replace(row, seconds=kept.seconds)
        for row, kept in zip(
            read_rows(job.report / "predictions.csv"), store.rows(job), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, exit_codes.OK), (b"notes", exit_codes.OK), (b"", exit_codes.SOME_FAILED)],
    ids=["all scored", "one refused", "one failed"],
)
def test_only_failed_films_change_exit_code(store, claim, screener, folder, content, code):
    write_films(folder, 2)
    if content is not None:
        (folder / "other").write_bytes(content)
        (folder / "other").rename(folder / ("other.png" if not content else "other"))
    assert run_job(claim(), make_tools(store, screener)) == code


def test_empty_folder_gives_empty_report(store, claim, screener):
    job = claim()
    assert run_job(job, make_tools(store, screener)) == exit_codes.OK
    assert read_rows(job.report / "predictions.csv") == []
    summary = {line["metric"]: line["value"] for line in table(job.report / "summary.csv")}
    assert summary["files"] == "0"
    assert verify(job.report) == []
    assert audited(job, "listed")[0]["detail"] == f"files=0 folder={job.folder}"


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_rows_are_committed_in_batches(store, claim, screener, folder, batch):
    films = write_films(folder, 4)
    witness = Witness()
    run_job(claim(batch=batch), make_tools(store, screener, watcher=witness))
    assert witness.starts == [(4, 4)]
    assert witness.batches == [
        films[start : start + batch] for start in range(0, len(films), batch)
    ]
    assert [row.film for row in witness.reports[0].rows] == films


def test_local_engine_runs_job_of_many_batches(store, claim, screener, folder):
    films = write_films(folder, 8)
    job = claim()
    assert run_job(job, make_tools(store, screener, engine=LocalEngine(1))) == exit_codes.OK
    assert [row.film for row in read_rows(job.report / "predictions.csv")] == films


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_job_resumes_after_death_of_engine(store, claim, reclaim, screener, folder, dies_at):
    films = write_films(folder, 5)
    job = claim()
    with pytest.raises(PowerCut):
        run_job(job, make_tools(store, screener, engine=SerialEngine(dies_at)))
    assert not job.report.exists()
    assert len(store.rows(job)) == 2 * dies_at
    witness = Witness()
    assert run_job(reclaim(), make_tools(store, screener, watcher=witness)) == exit_codes.OK
    assert witness.starts == [(5, 5 - 2 * dies_at)]
    assert [row.film for row in read_rows(job.report / "predictions.csv")] == films
    assert sum(screener.predictor.batches) == 5


def test_resumed_job_is_marked_in_audit(store, claim, reclaim, screener, folder):
    write_films(folder, 3)
    job = claim()
    with pytest.raises(PowerCut):
        run_job(job, make_tools(store, screener, engine=SerialEngine(1)))
    run_job(reclaim(), make_tools(store, screener))
    events = [line["event"] for line in table(job.report / "audit.csv")]
    assert events[:6] == ["submitted", "started", "keyed", "listed", "resumed", "writing"]
    assert events[6:] == [*["scored"] * 3, "written"]
    assert "worker=B " in audited(job, "resumed")[0]["detail"]
    assert verify(job.report) == []


def test_copy_of_film_is_duplicate_even_after_crash(store, claim, reclaim, screener, folder):
    write_films(folder, 3)
    (folder / "z.png").write_bytes((folder / "0.png").read_bytes())
    job = claim()
    with pytest.raises(PowerCut):
        run_job(job, make_tools(store, screener, engine=SerialEngine(1)))
    run_job(reclaim(), make_tools(store, screener))
    last = read_rows(job.report / "predictions.csv")[-1]
    assert (last.film, last.status) == ("z.png", Status.DUPLICATE)
    assert last.reason.detail == "0.png"


def test_film_that_vanished_after_crash_is_failed_row(store, claim, reclaim, screener, folder):
    films = write_films(folder, 4)
    job = claim()
    with pytest.raises(PowerCut):
        run_job(job, make_tools(store, screener, engine=SerialEngine(1)))
    (folder / "0.png").unlink()
    (folder / "3.png").unlink()
    assert run_job(reclaim(), make_tools(store, screener)) == exit_codes.SOME_FAILED
    rows = read_rows(job.report / "predictions.csv")
    assert [row.film for row in rows] == films
    assert [row.status for row in rows] == [Status.SCORED] * 3 + [Status.FAILED]
    assert rows[-1].reason.code == "vanished"


def test_job_with_report_from_before_crash_succeeds(store, claim, reclaim, screener, folder):
    write_films(folder, 3)
    job = claim()
    assert run_job(job, make_tools(store, screener)) == exit_codes.OK
    assert run_job(reclaim(), make_tools(store, screener)) == exit_codes.OK
    assert len(read_rows(job.report / "predictions.csv")) == 3


class LateFilms(Witness):
    """Adds films after the job has started."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def started(self, job, films, left):
        super().started(job, films, left)
        write_film(self._folder / "late" / "x.png", seed=50)
        write_film(self._folder / "1-late.png", seed=51)


def test_late_films_are_in_audit_and_have_no_row(store, claim, screener, folder):
    films = write_films(folder, 3)
    job = claim()
    assert run_job(job, make_tools(store, screener, watcher=LateFilms(folder))) == 0
    assert [row.film for row in read_rows(job.report / "predictions.csv")] == films
    late = [line["subject"] for line in audited(job, "arrived_late")]
    assert late == ["1-late.png", "late/x.png"]
    assert verify(job.report) == []


def test_resumed_job_keeps_its_list_of_films(store, claim, reclaim, screener, folder):
    films = write_films(folder, 3)
    job = claim()
    with pytest.raises(PowerCut):
        run_job(job, make_tools(store, screener, engine=SerialEngine(1)))
    write_film(folder / "0-late.png", seed=50)
    run_job(reclaim(), make_tools(store, screener))
    assert [row.film for row in read_rows(job.report / "predictions.csv")] == films
    assert [line["subject"] for line in audited(job, "arrived_late")] == ["0-late.png"]


def test_audit_names_model_threshold_and_every_film(store, claim, screener, folder):
    films = write_films(folder, 3)
    job = claim()
    run_job(job, make_tools(store, screener))
    started = audited(job, "started")[0]
    for part in (
        "brightness 00000000",
        "target=fake",
        "fake/brightness 1",
        "threshold=0.5",
        "worker=A",
    ):
        assert part in started["detail"]
    assert started["sha256"] == job.model_sha256
    assert [line["subject"] for line in audited(job, "scored")] == films


def test_audit_names_who_submitted_started_and_wrote(store, claim, screener, folder, monkeypatch):
    monkeypatch.setenv("LOGNAME", "anna")
    write_films(folder, 1)
    job = claim()
    run_job(job, make_tools(store, screener))
    for event in ("submitted", "started", "writing"):
        (line,) = audited(job, event)
        assert line["detail"].endswith(f"user=anna host={platform.node()}")


def test_replaced_bundle_fails_job_before_listing(store, screener, folder, tmp_path):
    write_films(folder, 2)
    bundle = empty_bundle(tmp_path / "bundle")
    options = Options(key=tmp_path / "patient.key", settle=0)
    request = JobRequest(
        folder=folder, model=bundle.path, options=options, report=tmp_path / "report"
    )
    store.add(new_job(request))
    make_card(threshold=0.9).write(bundle.path)
    seal(bundle.path)
    job = store.claim("A", LEASE)
    with pytest.raises(JobFailed, match=f"the bundle {bundle.path} is not the one"):
        run_job(job, make_tools(store, screener, open_screener=Opener(store.scored_before).open))
    assert store.get(job.name).films == 0
    assert not job.report.exists()


def test_missing_folder_fails_job_and_is_named(store, claim, screener, folder):
    job = claim()
    folder.rmdir()
    with pytest.raises(JobFailed, match=f"{folder} cannot be listed: No such file"):
        run_job(job, make_tools(store, screener))


class ForgetfulEngine(SerialEngine):
    """Drops the last film."""

    def screen(self, screener, films, seen, batch):
        yield from super().screen(screener, list(films)[:-1], seen, batch)


class RepeatingEngine(SerialEngine):
    """Screens the first film again at the end."""

    def screen(self, screener, films, seen, batch):
        films = list(films)
        yield from super().screen(screener, [*films, films[0]], seen, batch)


class InventiveEngine(SerialEngine):
    """Returns a row for a film it was not given."""

    def screen(self, screener, films, seen, batch):
        yield from super().screen(screener, films, seen, batch)
        yield [Row(film="invented.png", status=Status.REFUSED)]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (ForgetfulEngine(), "listed 3 files but has 2 rows"),
        (RepeatingEngine(), r"0\.png is not an open film"),
        (InventiveEngine(), r"invented\.png is not an open film"),
    ],
)
def test_no_report_unless_rows_match_files(store, claim, screener, folder, engine, message):
    write_films(folder, 3)
    job = claim()
    with pytest.raises(JobsError, match=message):
        run_job(job, make_tools(store, screener, engine=engine))
    assert not job.report.exists()


class Takeover(Witness):
    """Another worker takes over the job after the first commit."""

    def __init__(self, reclaim):
        super().__init__()
        self._reclaim = reclaim

    def committed(self, rows, seconds):
        super().committed(rows, seconds)
        self._reclaim()


@pytest.mark.parametrize("engine", [SerialEngine(), LocalEngine(2)], ids=["serial", "local"])
def test_worker_that_lost_its_job_stops_and_leaves_no_thread(
    store, claim, reclaim, screener, folder, engine
):
    write_films(folder, 6)
    job = claim()
    threads = set(threading.enumerate())
    with pytest.raises(LeaseLost, match="no longer held by A"):
        run_job(job, make_tools(store, screener, engine=engine, watcher=Takeover(reclaim)))
    assert len(store.rows(job)) == 2
    assert store.get(job.name).worker == "B"
    assert not job.report.exists()
    assert set(threading.enumerate()) <= threads


def test_job_runs_under_user_without_name(store, claim, screener, folder, monkeypatch):
    write_films(folder, 1)
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_123)
    assert run_job(claim(), make_tools(store, screener)) == exit_codes.OK


def test_decoders_are_closed_before_report_is_written(store, claim, screener, folder, monkeypatch):
    write_films(folder, 1)
    order = []

    def written(*arguments):
        order.append("report")
        return write_report(*arguments)

    monkeypatch.setattr(Screener, "close", lambda _self: order.append("closed"))
    monkeypatch.setattr("screening.report.writer.write_report", written)
    assert run_job(claim(), make_tools(store, screener)) == exit_codes.OK
    assert order[:2] == ["closed", "report"]
