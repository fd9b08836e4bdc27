"""Films that kill workers fail alone, and the job continues."""

from dataclasses import replace

import pytest

from jobs import exit_codes
from jobs.engines.local import LocalEngine
from jobs.errors import JobFailed, SystemicFailure
from jobs.host import worker_name
from jobs.queue.jobs import State
from jobs.worker.job_run import LEASE, run_job
from jobs.worker.worker import work
from makers import write_film
from queue_makers import PowerCut, SerialEngine, Witness, found, make_job, make_tools
from screening.audit import Event
from screening.results import Status, read_rows

FILMS = 12
BATCH = 3


class Deadly:
    """A reader that records its films, and dies on some of them."""

    def __init__(self, reader, *films):
        self.folder, self.given = reader.folder, []
        self._reader, self._films = reader, films

    def read(self, entry):
        self.given.append(entry.film)
        if entry.film in self._films:
            raise PowerCut(entry.film)
        return self._reader.read(entry)

    def close(self):
        self._reader.close()


@pytest.fixture
def films(folder):
    return [write_film(folder / f"{number:02}.png", seed=number).name for number in range(FILMS)]


@pytest.fixture
def submit(store, folder):
    def submitted(**changes):
        return store.add(make_job(folder=folder, **{"batch": BATCH} | changes))

    return submitted


@pytest.fixture
def readers():
    """The reader of each worker that started."""
    return []


@pytest.fixture
def worked(store, screener, clock, readers):
    """Run workers until one survives; return how many died, and the exit code of the last."""

    def carried_out(*deadly, engine=None, most=10):
        def opened(_job):
            readers.append(Deadly(screener.reader, *deadly))
            return replace(screener, reader=readers[-1])

        tools = make_tools(store, screener, open_screener=opened, engine=engine or SerialEngine())
        for died in range(most):
            job = store.claim(f"other-host:{died}:1", LEASE)
            try:
                return died, run_job(job, tools)
            except PowerCut:
                clock.seconds += LEASE + 1
        return None

    return carried_out


def statuses(job):
    rows = read_rows(job.report / "predictions.csv")
    return {row.film: row.reason_code or row.status.value for row in rows}


@pytest.mark.parametrize("engine", [SerialEngine(), LocalEngine(2)], ids=["serial", "local"])
@pytest.mark.parametrize("deadly", ["00.png", "04.png", "11.png"])
def test_film_that_kills_two_workers_fails_alone(store, submit, films, worked, engine, deadly):
    job = submit()
    assert worked(deadly, engine=engine) == (2, exit_codes.SOME_FAILED)
    assert statuses(job) == {
        film: "killed_worker" if film == deadly else "scored" for film in films
    }
    (row,) = [row for row in store.rows(job) if row.status is Status.FAILED]
    assert str(row.reason) == "killed_worker: The worker died twice while it processed this film."
    assert len(row.sha256) == 64
    assert row.screened_at


def test_two_deadly_films_in_one_window_fail_alone(submit, films, worked):
    job = submit()
    assert worked("01.png", "02.png", engine=LocalEngine(2)) == (3, exit_codes.SOME_FAILED)
    assert [film for film, what in statuses(job).items() if what == "killed_worker"] == [
        "01.png",
        "02.png",
    ]


def test_suspects_are_screened_alone_in_order(store, submit, films, worked, screener, readers):
    submit()
    assert worked("04.png")[0] == 2
    # The first worker died with a window of three films; the second took one at a time.
    assert readers[0].given == ["00.png", "01.png", "02.png", "03.png", "04.png"]
    assert readers[1].given == ["03.png", "04.png"]
    assert readers[2].given == [film for film in films if film > "04.png"]
    assert screener.predictor.batches == [3, 1, 1, 3, 3]


def test_film_next_to_deadly_one_is_cleared(store, submit, films, worked):
    job = submit()
    worked("04.png", most=2)
    taken = store.claim("other-host:9:1", LEASE)
    assert store.deaths(taken) == {"04.png": 2, "05.png": 1}
    assert store.get(job.name).deaths == 1


def test_duplicates_still_name_first_film_by_path(store, submit, films, worked, folder):
    (folder / "03-copy.png").write_bytes((folder / "03.png").read_bytes())
    (folder / "zz-copy.png").write_bytes((folder / "05.png").read_bytes())
    job = submit()
    worked("04.png", engine=LocalEngine(2))
    rows = {row.film: row for row in store.rows(job)}
    # "-" sorts before ".".
    assert rows["03-copy.png"].status is Status.SCORED
    assert rows["03.png"].reason.detail == "03-copy.png"
    assert rows["zz-copy.png"].reason.detail == "05.png"


def test_films_released_by_worker_are_not_suspected(store, submit, films):
    job = submit()
    for _time in range(3):
        claimed = store.claim("A", LEASE)
        if not claimed.listed_at:
            store.list_films(claimed, found(*films), [])
        store.commit(claimed, [], LEASE, films[:3])
        store.release(claimed)
    assert store.deaths(store.claim("B", LEASE)) == {}
    assert store.get(job.name).deaths == 0


def test_films_of_worker_past_its_lease_are_suspected(store, submit, films, clock):
    job = submit()
    claimed = store.claim("A", LEASE)
    store.list_films(claimed, found(*films), [])
    store.commit(claimed, [], LEASE, films[:2])
    clock.seconds += LEASE + 1
    assert store.deaths(store.claim("B", LEASE)) == {"00.png": 1, "01.png": 1}
    assert store.get(job.name).deaths == 1


