"""Heat maps of a job: complete or absent, no matter when a worker dies."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.errors import JobsError, TransitionError
from jobs.retry import retry_job
from jobs.worker.job_run import LEASE, run_job
from jobs.worker.worker import work
from makers import BrightnessPredictor, write_film
from queue_makers import PowerCut, SerialEngine, Witness, make_job, make_tools, table
from screening.audit import Event
from screening.errors import FileUnavailable
from screening.inference.report_images import ReportImages
from screening.report.verification import verify
from screening.results import Status, read_rows

RETRIED = Event("2026-11-23T07:00:00.000+00:00", "retried", "job-2", {"user": "somebody"})


class MappingPredictor(BrightnessPredictor):
    """Predicts pneumonia in each quarter of a film according to its brightness."""

    def predict(self, tensors):
        quarters = tensors.reshape(-1, 2, 16, 2, 16).mean(axis=(2, 4))
        maps = np.stack([0 * quarters, 20 * quarters - 10], axis=-1)
        return replace(super().predict(tensors), maps=maps)


@pytest.fixture
def tools(store, screener):
    """Make tools that draw heat maps; any field by keyword."""
    drawing = replace(screener, predictor=MappingPredictor())

    def made(**changes):
        plain = make_tools(store, drawing)
        opened = plain.open_screener

        def with_gallery(job):
            return replace(opened(job), gallery=job.gallery)

        return replace(plain, open_screener=with_gallery, **changes)

    return made


@pytest.fixture
def job(store, folder):
    """A claimed job for six films, with a batch size of two."""
    for index in range(6):
        write_film(folder / f"{index}.png", seed=index, brightness=0.2 + 0.1 * index)
    store.add(make_job(folder=folder, heatmaps=True))
    return store.claim("A", LEASE)


@pytest.fixture
def reclaim(store, clock):
    def claimed():
        clock.seconds += LEASE + 1
        return store.claim("B", LEASE)

    return claimed


def pictures(folder):
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def assert_whole(job):
    """Check that the report has exactly the heat maps named in its rows, and no leftovers."""
    rows = read_rows(job.report / "predictions.csv")
    assert {row.status for row in rows} == {Status.SCORED}
    named = {row.heatmap.removeprefix("heatmaps/") for row in rows}
    assert len(named) == 6
    assert pictures(job.report / "heatmaps") == named
    assert verify(job.report) == []
    drawn = [line for line in table(job.report / "audit.csv") if line["event"] == "drawn"]
    assert {line["subject"] for line in drawn} == {row.heatmap for row in rows}
    assert {path.name for path in job.report.parent.iterdir() if path.name[0] == "."} == set()


def test_report_has_heat_map_of_every_scored_film(tools, job):
    run_job(job, tools())
    assert_whole(job)


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_next_worker_reuses_heat_maps_of_dead_one(tools, job, reclaim, dies_at):
    with pytest.raises(PowerCut):
        run_job(job, tools(engine=SerialEngine(dies_at)))
    assert not job.report.exists()
    assert len(pictures(job.gallery.aside)) == 2 * dies_at
    run_job(reclaim(), tools())
    assert_whole(job)


def test_uncommitted_films_are_drawn_again(tools, job, store, reclaim, monkeypatch):
    commit = store.commit

    def cut(held, rows, *arguments):
        if rows:
            raise PowerCut
        commit(held, rows, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", cut)
        with pytest.raises(PowerCut):
            run_job(job, tools())
    assert len(pictures(job.gallery.aside)) == 2
    assert store.rows(job) == []
    run_job(reclaim(), tools())
    assert_whole(job)


@pytest.mark.parametrize(
    "moment", ["screening.report.writer.write_audit", "screening.files.sync", "pathlib.Path.rename"]
)
def test_crash_while_writing_report_loses_no_heat_map(tools, job, reclaim, monkeypatch, moment):
    def cut(*_arguments):
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(moment, cut)
        with pytest.raises(PowerCut):
            run_job(job, tools())
    assert not job.report.exists()
    run_job(reclaim(), tools())
    assert_whole(job)


def test_crash_after_report_leaves_no_files_behind(tools, job, reclaim, monkeypatch):
    def cut(_gallery):
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(ReportImages, "clear", cut)
        with pytest.raises(PowerCut):
            run_job(job, tools())
    assert pictures(job.gallery.aside)
    run_job(reclaim(), tools())
    assert_whole(job)


def test_missing_heat_map_fails_job_without_report(tools, job, reclaim):
    with pytest.raises(PowerCut):
        run_job(job, tools(engine=SerialEngine(1)))
    next(job.gallery.aside.iterdir()).unlink()
    with pytest.raises(FileUnavailable, match="missing"):
        run_job(reclaim(), tools())
    assert not job.report.exists()


def waiting(store, folder, **changes):
    job = make_job("job-2", folder, heatmaps=True, report=folder.parent / "report-2", **changes)
    store.add(job)
    return job


def test_failed_job_keeps_images_for_retry(tools, job, store, folder):
    other = waiting(store, folder)
    engine = SerialEngine(2, JobsError("nothing goes any more"))
    assert [job.exit_code for job in work(tools(engine=engine), drain=True, only="job-2")] == [1]
    assert not other.report.exists()
    retry_job(store, "job-2", RETRIED)
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [0]
    assert_whole(other)


def test_retried_report_has_heat_maps_of_films_screened_before(tools, job, store, folder):
    other = waiting(store, folder)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [3]
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes())
    _job, old = retry_job(store, "job-2", RETRIED)
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [0]
    assert pictures(other.report / "heatmaps") == pictures(old / "heatmaps")
    assert len(pictures(old / "heatmaps")) == 6
    for report in (old, other.report):
        assert verify(report) == []
    assert not other.gallery.aside.exists()


def test_refused_retry_leaves_no_images(tools, job, store, folder):
    other = waiting(store, folder)
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [0]
    with pytest.raises(TransitionError):
        retry_job(store, "job-2", RETRIED)
    assert_whole(other)


def test_unwritable_image_folder_fails_job(tools, job, store, folder):
    other = waiting(store, folder)
    other.gallery.aside.touch()
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [1]
    assert "pictures cannot be written" in store.get("job-2").message
    assert store.get("job-2").committed == 0


def test_interrupted_job_keeps_images_for_next_worker(tools, job, store, folder):
    other = waiting(store, folder)
    engine = SerialEngine(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        list(work(tools(engine=engine), drain=True, only="job-2"))
    assert len(pictures(other.gallery.aside)) == 4
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [0]
    assert_whole(other)


class Takeover(Witness):
    """Another worker takes over and finishes the job after the first commit."""

    def __init__(self, reclaim, tools):
        super().__init__()
        self._reclaim, self._tools = reclaim, tools

    def committed(self, rows, seconds):
        if not self.batches:
            taken = self._reclaim()
            run_job(taken, self._tools())
            self._tools().store.finish(taken, 0)
        super().committed(rows, seconds)


def test_worker_that_lost_its_job_leaves_no_images(tools, store, folder, reclaim, job):
    store.finish(job, 1, "not this one")
    other = waiting(store, folder)
    assert list(work(tools(watcher=Takeover(reclaim, tools)), drain=True, only="job-2")) == []
    assert_whole(other)


def test_jobs_with_same_report_path_keep_images_apart(tools, job, store, folder):
    other = make_job("job-2", folder, heatmaps=True, report=job.report)
    store.add(other)
    with pytest.raises(PowerCut):
        run_job(store.claim("C", LEASE, only="job-2"), tools(engine=SerialEngine(1)))
    run_job(job, tools())
    assert len(pictures(other.gallery.aside)) == 2


def test_heat_map_names_hide_file_names(tools, store, folder):
    write_film(folder / "Doe Jane.png", seed=1)
    store.add(make_job(folder=folder, heatmaps=True, hash_names=True))
    job = store.claim("A", LEASE)
    run_job(job, tools())
    (row,) = read_rows(job.report / "predictions.csv")
    assert row.heatmap == f"heatmaps/{row.sha256[:16]}.png"
    assert (job.report / row.heatmap).exists()


@pytest.mark.parametrize("heatmaps", [True, False])
def test_thumbnails_with_and_without_heat_maps(tools, job, store, folder, heatmaps):
    other = make_job(
        "job-2",
        folder,
        heatmaps=heatmaps,
        thumbnails=True,
        report=folder.parent / "report-2",
    )
    store.add(other)
    assert [job.exit_code for job in work(tools(), drain=True, only="job-2")] == [0]
    rows = read_rows(other.report / "predictions.csv")
    assert {f"thumbnails/{name}" for name in pictures(other.report / "thumbnails")} == {
        row.thumbnail for row in rows
    }
    assert len(pictures(other.report / "heatmaps")) == (6 if heatmaps else 0)
    assert not other.gallery.aside.exists()
