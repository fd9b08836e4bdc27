"""Jobs that cannot run at the moment are postponed and retried automatically."""

import time
from dataclasses import replace

import pytest

from exports.bundle import Bundle
from jobs import exit_codes
from jobs.errors import StillChanging
from jobs.queue.jobs import State
from jobs.sources.folder_changes import newest_change
from jobs.worker.job_run import LEASE, run_job
from jobs.worker.worker import work
from makers import write_film
from queue_makers import (
    SerialEngine,
    Witness,
    empty_bundle,
    make_job,
    make_tools,
    write_films,
)
from screening.errors import DecoderError
from screening.results import read_rows

pytestmark = pytest.mark.usefixtures("naps")


@pytest.fixture
def later(store, clock):
    """Advance the clock to the time when a job may start."""

    def passed(name="job-1"):
        clock.seconds = max(clock.seconds, store.get(name).not_before) + 0.001

    return passed


@pytest.fixture
def tools(store, screener, clock):
    def made(**changes):
        return make_tools(store, screener, **{"clock": clock, "watcher": Witness()} | changes)

    return made


def outside(store, folder, seconds, **changes):
    """Queue a job for a folder; return it, and the time `seconds` after its last change."""
    write_film(folder / "0.png", seed=0)
    return store.add(make_job(folder=folder, **changes)), newest_change(
        folder, time.time()
    ) + seconds


def test_changing_folder_is_waited_for_and_then_read(store, folder, tools, naps, later, clock):
    job, clock.seconds = outside(store, folder, 2, settle=5)
    started = clock.seconds
    using = tools()
    seen = []

    def look():
        seen.append(store.get(job.name))
        write_film(folder / "1.png", seed=1)
        later()

    naps += [look, later]
    (ended,) = work(using, drain=True)
    assert ended.exit_code == exit_codes.OK
    (postponed, *_) = seen
    assert (postponed.state, postponed.films, postponed.listed_at) == (State.QUEUED, 0, "")
    assert postponed.not_before == pytest.approx(started + 3)
    assert postponed.message == f"files are still being written to the folder {folder}"
    assert using.watcher.waits[0].name == job.name
    assert (ended.attempts, ended.message) == (0, "")
    rows = read_rows(job.report / "predictions.csv")
    assert [row.film for row in rows] == ["0.png", "1.png"]


def test_hidden_folder_is_not_named_while_waiting(store, folder, tools, clock):
    _job, clock.seconds = outside(store, folder, 2, settle=5, hash_names=True)
    with pytest.raises(StillChanging) as error:
        run_job(store.claim("A", LEASE), tools())
    assert str(error.value) == "files are still being written to the folder of job job-1"
    assert error.value.seconds == pytest.approx(3)


@pytest.mark.parametrize(("settle", "seconds"), [(0, 0), (5, 6)])
def test_settled_folder_is_not_waited_for(store, folder, tools, clock, settle, seconds):
    _job, clock.seconds = outside(store, folder, seconds, settle=settle)
    assert [job.exit_code for job in work(tools(), drain=True)] == [exit_codes.OK]


def test_listed_job_is_not_waited_for_again(store, folder, tools, clock):
    _job, clock.seconds = outside(store, folder, 6, settle=5)
    job = store.claim("A", LEASE)
    assert run_job(job, tools()) == exit_codes.OK
    write_film(folder / "late.png", seed=5)
    clock.seconds += LEASE + 1
    resumed = store.claim("B", LEASE)
    assert run_job(resumed, tools(clock=time.time)) == exit_codes.OK


def test_missing_folder_is_retried_until_it_is_back(store, folder, tools, naps, later):
    job = store.add(make_job(folder=folder, retries=3))
    folder.rmdir()
    states = []

    def back():
        states.append(store.get(job.name))
        later()
        write_film(folder / "0.png", seed=0)

    naps += [lambda: (states.append(store.get(job.name)), later()), back]
    (ended,) = work(tools(), drain=True)
    assert ended.exit_code == exit_codes.OK
    assert [state.attempts for state in states] == [1, 2]
    assert {state.message for state in states} == {
        f"the folder {folder} cannot be listed: No such file or directory"
    }


