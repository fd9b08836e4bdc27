"""Validation of a job at submission, and again when it is run."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest

from exports.bundle import SHIPPED, seal
from exports.errors import BundleError
from jobs.errors import JobFailed, ReportExists
from jobs.queue.jobs import Options, State, new_name
from jobs.sources.submission import JobRequest, Opener, new_job
from makers import make_card, write_film
from queue_makers import empty_bundle
from screening.errors import LabelsError
from tiny_model import WITH_MAP, write_bundle

OPTIONS = {field.name for field in fields(Options)}


def open_screener(job):
    """Open a job's screener like a worker that has never screened a film."""
    return Opener(lambda _job, _sha256: "").open(job)


@pytest.fixture
def bundle(tmp_path):
    return empty_bundle(tmp_path / "bundle")


@pytest.fixture
def request_job(folder, bundle, tmp_path):
    """Submit `folder` with `bundle`; any argument by keyword."""

    def submitted(**changes):
        asked = {name: changes.pop(name) for name in list(changes) if name in OPTIONS}
        options = Options(**{"key": tmp_path / "patient.key"} | asked)
        request = {"folder": folder, "model": bundle.path, "report": tmp_path / "report"}
        return new_job(JobRequest(**request | changes, options=options))

    return submitted


def test_new_job_is_queued_with_hash_of_bundle(request_job, folder, bundle, tmp_path):
    job = request_job()
    assert (job.state, job.fence, job.exit_code) == (State.QUEUED, 0, None)
    assert (job.folder, job.report) == (folder, tmp_path / "report")
    assert (job.model, job.model_sha256) == (bundle.path, bundle.sha256)
    assert job.submitted_at.endswith("+00:00")


def test_refuse_requires_bundle_with_lung_network(request_job, tmp_path):
    with pytest.raises(BundleError, match="has no lung network for the runtime onnx"):
        request_job(refuse=("lungs_small",))
    lungs = write_bundle(tmp_path / "lungs", lungs=-1)
    job = request_job(model=lungs.path, refuse=("lungs_small",))
    assert Options.from_dict(json.loads(json.dumps(job.options.as_dict()))) == job.options
    assert open_screener(job).lungs.refused == ("lungs_small",)


def test_options_of_older_version_refuse_nothing(request_job):
    values = request_job().options.as_dict()
    del values["refuse"]
    assert Options.from_dict(values).refuse == ()


def test_lung_network_is_loaded_once_for_jobs_with_different_refusals(request_job, tmp_path):
    lungs = write_bundle(tmp_path / "lungs", lungs=-1)
    opener = Opener(lambda _job, _sha256: "")
    first, second = (
        opener.open(request_job(model=lungs.path, report=tmp_path / name, refuse=refuse)).lungs
        for name, refuse in (("a", ("lungs_small",)), ("b", ()))
    )
    assert (first.refused, second.refused) == (("lungs_small",), ())
    assert first.network is second.network


def test_default_report_is_named_like_job(request_job, tmp_path):
    job = request_job(report=None, reports=tmp_path / "reports")
    assert job.report == tmp_path / "reports" / job.name


