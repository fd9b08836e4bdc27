"""Sub-folders become jobs: each once, when it is written, and none is lost without a word."""

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
    """The kernel dates changes by its own clock."""
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
    """Another worker that watches the ward; any option by keyword."""

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
    """A sub-folder with these files, just now written."""
    for film in films:
        (ward / name / film).parent.mkdir(parents=True, exist_ok=True)
        (ward / name / film).write_text("film")
    return ward / name


def queued(store) -> list[str]:
    return [job.folder.name for job in store.jobs()]


def fed(studies, *, after: float, clock) -> list[dict[str, object]]:
    """What was logged at a look so many seconds from now."""
    clock.seconds += after
    with capture_logs() as logs:
        studies.feed()
    return logs


def test_each_study_becomes_one_job_when_it_has_settled(studies, store, ward, clock, tmp_path):
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


def test_a_study_that_is_still_being_written_waits(studies, store, ward, clock):
    study(ward, "a", "series/1.dcm")
    fed(studies, after=4, clock=clock)
    assert queued(store) == []
    fed(studies, after=2, clock=clock)
    assert queued(store) == ["a"]


def test_a_study_without_a_file_waits_for_one(studies, store, ward, clock):
    (ward / "a" / "series").mkdir(parents=True)
    fed(studies, after=10, clock=clock)
    assert queued(store) == []
    study(ward, "a", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    assert queued(store) == ["a"]


def test_without_settling_a_study_is_queued_at_once(watch, store, ward):
    study(ward, "a", "1.png")
    watch(settle=0).feed()
    assert queued(store) == ["a"]


def test_a_restart_and_a_second_watcher_queue_nothing_twice(watch, store, ward, clock):
    for number in range(20):
        study(ward, f"{number:02}", "1.png")
    clock.seconds += 10
    watchers = [watch() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(StudySource.feed, watchers))
    for watcher in [*watchers, watch()]:
        # Who was second looks once more.
        assert fed(watcher, after=1, clock=clock) == []
        assert fed(watcher, after=61, clock=clock) == []
    assert sorted(queued(store)) == [f"{number:02}" for number in range(20)]


def test_a_study_comes_back_and_is_known_after_its_job_was_forgotten(
    watch, store, ward, clock, tmp_path
):
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
def test_a_study_that_is_taken_away_at_any_moment_is_no_error(
    studies, store, ward, clock, monkeypatch, moment
):
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


def test_a_study_that_is_renamed_is_a_new_one(studies, store, ward, clock):
    study(ward, "a", "1.png").rename(ward / "b")
    fed(studies, after=10, clock=clock)
    (ward / "b").rename(ward / "c")
    # A new name changes the folder: it settles once more.
    fed(studies, after=10, clock=clock)
    assert queued(store) == ["b", "c"]


def test_a_change_after_the_job_is_told_of_once_also_after_a_restart(
    watch, store, ward, clock, agenda
):
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
    """Jobs of which it was said that their studies have changed."""
    return [line["job"] for line in logs if line["event"] == "study_changed_after_its_job"]


def test_a_film_that_comes_late_below_a_study_is_told_of_once_within_a_minute(
    studies, store, ward, clock
):
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


def test_a_new_series_is_told_of_once(studies, store, ward, clock):
    study(ward, "a", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    study(ward, "a", "another/1.dcm")
    logs = [line for after in (1, 61, 61) for line in fed(studies, after=after, clock=clock)]
    assert changed(logs) == [store.jobs()[0].name]


def test_a_study_is_looked_through_for_an_hour_after_it_was_queued(studies, ward, clock):
    study(ward, "a", "series/1.dcm")
    fed(studies, after=10, clock=clock)
    fed(studies, after=3700, clock=clock)
    study(ward, "a", "series/2.dcm")
    assert changed(fed(studies, after=61, clock=clock)) == []


def test_names_that_begin_with_a_dot_are_left_alone(studies, store, ward, clock):
    study(ward, ".a.12345678.partial", "1.png")
    (ward / ".1.png.Xa7").write_text("film")
    assert fed(studies, after=10, clock=clock) == []
    assert queued(store) == []


def test_a_link_to_a_folder_is_not_followed(studies, store, ward, clock, tmp_path):
    study(tmp_path, "elsewhere", "1.png")
    (ward / "link").symlink_to(tmp_path / "elsewhere")
    (warning,) = fed(studies, after=10, clock=clock)
    assert (warning["event"], warning["number"]) == ("entries_in_no_study", 1)
    assert queued(store) == []


def test_films_in_no_study_are_counted_once_and_again_when_there_are_more(
    studies, store, ward, clock
):
    for number in range(3):
        (ward / f"{number}.png").write_text("film")
    (warning,) = fed(studies, after=0, clock=clock)
    assert (warning["event"], warning["number"]) == ("entries_in_no_study", 3)
    assert warning["log_level"] == "warning"
    assert fed(studies, after=61, clock=clock) == []
    (ward / "3.png").write_text("film")
    (again,) = fed(studies, after=1, clock=clock)
    assert again["number"] == 4
    # Those that come one by one are not told of one by one.
    (ward / "4.png").write_text("film")
    assert fed(studies, after=1, clock=clock) == []
    assert len(fed(studies, after=60, clock=clock)) == 1
    for film in ward.iterdir():
        film.unlink()
    assert fed(studies, after=61, clock=clock) == []
    (ward / "0.png").write_text("film")
    (anew,) = fed(studies, after=1, clock=clock)
    assert anew["number"] == 1
    assert store.jobs() == []


def test_a_name_that_is_not_utf8_is_a_study_like_any_other(watch, store, ward, clock):
    odd = os.fsdecode(b"M\xfcller")
    study(ward, odd, "1.png")
    fed(watch(), after=10, clock=clock)
    assert fed(watch(), after=10, clock=clock) == []
    (job,) = store.jobs()
    assert job.folder == ward / odd
    assert (job.folder / "1.png").exists()
    job.shown_folder.encode()


def test_a_study_that_cannot_be_read_is_tried_again_and_its_name_is_not_logged(
    studies, store, ward, clock, monkeypatch
):
    locked = study(ward, "Mueller", "1.png")
    study(ward, "b", "1.png")
    real = module.settles_at

    def settles_at(folder, *arguments):
        # Whoever runs the tests may be root, to whom every folder is open.
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


def test_a_folder_that_is_away_is_told_of_once_a_minute_and_nothing_is_forgotten(
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


def test_a_broken_bundle_is_told_of_once_for_all_studies_and_loses_none(
    studies, store, ward, clock, bundle
):
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


def test_very_many_studies_are_queued_portion_by_portion(studies, store, ward, clock):
    for number in range(120):
        study(ward, f"{number:03}", "1.png")
    fed(studies, after=10, clock=clock)
    assert queued(store) == [f"{number:03}" for number in range(50)]
    fed(studies, after=2, clock=clock)
    fed(studies, after=2, clock=clock)
    assert len(set(queued(store))) == len(queued(store)) == 120
