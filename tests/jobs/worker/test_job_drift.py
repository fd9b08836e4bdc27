"""A job's films are compared with the last nights of its site, and saved for the next ones."""

import json
from dataclasses import replace

import pytest

from jobs.worker.job_run import LEASE, run_job
from makers import write_film
from queue_makers import PowerCut, Witness, make_job, make_tools, table
from screening.report.drift.profile import NightProfile

FILMS = 4


@pytest.fixture(autouse=True)
def small_nights(monkeypatch):
    """Lower the limits: four films are a night, and five nights are enough."""
    for module in ("model_comparison", "night_comparison"):
        monkeypatch.setattr(f"screening.report.drift.{module}.FEWEST", FILMS)
    monkeypatch.setattr("screening.report.drift.night_comparison.FEWEST_FILMS", 5 * FILMS)


@pytest.fixture
def screened(store, screener, tmp_path):
    """Run the job of a night with films of this brightness; return the job."""

    def screened(number, brightness=0.3, watcher=None):
        folder = tmp_path / "site" / f"night-{number}"
        for film in range(FILMS):
            write_film(folder / f"{film}.png", 10 * number + film, brightness)
        job = make_job(f"job-{number}", folder, report=tmp_path / f"report-{number}")
        store.add(replace(job, submitted_at=f"2026-11-{number:02}T21:30:05.123+00:00"))
        claimed = store.claim("A", LEASE)
        run_job(claimed, make_tools(store, screener, watcher=watcher or Witness()))
        store.finish(claimed, 0)
        return claimed

    return screened


def lines(job):
    return table(job.report / "drift.csv")


def test_report_has_profile_and_drift_results(screened):
    job = screened(1)
    assert NightProfile.read(job.report).scored == FILMS
    assert json.loads((job.report / "profile.json").read_text())["called"] == 0
    assert [line["measure"] for line in lines(job)] == ["all", "all"]
    assert "earlier nights are known; " in lines(job)[0]["sentence"]
    assert "no reference" in lines(job)[1]["sentence"]


def test_audit_names_both_files(screened):
    job = screened(1)
    assert "profile.json" in (job.report / "audit.csv").read_text(encoding="utf-8")
    assert "drift.csv" in (job.report / "audit.csv").read_text(encoding="utf-8")


def test_unusual_night_breaches_limits(screened):
    for number in range(1, 7):
        calm = screened(number)
    assert not [line for line in lines(calm) if line["breach"]]
    witness = Witness()
    job = screened(7, brightness=0.8, watcher=witness)
    breached = {line["measure"] for line in lines(job) if line["breach"]}
    assert {"positive_rate", "grey_mean"} <= breached
    (report,) = witness.reports
    assert {line.measure for line in report.drift if line.breach} == breached


def test_worker_dying_after_report_saves_night_once(store, screened, screener, clock):
    class Dies(Witness):
        def reported(self, report, _seconds):
            raise PowerCut

    with pytest.raises(PowerCut):
        screened(1, watcher=Dies())
    clock.seconds += LEASE + 1
    again = store.claim("B", LEASE)
    witness = Witness()
    run_job(again, make_tools(store, screener, watcher=witness))
    assert [line.measure for line in witness.reports[0].drift] == ["all", "all"]
    store.finish(again, 0)
    assert len(store.nights(screened(2), 9)) == 1


def test_night_is_saved_after_worker_died_before_saving(
    store, screened, screener, clock, monkeypatch
):
    def dies(*_arguments):
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "save_night", dies)
        with pytest.raises(PowerCut):
            screened(1)
    clock.seconds += LEASE + 1
    again = store.claim("B", LEASE)
    assert (again.report / "drift.csv").exists()
    run_job(again, make_tools(store, screener))
    store.finish(again, 0)
    assert len(store.nights(screened(2), 9)) == 1