def test_all_paths_of_job_are_absolute(request_job, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("film,label\n")
    job = request_job(
        folder=Path(folder.name),
        model=Path("bundle"),
        report=Path("out"),
        labels=Path("labels.csv"),
        key=Path("key"),
    )
    paths = (job.folder, job.model, job.report, job.options.labels, job.options.key)
    assert [path.is_absolute() for path in paths] == [True] * 5


@pytest.mark.parametrize("inside", [".", "report", "a/b/report", "../films/report"])
def test_report_inside_folder_is_refused(request_job, folder, inside):
    with pytest.raises(ReportExists, match="would be inside the screened folder"):
        request_job(report=folder / inside)


def test_report_inside_folder_through_link_is_refused(request_job, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ReportExists, match="would be inside the screened folder"):
        request_job(report=tmp_path / "link" / "report")


@pytest.mark.parametrize("name", ["films-report", "filmsx", "report"])
def test_report_next_to_folder_is_accepted(request_job, folder, name):
    assert request_job(report=folder.parent / name).report.name == name


def test_existing_file_or_full_folder_is_refused_as_report(request_job, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "predictions.csv").write_text("x")
    for name in ("file", "full"):
        with pytest.raises(ReportExists, match=f"{name} already exists"):
            request_job(report=tmp_path / name)


def test_empty_folder_is_accepted_as_report(request_job, tmp_path):
    (tmp_path / "empty").mkdir()
    assert request_job(report=tmp_path / "empty").report == tmp_path / "empty"


def test_folder_that_is_no_bundle_is_refused(request_job, folder):
    write_film(folder / "0.png", seed=0)
    with pytest.raises(BundleError, match="films is not a bundle"):
        request_job(model=folder)


def test_altered_bundle_is_refused(request_job, bundle):
    (bundle.path / "card.json").write_text("{}")
    with pytest.raises(BundleError, match=r"card\.json"):
        request_job()


@pytest.mark.parametrize("text", ["film,label\na.png,PERHAPS\n", "name,finding\n", ""])
def test_invalid_labels_are_refused_at_submission(request_job, tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(LabelsError, match=r"labels\.csv"):
        request_job(labels=tmp_path / "labels.csv")


def test_job_names_sort_by_time_and_are_unique():
    names = [new_name() for _ in range(20)]
    assert len(set(names)) == 20
    assert [name[:15] for name in names] == sorted(name[:15] for name in names)


def test_replaced_bundle_fails_job_with_both_hashes(request_job, bundle):
    job = request_job()
    make_card(threshold=0.9).write(bundle.path)
    seal(bundle.path)
    with pytest.raises(JobFailed, match=f"expected {job.model_sha256[:16]}; submit again"):
        open_screener(job)


def test_damaged_bundle_fails_job(request_job, bundle):
    job = request_job()
    (bundle.path / "card.json").unlink()
    with pytest.raises(BundleError, match=r"card\.json is missing"):
        open_screener(job)


def test_bundle_without_model_for_runtime_fails_job(request_job):
    with pytest.raises(BundleError, match="no float32 model for the runtime litert"):
        open_screener(request_job(runtime="litert"))


def test_shipped_bundle_opens_as_submitted(request_job, folder, tmp_path):
    job = request_job(model=SHIPPED)
    screener = open_screener(job)
    assert (screener.folder, screener.model_sha256) == (folder, job.model_sha256)
    assert screener.predictor.runtime.startswith("onnx/onnxruntime ")
    assert (tmp_path / "patient.key").stat().st_mode & 0o777 == 0o600


def test_jobs_with_same_key_hash_patients_equally(request_job, tmp_path):
    one = open_screener(request_job(model=SHIPPED))
    two = open_screener(replace(request_job(model=SHIPPED), folder=tmp_path))
    assert one.key.hash("patient", "Doe^Jane") == two.key.hash("patient", "Doe^Jane")


def test_missing_bundle_fails_job(request_job, bundle):
    job = request_job()
    shutil.rmtree(bundle.path)
    with pytest.raises(BundleError, match="is not a bundle"):
        open_screener(job)


def test_heat_maps_require_model_with_map(request_job, tmp_path):
    model = write_bundle(tmp_path / "plain").path
    message = f"the bundle {model} has no class activation map; run without --heatmaps"
    with pytest.raises(BundleError, match=message):
        request_job(model=model, heatmaps=True)


def test_image_folder_is_next_to_report_and_unique_per_job(request_job, tmp_path):
    model = write_bundle(tmp_path / "mapping", outputs=WITH_MAP).path
    one, two = (request_job(model=model, heatmaps=True) for _ in range(2))
    assert open_screener(one).gallery == one.gallery
    assert one.gallery.aside.parent == one.report.parent
    assert one.gallery.aside.name.startswith(".report.")
    # Both jobs have the same report path.
    assert one.gallery.aside != two.gallery.aside


def test_job_without_heat_maps_has_no_image_folder(request_job, tmp_path):
    model = write_bundle(tmp_path / "mapping", outputs=WITH_MAP).path
    assert open_screener(request_job(model=model)).gallery is None


@pytest.mark.parametrize("file", ["model.onnx", "model-float32.tflite"])
def test_auto_accepts_bundle_with_model_for_one_runtime(request_job, bundle, file):
    (bundle.path / "model.onnx").rename(bundle.path / file)
    seal(bundle.path)
    assert request_job(runtime="auto").state is State.QUEUED


def test_auto_without_model_of_precision_is_refused(request_job):
    with pytest.raises(BundleError, match="has no int8 model; its models: onnx"):
        request_job(runtime="auto", precision="int8")
