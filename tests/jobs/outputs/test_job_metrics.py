"""Prometheus file: content, atomicity and permissions."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from jobs.outputs.metrics import Metrics
from jobs.outputs.observers import MetricsWriter
from jobs.worker.worker import work
from makers import write_film
from queue_makers import FakeClock, make_job, make_tools, scored_row
from screening import __version__
from screening.report.drift.drift_csv import NAMES
from screening.results import Reason, Row, Status


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "textfiles"
    place.mkdir()
    return place / "screening.prom"


@pytest.fixture
def metrics(path, clock):
    return Metrics(path, clock)


def families(path):
    text = path.read_text(encoding="utf-8")
    return list(text_string_to_metric_families(text))


def figures(path, metric):
    """Return the values of a metric by label values."""
    return {
        tuple(sorted(sample.labels.values())): sample.value
        for family in families(path)
        for sample in family.samples
        if sample.name == metric
    }


def figure(path, metric):
    ((value),) = figures(path, metric).values()
    return value


def failed_row(code):
    return Row(film="Doe.png", status=Status.FAILED, reason=Reason(code), seconds=2.0)


def test_films_are_counted_by_status(metrics, path):
    metrics.committed([scored_row("a"), failed_row("not_decodable")], 0.01)
    metrics.committed([scored_row("b")], 0.01)
    metrics.write()
    assert figures(path, "screening_films_total") == {
        ("scored",): 2,
        ("failed",): 1,
        ("refused",): 0,
        ("duplicate",): 0,
    }


def test_drift_breaches_of_last_report_are_counted_by_measure(metrics, path):
    metrics.reported(1, {"scanners": 2, "ks": 1})
    metrics.reported(1, {"scanners": 1})
    metrics.write()
    told = figures(path, "screening_drift_breaches")
    assert {measure for (measure,) in told} == set(NAMES)
    assert {measure: number for (measure,), number in told.items() if number} == {"scanners": 1}


def test_each_stage_has_its_time(metrics, path):
    metrics.committed([scored_row("a"), failed_row("not_decodable")], 0.25)
    metrics.committed([], 0.5)
    metrics.reported(3, {})
    metrics.write()
    assert figures(path, "screening_stage_duration_seconds_sum") == {
        ("screen",): 2.125,
        ("commit",): 0.75,
        ("report",): 3,
    }
    assert figures(path, "screening_stage_duration_seconds_count") == {
        ("screen",): 2,
        ("commit",): 2,
        ("report",): 1,
    }


def test_unreached_films_are_counted_without_time(metrics, path):
    metrics.committed([failed_row("not_screened")], 0.01)
    metrics.write()
    assert figures(path, "screening_films_total")["failed",] == 1
    assert figures(path, "screening_stage_duration_seconds_count")["screen",] == 0


def test_jobs_are_counted_by_exit_code(metrics, path):
    for code in (0, 3, 3, 4):
        metrics.ended(code)
    metrics.write()
    assert figures(path, "screening_jobs_ended_total") == {
        ("0",): 1,
        ("3",): 2,
        ("4",): 1,
        ("1",): 0,
    }


@pytest.mark.parametrize(("code", "succeeded"), [(0, True), (3, True), (4, False), (1, False)])
def test_last_success_is_time_of_last_done_job(metrics, path, clock, code, succeeded):
    metrics.ended(0)
    before = clock.seconds
    clock.seconds += 60
    metrics.ended(code)
    metrics.write()
    expected = before + 60 if succeeded else before
    assert figure(path, "screening_last_success_timestamp_seconds") == expected


def test_last_success_is_0_if_never(metrics, path):
    metrics.write()
    assert figure(path, "screening_last_success_timestamp_seconds") == 0


@pytest.mark.parametrize("worker", ["", "1", 'w"{}'])
def test_only_last_success_survives_restart(path, clock, worker):
    clock.seconds = 1_795_383_005.25
    first = Metrics(path, clock, worker)
    first.ended(0)
    first.write()
    Metrics(path, clock, worker).write()
    assert figure(path, "screening_last_success_timestamp_seconds") == 1_795_383_005.25
    assert sum(figures(path, "screening_jobs_ended_total").values()) == 0


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"\xff\xfe",
        b"screening_last_success_timestamp_seconds 1.2.3\n",
        b"screening_last_success_timestamp_seconds\n",
        b"{{{ what is this }}} 4\n",
    ],
)
def test_damaged_file_is_ignored(path, clock, left):
    path.write_bytes(left)
    Metrics(path, clock).write()
    assert figure(path, "screening_last_success_timestamp_seconds") == 0


def test_queue_metrics_show_last_state(metrics, path):
    metrics.queue({"queued": 4, "failed": 2}, 90.5)
    metrics.queue({"queued": 3, "running": 1}, 30.5)
    metrics.write()
    assert figures(path, "screening_queue_jobs") == {
        ("queued",): 3,
        ("running",): 1,
        ("done",): 0,
        ("failed",): 0,
        ("cancelled",): 0,
    }
    assert figure(path, "screening_queue_oldest_job_age_seconds") == 30.5


def test_oldest_age_is_0_if_no_job_waits(metrics, path):
    metrics.queue({"queued": 1}, 90.5)
    metrics.queue({}, None)
    metrics.write()
    assert figure(path, "screening_queue_oldest_job_age_seconds") == 0


def test_version_is_in_build_info(metrics, path):
    metrics.write()
    (labels,) = figures(path, "screening_build_info")
    assert __version__ in labels


def test_metric_names_and_types_follow_convention(metrics, path):
    metrics.write()
    assert {family.name: family.type for family in families(path)} == {
        # The parser strips _total from the names of counters.
        "screening_films": "counter",
        "screening_jobs_ended": "counter",
        "screening_stage_duration_seconds": "summary",
        "screening_drift_breaches": "gauge",
        "screening_last_success_timestamp_seconds": "gauge",
        "screening_queue_jobs": "gauge",
        "screening_queue_oldest_job_age_seconds": "gauge",
        "screening_build_info": "gauge",
    }
    assert all(family.documentation for family in families(path))


def test_samples_have_no_timestamps(metrics, path):
    """The collector rejects files with timestamps."""
    metrics.write()
    assert all(sample.timestamp is None for family in families(path) for sample in family.samples)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool, of Debian's prometheus"
)
def test_promtool_finds_no_problems(metrics, path):
    metrics.committed([scored_row("a")], 0.01)
    metrics.write()
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=path.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_files_of_two_workers_have_no_common_series(tmp_path, clock):
    series = []
    for worker in ("", "1"):
        path = tmp_path / f"screening-{worker}.prom"
        Metrics(path, clock, worker).write()
        series.append(
            {
                (sample.name, *sorted(sample.labels.items()))
                for family in families(path)
                for sample in family.samples
            }
        )
    assert len(series[0]) == len(series[1])
    assert not series[0] & series[1]


def test_file_is_world_readable_with_any_umask(metrics, path):
    before = os.umask(0o077)
    try:
        metrics.write()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_temporary_file_is_ignored_by_collector(metrics, path, monkeypatch):
    seen = []
    replace = type(path).replace

    def watched(self, target):
        seen.append((self.parent == path.parent, self.suffix == ".prom", target))
        return replace(self, target)

    monkeypatch.setattr(type(path), "replace", watched)
    metrics.write()
    assert seen == [(True, False, path)]
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_file_is_logged_once(tmp_path, clock):
    place = tmp_path / "textfiles"
    metrics = Metrics(place / "screening.prom", clock)
    with capture_logs() as logs:
        metrics.write()
        metrics.write()
    (warning,) = logs
    assert (warning["event"], warning["log_level"]) == ("metrics_not_written", "warning")
    assert warning["error"] == "No such file or directory"
    place.mkdir()
    with capture_logs() as logs:
        metrics.write()
    assert logs == []
    shutil.rmtree(place)
    with capture_logs() as logs:
        metrics.write()
    assert len(logs) == 1


def test_temporary_file_is_removed_if_rename_fails(path, clock):
    path.mkdir()
    with capture_logs() as logs:
        Metrics(path, clock).write()
    assert len(logs) == 1
    assert list(path.parent.iterdir()) == [path]


def test_job_run_counts_each_film(store, folder, screener, metrics, path):
    for number in range(3):
        write_film(folder / f"{number}.png", seed=number)
    (folder / "empty.png").touch()
    store.add(make_job(folder=folder))
    watcher = MetricsWriter(metrics, store, FakeClock())
    list(work(make_tools(store, screener, watcher=watcher), drain=True))
    assert figures(path, "screening_films_total")["scored",] == 3
    assert figures(path, "screening_films_total")["failed",] == 1
    assert figures(path, "screening_jobs_ended_total")["3",] == 1


def test_help_does_not_import_metrics_and_log_packages():
    code = "import sys, jobs.cli.main; print({'prometheus_client', 'structlog', 'stamina'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_default_clock_is_real_time(path):
    metrics = Metrics(path)
    metrics.ended(0)
    metrics.write()
    assert figure(path, "screening_last_success_timestamp_seconds") > FakeClock().seconds