def gone(folder):
    folder.rmdir()
    return SerialEngine()


def in_the_way(folder):
    (folder.parent / "reports").write_text("a file where the report's folder should be")
    write_film(folder / "0.png", seed=0)
    return SerialEngine()


def no_decoder(folder):
    write_film(folder / "0.png", seed=0)
    return SerialEngine(0, DecoderError("no decoder process can be started: no memory"))


@pytest.mark.parametrize("broken", [gone, in_the_way, no_decoder])
@pytest.mark.parametrize("settle", [0, 0.001])
def test_transient_error_retries_with_backoff_then_fails(
    store, folder, tools, naps, later, clock, broken, settle
):
    report = folder.parent / "reports" / "job-1"
    job = store.add(make_job(folder=folder, report=report, retries=3, settle=settle))
    engine, waits = broken(folder), []

    def wait():
        waits.append(store.get(job.name).not_before - clock.seconds)
        later()

    naps += [wait] * 3
    (ended,) = work(tools(engine=engine), drain=True)
    assert (ended.state, ended.exit_code, ended.attempts) == (State.FAILED, exit_codes.ERROR, 3)
    assert ended.message
    assert naps == []
    for attempt, seconds in enumerate(waits):
        assert 15 * 2**attempt <= seconds <= 30 * 2**attempt + 0.01


@pytest.mark.parametrize("broken", [gone, in_the_way, no_decoder])
def test_job_without_retries_fails_at_once(store, folder, tools, broken):
    report = folder.parent / "reports" / "job-1"
    store.add(make_job(folder=folder, report=report))
    (ended,) = work(tools(engine=broken(folder)), drain=True)
    assert (ended.exit_code, ended.attempts) == (exit_codes.ERROR, 0)


def test_report_is_written_later_without_screening_again(
    store, folder, tools, naps, later, screener
):
    engine = in_the_way(folder)
    report = folder.parent / "reports" / "job-1"
    store.add(make_job(folder=folder, report=report, retries=1))
    naps += [lambda: ((folder.parent / "reports").unlink(), later())]
    (ended,) = work(tools(engine=engine), drain=True)
    assert ended.exit_code == exit_codes.OK
    assert len(read_rows(report / "predictions.csv")) == 1
    assert screener.predictor.batches == [1]


def test_new_results_give_job_all_its_retries_again(store, folder, tools, naps, later):
    write_films(folder, 4)
    store.add(make_job(folder=folder, batch=1, retries=1))
    # Each run commits one film before it fails.
    engine = SerialEngine(1, DecoderError("no decoder process can be started: no memory"))
    naps += [later] * 3
    (ended,) = work(tools(engine=engine), drain=True)
    assert (ended.exit_code, ended.attempts, naps) == (exit_codes.OK, 0, [])


def test_waiting_for_folder_uses_no_retries(store, folder, tools, naps, later, clock):
    job, clock.seconds = outside(store, folder, 1, settle=5, retries=0)
    naps += [later]
    assert [ended.name for ended in work(tools(), drain=True)] == [job.name]


@pytest.mark.parametrize("what", ["labels", "bundle"])
def test_unavailable_labels_or_bundle_are_retried(store, folder, tools, naps, later, what):
    write_film(folder / "0.png", seed=0)
    share = folder.parent / "share"
    share.mkdir()
    labels = share / "labels.csv"
    model = empty_bundle(folder.parent / "bundle")
    job = store.add(
        make_job(
            folder=folder,
            labels=labels if what == "labels" else None,
            model=share / "bundle" if what == "bundle" else model.path,
            model_sha256=model.sha256,
            retries=3,
        )
    )
    using = tools()
    if what == "bundle":
        opener = using.open_screener
        using = replace(using, open_screener=lambda job: (Bundle.open(job.model), opener(job))[1])
    seen = []

    def back():
        seen.append(store.get(job.name))
        labels.write_text("film,label\n0.png,0\n")
        model.path.rename(share / "bundle")
        later()

    naps += [back]
    (ended,) = work(using, drain=True)
    assert (ended.exit_code, ended.message) == (exit_codes.OK, "")
    assert "No such file or directory" in seen[0].message


