"""Watched folders: every settled sub-folder becomes exactly one job."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import jobs.sources.watched_folder as module
from exports.bundle import seal
from jobs.queue.jobs import Options
from jobs.sources.submission import JobRequest
from jobs.sources.watched_folder import StudySource
from queue_makers import FakeClock


@pytest.fixture
def clock():
    """A fake clock set to the current time, because the kernel dates changes."""
    clock = FakeClock()
    clock.seconds = time.time()
    return clock


@pytest.fixture
def ward(tmp_path):
    ward = tmp_path / "ward"
    ward.mkdir()
    return ward


@pytest.fixture
def watch(ward, open_agenda, bundle, tmp_path, clock):
    """Create another watcher of the ward; any option by keyword."""

    def watched(**options):
        known = {"key": tmp_path / "patient.key", "settle": 5.0}
        request = JobRequest(
            folder=ward,
            model=bundle.path,
            options=Options(**known | options),
            reports=tmp_path / "reports",
        )
        return StudySource(ward, request, open_agenda(), clock)

    return watched


@pytest.fixture
def studies(watch):
    return watch()


def study(ward: Path, name: str, *films: str) -> Path:
    """Write a sub-folder with these files."""
    for film in films:
        (ward / name / film).parent.mkdir(parents=True, exist_ok=True)
        (ward / name / film).write_text("film")
    return ward / name


def queued(store) -> list[str]:
    return [job.folder.name for job in store.jobs()]


def fed(studies, *, after: float, clock) -> list[dict[str, object]]:
    """Return the log of a poll this many seconds from now."""
    clock.seconds += after
    with capture_logs() as logs:
        studies.feed()
    return logs


def test_each_study_becomes_one_job_after_settling(studies, store, ward, clock, tmp_path):
    study(ward, "b", "1.png")
    study(ward, "a", "series/1.dcm", "series/2.dcm")
    assert fed(studies, after=0, clock=clock) == []
    assert queued(store) == []
    logs = fed(studies, after=10, clock=clock)
    assert queued(store) == ["a", "b"]
    assert [line["event"] for line in logs] == ["study_queued"] * 2
    assert [job.report for job in store.jobs()] == [
        tmp_path / "reports" / job.name for job in store.jobs()
    ]
    assert fed(studies, after=3600, clock=clock) == []
    assert len(store.jobs()) == 2


def test_study_waits_while_files_are_written(studies, store, ward, clock):
    study(ward, "a", "series/1.dcm")
    fed(studies, after=4, clock=clock)
    assert queued(store) == []
    fed(studies, after=2, clock=clock)
    assert queued(store) == ["a"]


def test_study_without_files_waits(studies, store, ward, clock):
    (ward / "a" / "series").mkdir(parents=True)
    fed(studies, after=10, clock=clock)
    assert queued(store) == []
    study(ward, "a", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    assert queued(store) == ["a"]


def test_settle_zero_queues_study_immediately(watch, store, ward):
    study(ward, "a", "1.png")
    watch(settle=0).feed()
    assert queued(store) == ["a"]


def test_restart_and_second_watcher_queue_no_duplicates(watch, store, ward, clock):
    for number in range(20):
        study(ward, f"{number:02}", "1.png")
    clock.seconds += 10
    watchers = [watch() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(StudySource.feed, watchers))
    for watcher in [*watchers, watch()]:
        # A watcher that lost the race checks again after a minute.
        assert fed(watcher, after=1, clock=clock) == []
        assert fed(watcher, after=61, clock=clock) == []
    assert sorted(queued(store)) == [f"{number:02}" for number in range(20)]


def test_study_is_still_known_after_its_job_was_pruned(watch, store, ward, clock, tmp_path):
    studies = watch()
    study(ward, "a", "1.png")
    fed(studies, after=10, clock=clock)
    store.finish(store.claim("A", 60), 0)
    store.prune("9999")
    (ward / "a").rename(tmp_path / "away")
    assert fed(studies, after=10, clock=clock) == []
    (tmp_path / "away").rename(ward / "a")
    assert fed(studies, after=10, clock=clock) == []
    assert fed(watch(), after=10, clock=clock) == []
    assert store.jobs() == []


@pytest.mark.parametrize("moment", ["stat", "settles_at", "discover"])
def test_study_removed_during_check_is_ignored(studies, store, ward, clock, monkeypatch, moment):
    study(ward, "a", "1.png")
    study(ward, "b", "1.png")
    if moment == "stat":

        def remembered(names, remember=studies._remember):
            remember(names)
            shutil.rmtree(ward / "a", ignore_errors=True)

        monkeypatch.setattr(studies, "_remember", remembered)
    else:
        real = getattr(module, moment)

        def looked(folder, *arguments):
            if folder.name == "a":
                shutil.rmtree(folder, ignore_errors=True)
            return real(folder, *arguments)

        monkeypatch.setattr(module, moment, looked)
    logs = fed(studies, after=10, clock=clock)
    assert queued(store) == ["b"]
    assert [line["event"] for line in logs] == ["study_queued"]


def test_renamed_study_is_new_study(studies, store, ward, clock):
    study(ward, "a", "1.png").rename(ward / "b")
    fed(studies, after=10, clock=clock)
    (ward / "b").rename(ward / "c")
    # Renaming changes the folder, so that it has to settle again.
    fed(studies, after=10, clock=clock)
    assert queued(store) == ["b", "c"]


def test_change_after_job_is_logged_once_even_after_restart(watch, store, ward, clock, agenda):
    studies = watch()
    study(ward, "a", "1.png")
    fed(studies, after=10, clock=clock)
    (job,) = store.jobs()
    study(ward, "a", "2.png")
    warned = fed(studies, after=10, clock=clock)
    assert [(line["event"], line["job"]) for line in warned] == [
        ("study_changed_after_its_job", job.name)
    ]
    assert fed(studies, after=10, clock=clock) == []
    assert fed(watch(), after=10, clock=clock) == []
    study(ward, "a", "3.png")
    assert len(fed(watch(), after=10, clock=clock)) == 1
    assert queued(store) == ["a"]


def changed(logs) -> list[object]:
    """Return the jobs whose studies were logged as changed."""
    return [line["job"] for line in logs if line["event"] == "study_changed_after_its_job"]


def test_late_film_below_study_is_logged_once_within_a_minute(studies, store, ward, clock):
    study(ward, "a", "series/1.dcm")
    study(ward, "b", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    assert changed(fed(studies, after=61, clock=clock)) == []
    study(ward, "a", "series/2.dcm")
    assert changed(fed(studies, after=61, clock=clock)) == [store.jobs()[0].name]
    assert changed(fed(studies, after=61, clock=clock)) == []
    study(ward, "a", "series/deeper/3.dcm")
    assert changed(fed(studies, after=61, clock=clock)) == [store.jobs()[0].name]
    assert len(store.jobs()) == 2


def test_new_series_is_logged_once(studies, store, ward, clock):
    study(ward, "a", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    study(ward, "a", "another/1.dcm")
    logs = [line for after in (1, 61, 61) for line in fed(studies, after=after, clock=clock)]
    assert changed(logs) == [store.jobs()[0].name]


def test_folders_below_study_are_checked_for_an_hour(studies, ward, clock):
    study(ward, "a", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    fed(studies, after=3700, clock=clock)
    study(ward, "a", "series/2.dcm")
    assert changed(fed(studies, after=61, clock=clock)) == []


def test_hidden_names_are_ignored(studies, store, ward, clock):
    study(ward, ".a.12345678.partial", "1.png")
    (ward / ".1.png.Xa7").write_text("film")
    assert fed(studies, after=10, clock=clock) == []
    assert queued(store) == []


def test_link_to_folder_is_not_followed(studies, store, ward, clock, tmp_path):
    study(tmp_path, "elsewhere", "1.png")
    (ward / "link").symlink_to(tmp_path / "elsewhere")
    (warning,) = fed(studies, after=10, clock=clock)
    assert (warning["event"], warning["number"]) == ("entries_in_no_study", 1)
    assert queued(store) == []


def test_loose_films_are_logged_once_and_again_when_more_arrive(studies, store, ward, clock):
    for number in range(3):
        (ward / f"{number}.png").write_text("film")
    (warning,) = fed(studies, after=0, clock=clock)
    assert (warning["event"], warning["number"]) == ("entries_in_no_study", 3)
    assert warning["log_level"] == "warning"
    assert fed(studies, after=61, clock=clock) == []
    (ward / "3.png").write_text("film")
    (again,) = fed(studies, after=1, clock=clock)
    assert again["number"] == 4
    # Films that arrive one by one are logged at most once a minute.
    (ward / "4.png").write_text("film")
    assert fed(studies, after=1, clock=clock) == []
    assert len(fed(studies, after=60, clock=clock)) == 1
    for film in ward.iterdir():
        film.unlink()
    assert fed(studies, after=61, clock=clock) == []
    (ward / "0.png").write_text("film")
    (second_warning,) = fed(studies, after=1, clock=clock)
    assert second_warning["number"] == 1
    assert store.jobs() == []


def test_study_name_may_be_invalid_utf8(watch, store, ward, clock):
    odd = os.fsdecode(b"M\xfcller")
    study(ward, odd, "1.png")
    fed(watch(), after=10, clock=clock)
    assert fed(watch(), after=10, clock=clock) == []
    (job,) = store.jobs()
    assert job.folder == ward / odd
    assert (job.folder / "1.png").exists()
    job.shown_folder.encode()


def test_unreadable_study_is_retried_and_its_name_not_logged(
    studies, store, ward, clock, monkeypatch
):
    locked = study(ward, "Mueller", "1.png")
    study(ward, "b", "1.png")
    real = module.settles_at

    def settles_at(folder, *arguments):
        # Permissions would not help: tests may run as root.
        if folder == locked:
            raise PermissionError(13, "Permission denied", str(locked))
        return real(folder, *arguments)

    monkeypatch.setattr(module, "settles_at", settles_at)
    logs = fed(studies, after=10, clock=clock)
    assert [(line["event"], line.get("why")) for line in logs] == [
        ("study_not_queued", "PermissionError"),
        ("study_queued", None),
    ]
    assert "Mueller" not in str(logs)
    assert fed(studies, after=30, clock=clock) == []
    assert len(fed(studies, after=31, clock=clock)) == 1
    monkeypatch.undo()
    fed(studies, after=61, clock=clock)
    assert queued(store) == ["b", "Mueller"]


def test_missing_folder_is_logged_once_a_minute_and_studies_stay_known(
    studies, store, ward, clock, tmp_path
):
    study(ward, "a", "1.png")
    fed(studies, after=10, clock=clock)
    ward.rename(tmp_path / "away")
    logs = [line for _ in range(4) for line in fed(studies, after=20, clock=clock)]
    assert [line["event"] for line in logs] == ["folder_not_listed"] * 2
    (tmp_path / "away").rename(ward)
    assert fed(studies, after=61, clock=clock) == []
    assert queued(store) == ["a"]


def test_broken_bundle_is_logged_once_for_all_studies(studies, store, ward, clock, bundle):
    study(ward, "a", "1.png")
    study(ward, "b", "1.png")
    (bundle.path / "SHA256SUMS").write_text("")
    logs = [line for _ in range(4) for line in fed(studies, after=20, clock=clock)]
    assert [(line["event"], line["why"]) for line in logs] == [
        ("studies_not_queued", "BundleError")
    ] * 2
    seal(bundle.path)
    fed(studies, after=61, clock=clock)
    assert queued(store) == ["a", "b"]


def test_many_studies_are_queued_in_portions(studies, store, ward, clock):
    for number in range(120):
        study(ward, f"{number:03}", "1.png")
    fed(studies, after=10, clock=clock)
    assert queued(store) == [f"{number:03}" for number in range(50)]
    fed(studies, after=2, clock=clock)
    fed(studies, after=2, clock=clock)
    assert len(set(queued(store))) == len(queued(store)) == 120