@pytest.mark.parametrize("stops", [False, True])
def test_late_worker_clears_suspicion(store, submit, films, screener, clock, stops):
    job = submit()
    others = []

    class Late:
        folder = screener.reader.folder

        def read(self, entry):
            if not others:
                clock.seconds += LEASE + 1
                others.append(store.claim("other-host:1:1", LEASE))
                assert set(store.deaths(others[0])) == set(films[:BATCH])
            if stops:
                raise KeyboardInterrupt
            return screener.reader.read(entry)

        def close(self):
            """Do nothing."""

    tools = make_tools(
        store,
        screener,
        open_screener=lambda _job: replace(screener, reader=Late()),
        engine=SerialEngine(),
    )

    class EndAfterLoss:
        def feed(self):
            """End the worker once it has lost the job."""
            if others:
                raise PowerCut

    with pytest.raises(KeyboardInterrupt if stops else PowerCut):
        next(work(tools, drain=False, feeders=[EndAfterLoss()]))
    assert store.deaths(others[0]) == {}
    assert store.get(job.name).fence == others[0].fence


def test_own_claim_with_lost_answer_is_no_death(store, submit, films, screener):
    job = submit()
    store.claim(worker_name(), LEASE)
    (ended,) = work(make_tools(store, screener), drain=True)
    assert (ended.exit_code, ended.fence, ended.deaths) == (exit_codes.OK, 2, 0)
    assert ended.name == job.name


def test_deadly_films_count_towards_systemic_failure(store, submit, screener, folder, clock):
    names = [write_film(folder / f"{n:02}.png", seed=n).name for n in range(24)]
    job = submit(max_failure_rate=0.2)
    claimed = store.claim("A", LEASE)
    store.list_films(claimed, found(*names), [])
    for _death in range(2):
        store.commit(claimed, [], LEASE, names[:21])
        clock.seconds += LEASE + 1
        claimed = store.claim(f"other-host:{_death}:1", LEASE)
    with pytest.raises(SystemicFailure, match=r"20 of 20 films failed \(killed_worker 20\)"):
        run_job(claimed, make_tools(store, screener))
    assert list(statuses(job).values()) == ["killed_worker"] * 20 + ["not_screened"] * 4
    assert screener.predictor.batches == []


def test_deadly_film_replaced_by_outside_link_is_not_hashed(
    store, submit, films, worked, folder, tmp_path
):
    job = submit()
    worked("00.png", most=2)
    (folder / "00.png").rename(tmp_path / "outside.png")
    (folder / "00.png").symlink_to(tmp_path / "outside.png")
    worked()
    assert (store.rows(job)[0].film, store.rows(job)[0].sha256) == ("00.png", "")


class DyingAtOnce(SerialEngine):
    def screen(self, *_arguments):
        raise PowerCut


def test_job_fails_after_five_deaths_without_row_and_can_be_retried(
    store, submit, films, screener, clock
):
    job = submit()
    tools = make_tools(store, screener, engine=DyingAtOnce())
    for number in range(5):
        with pytest.raises(PowerCut):
            run_job(store.claim(f"other-host:{number}:1", LEASE), tools)
        clock.seconds += LEASE + 1
    (ended,) = work(make_tools(store, screener), drain=True)
    assert (ended.state, ended.exit_code) == (State.FAILED, exit_codes.ERROR)
    assert ended.message == "5 workers died while they ran job job-1, without a result for any film"
    assert screener.predictor.batches == []
    store.retry(job.name, Event("2026-11-23T06:00:00+00:00", "retried", job.name))
    (ended,) = work(make_tools(store, screener), drain=True)
    assert (ended.state, ended.exit_code) == (State.DONE, exit_codes.OK)
    assert set(statuses(job).values()) == {"scored"}


def test_committed_row_resets_count_of_deaths(store, submit, films, screener, clock):
    submit(batch=1)

    class OneFilmEach(Witness):
        def committed(self, rows, seconds):
            raise PowerCut

    tools = make_tools(store, screener, watcher=OneFilmEach())
    for number in range(FILMS):
        job = store.claim(f"other-host:{number}:1", LEASE)
        assert job.deaths <= 1
        with pytest.raises(PowerCut):
            run_job(job, tools)
        clock.seconds += LEASE + 1


def test_job_that_killed_five_workers_is_not_opened(store, submit, screener, clock):
    job = submit()
    for number in range(6):
        claimed = store.claim(f"other-host:{number}:1", LEASE)
        clock.seconds += LEASE + 1
    assert claimed.deaths == 5

    def refuse(_job):
        raise AssertionError("opened")

    with pytest.raises(JobFailed, match=f"5 workers died while they ran job {job.name}"):
        run_job(claimed, make_tools(store, screener, open_screener=refuse))


def test_retry_clears_suspicion(store, submit, films, clock):
    job = submit()
    claimed = store.claim("A", LEASE)
    store.list_films(claimed, found(*films), [])
    store.commit(claimed, [], LEASE, films[:2])
    clock.seconds += LEASE + 1
    claimed = store.claim("B", LEASE)
    store.commit(claimed, [], LEASE, films[4:5])
    store.finish(claimed, exit_codes.ERROR, "the bundle is gone")
    store.retry(job.name, Event("2026-11-23T06:00:00+00:00", "retried", job.name))
    claimed = store.claim("C", LEASE)
    assert store.deaths(claimed) == {}
    # Films that B had in progress are not suspected when C dies.
    clock.seconds += LEASE + 1
    assert store.deaths(store.claim("D", LEASE)) == {}
