"""A job quarantines failed and refused films after its report is written."""

import pytest

from jobs import exit_codes
from jobs.queue.jobs import State
from jobs.worker.job_run import LEASE, run_job
from jobs.worker.lease import Stop
from jobs.worker.worker import work
from makers import write_film
from queue_makers import PowerCut, Witness, make_job, make_tools
from screening.results import read_rows


@pytest.fixture
def films(folder):
    write_film(folder / "0.png", seed=0)
    (folder / "notes.txt").write_text("not a film")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture
def submit(store, films, tmp_path):
    def submitted(**changes):
        return store.add(make_job(folder=films, quarantine=tmp_path / "aside", **changes))

    return submitted


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


EXPECTED = ["broken.png", "broken.png.reason.txt", "notes.txt", "notes.txt.reason.txt"]


def test_quarantine_folder_is_named_like_job(store, submit, screener, films, tmp_path):
    submit()
    before = names(films)
    assert [job.exit_code for job in work(make_tools(store, screener), drain=True)] == [3]
    assert names(tmp_path / "aside") == ["job-1", *(f"job-1/{name}" for name in EXPECTED)]
    assert names(films) == before


def test_hashed_names_hide_file_names_in_quarantine(store, submit, screener, tmp_path):
    submit(hash_names=True)
    list(work(make_tools(store, screener), drain=True))
    assert not {"broken", "notes"} & {
        name.split(".")[0] for name in names(tmp_path / "aside/job-1")
    }
    assert len(names(tmp_path / "aside" / "job-1")) == 4


class DiesAtReport(Witness):
    def reported(self, report, seconds):
        raise PowerCut


def test_resumed_job_quarantines_films_once(store, submit, screener, clock, tmp_path):
    submit()
    tools = make_tools(store, screener, watcher=DiesAtReport())
    with pytest.raises(PowerCut):
        run_job(store.claim("A", LEASE), tools)
    assert not (tmp_path / "aside").exists()
    clock.seconds += LEASE + 1
    assert run_job(store.claim("B", LEASE), make_tools(store, screener)) == 3
    clock.seconds += LEASE + 1
    assert run_job(store.claim("C", LEASE), make_tools(store, screener)) == 3
    assert names(tmp_path / "aside" / "job-1") == EXPECTED


@pytest.mark.parametrize("freed", [True, False])
def test_failed_quarantine_is_retried_and_report_is_kept(
    store, submit, screener, clock, tmp_path, monkeypatch, freed
):
    job = submit(retries=1)
    (tmp_path / "aside").write_text("a file where the folder should be")
    reports = []

    def later(self, _seconds):
        reports.append(len(read_rows(job.report / "predictions.csv")))
        clock.seconds = store.get(job.name).not_before + 1
        if freed:
            (tmp_path / "aside").unlink()

    monkeypatch.setattr(Stop, "wait", later)
    (ended,) = work(make_tools(store, screener, clock=clock), drain=True)
    assert reports == [3]
    if freed:
        assert ended.exit_code == exit_codes.SOME_FAILED
        assert names(tmp_path / "aside" / "job-1") == EXPECTED
    else:
        assert (ended.state, ended.exit_code) == (State.FAILED, exit_codes.ERROR)
        assert f"{tmp_path}/aside/job-1 cannot be written" in ended.message
    assert len(read_rows(job.report / "predictions.csv")) == 3
    assert sum(screener.predictor.batches) == 1


def test_unreached_films_are_not_quarantined(store, submit, screener, films, tmp_path):
    for number in range(30):
        (films / f"x{number:02}.png").write_bytes(b"\x89PNG" + bytes([number]))
    submit(batch=10)
    (ended,) = work(make_tools(store, screener), drain=True)
    assert ended.exit_code == exit_codes.SYSTEMIC_FAILURE
    kept = [name for name in names(tmp_path / "aside/job-1") if not name.endswith(".reason.txt")]
    reasons = {row.film: row.reason_code for row in read_rows(ended.report / "predictions.csv")}
    assert kept == [film for film, why in reasons.items() if why not in ("", "not_screened")]