def test_mistyped_bundle_is_not_retried(store, folder, tools):
    model = empty_bundle(folder.parent / "bundle")
    job = make_job(folder=folder, model=folder.parent / "bundel", retries=3)
    store.add(replace(job, model_sha256=model.sha256))
    opening = tools(open_screener=lambda job: Bundle.open(job.model))
    (ended,) = work(opening, drain=True)
    assert (ended.exit_code, ended.attempts) == (exit_codes.ERROR, 0)
    assert ended.message.endswith("`screening export` makes one")


def test_permanent_error_is_not_retried(store, folder, tools):
    write_film(folder / "0.png", seed=0)
    labels = folder.parent / "labels.csv"
    labels.write_text("film,label\n0.png,0\n0.png,1\n")
    store.add(make_job(folder=folder, labels=labels, retries=3))
    assert [job.exit_code for job in work(tools(), drain=True)] == [exit_codes.ERROR]


@pytest.mark.parametrize("ahead", [1, 1e6])
def test_drain_does_not_wait_for_job_scheduled_for_later(store, folder, tools, clock, ahead):
    store.add(make_job(folder=folder, not_before=clock.seconds + ahead))
    assert list(work(tools(), drain=True)) == []
    assert store.get("job-1").state is State.QUEUED


def test_worker_starts_job_at_scheduled_time(store, folder, tools, clock, naps, later):
    store.add(make_job(folder=folder, not_before=clock.seconds + 3600))
    naps += [later]
    assert next(work(tools(), drain=False)).exit_code == exit_codes.OK


def test_worker_for_one_job_does_not_wait_for_its_scheduled_time(store, folder, tools, clock):
    store.add(make_job(folder=folder, not_before=clock.seconds + 3600))
    assert list(work(tools(), drain=True, only="job-1")) == []


def test_drain_runs_job_released_by_other_worker(store, folder, tools, naps):
    store.add(make_job(folder=folder))
    held = store.claim("another-host:1:1", LEASE)
    naps += [lambda: None, lambda: store.release(held)]
    (ended,) = work(tools(), drain=True)
    assert (ended.exit_code, ended.deaths) == (exit_codes.OK, 0)


def test_drain_runs_job_postponed_by_other_worker(store, folder, tools, naps, later):
    store.add(make_job(folder=folder))
    held = store.claim("another-host:1:1", LEASE)
    naps += [lambda: store.postpone(held, 900, "the disk is full", 1), later]
    assert [job.exit_code for job in work(tools(), drain=True)] == [exit_codes.OK]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_worker_ends_after_given_number_of_jobs(store, tmp_path, tools, most):
    for name in ("a", "b", "c", "d"):
        write_film(tmp_path / name / "0.png", seed=0)
        store.add(make_job(name, tmp_path / name))
    ended = list(work(tools(), drain=False, most=most))
    assert [job.name for job in ended] == ["a", "b", "c", "d"][:most]
    assert len(store.jobs(State.QUEUED)) == 4 - most


def test_postponed_job_does_not_count_as_run(store, folder, tools, naps, later):
    folder.rmdir()
    store.add(make_job("a", folder, retries=1))
    (folder.parent / "b").mkdir()
    store.add(make_job("b", folder.parent / "b"))
    ended = list(work(tools(), drain=False, most=1))
    assert [job.name for job in ended] == ["b"]
