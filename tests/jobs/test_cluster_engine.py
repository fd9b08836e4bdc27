"""A Dask cluster in this very process: order, bounds, faults, and what of films is ever shown."""

import errno
import gc
import os
import signal
import threading
import warnings
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from distributed import LocalCluster

from exports.runtimes.load import load, load_lungs
from jobs.engines.dask import client, worker
from jobs.engines.dask.config import ClusterConfig
from jobs.engines.dask.engine import ClusterEngine
from jobs.engines.dask.task import Task
from jobs.engines.local import LocalEngine
from jobs.errors import ClusterUnavailable, JobFailed, Stopped
from jobs.sources.submission import NewOnly
from jobs.worker.lease import Stop
from lung_makers import lung_film, two_lungs
from makers import encoded, write_film
from screening.files import Found, discover
from screening.inference.pipeline import Screener, Seen
from screening.inference.report_images import ReportImages
from screening.inference.sandbox import IsolatedReader
from screening.results import Status
from tiny_model import WITH_MAP, write_bundle

#: Dask leaves some connections that were broken off to the garbage collector.
SOCKETS = "unclosed <socket"

pytestmark = pytest.mark.filterwarnings(f"ignore:{SOCKETS}:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def no_socket_is_left_to_other_tests():
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SOCKETS, ResourceWarning)
        gc.collect()


def served(workers=1, **options):
    """A cluster in threads of this process, reached through loopback."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        **options,
    )


@pytest.fixture(scope="module")
def cluster():
    with served() as cluster:
        yield cluster


@pytest.fixture
def access(cluster):
    return ClusterConfig(address=cluster.scheduler_address)


@pytest.fixture
def stop():
    return Stop()


@pytest.fixture
def engine(access, stop):
    with closing(ClusterEngine(access, stop)) as engine:
        yield engine


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture
def bright(folder, bundle, key):
    """A screener whose model other processes can load."""
    reader = IsolatedReader(folder, bundle.card.preprocessing)
    predictor = load(bundle.path)
    with closing(reader):
        yield Screener(reader, bundle.card, bundle.sha256, predictor, key, bundle=bundle.path)


@pytest.fixture
def films(folder):
    """Some of them equal, one broken, one that is none."""
    for number in range(8):
        write_film(folder / f"{number}.png", number % 6, 0.3 + number % 6 / 10)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "text").write_text("hello")
    return discover(folder)


def told(rows):
    """All of rows but when and how fast."""
    return [replace(row, screened_at="", seconds=0) for row in rows]


def screened(engine, screener, films, batch=2):
    batches = engine.screen(screener, films, Seen(), batch)
    return told(row for rows in batches for row in rows)


@pytest.fixture
def examined(monkeypatch):
    """What workers do first with each order; planned by the test."""
    plans = []
    real = worker._examined

    def planned(order):
        for plan in plans:
            plan(order)
        return real(order)

    monkeypatch.setattr(worker, "_examined", planned)
    return plans


@pytest.mark.parametrize("batch", [1, 100])
def test_the_rows_are_those_of_the_local_engine(engine, bright, films, batch):
    expected = screened(LocalEngine(2), bright, films)
    assert screened(engine, bright, films, batch) == expected
    assert {row.status for row in expected} == set(Status)


@pytest.mark.parametrize("refuse", [(), ("lungs_small",)], ids=["warn", "refuse"])
def test_what_is_said_of_lungs_comes_with_the_rows(engine, folder, key, tmp_path, refuse):
    bundle = write_bundle(tmp_path / "lungs", outputs=WITH_MAP, lungs=-1)
    for number, width in enumerate((0.14, 0.08, 0.1)):
        film = lung_film(two_lungs(width=width, height=2 * width))
        (folder / f"{number}.png").write_bytes(encoded(film))
    reader = IsolatedReader(folder, bundle.card.preprocessing)
    lungs = load_lungs(bundle.path, bundle.card, "onnx", refuse)
    predictor = load(bundle.path)
    plain = Screener(reader, bundle.card, bundle.sha256, predictor, key, bundle=bundle.path)
    with closing(reader):
        screener, films = replace(plain, lungs=lungs), discover(folder)
        expected = screened(LocalEngine(2), screener, films)
        assert screened(engine, screener, films) == expected
    assert {row.lung_area is None for row in expected} == {False}
    assert [row.status for row in expected].count(Status.REFUSED) == 2 * len(refuse)


def test_pictures_come_with_the_rows(engine, bright, films, tmp_path):
    def drawn(of, place):
        gallery = ReportImages(place, heatmaps=False, thumbnails=True)
        rows = screened(of, replace(bright, gallery=gallery), films)
        return rows, {path.name: path.read_bytes() for path in place.iterdir()}

    expected = drawn(LocalEngine(2), tmp_path / "local")
    assert drawn(engine, tmp_path / "cluster") == expected
    assert len(expected[1]) == 6


def test_what_is_ahead_is_bounded_however_long_the_job_is(engine, bright, films):
    taken = []

    def coming():
        for _time in range(20):
            for found in films:
                taken.append(found)
                yield found

    most = given = 0
    for rows in engine.screen(bright, coming(), Seen(), 5):
        given += len(rows)
        most = max(most, len(taken) - given)
    assert given == 20 * len(films)
    # Two threads, two orders for each; as many answers that wait.
    assert most <= 2 * 4 * 5


def test_an_engine_that_is_stopped_early_can_go_on(engine, bright, films):
    rows = engine.screen(bright, films, Seen(), 2)
    next(rows)
    rows.close()
    assert len(screened(engine, bright, films)) == len(films)


def test_a_film_over_which_processes_die_is_found_and_costs_itself(engine, bright, films, examined):
    orders = []

    def die(order):
        orders.append(len(order.films))
        if any(found.film == "3.png" for found in order.films):
            raise MemoryError

    expected = screened(LocalEngine(2), bright, films)
    examined.append(die)
    rows = screened(engine, bright, films, batch=4)
    (lost,) = [row for row in rows if row.film == "3.png"]
    assert lost.status is Status.FAILED
    assert lost.reason.startswith("killed_worker: ")
    assert lost.sha256 == next(row.sha256 for row in expected if row.film == "3.png")
    assert [row for row in rows if row != lost] == [row for row in expected if row.film != "3.png"]
    assert orders.count(1) == 4


def test_films_that_were_scored_before_are_not_sent(engine, bright, films, examined):
    sent = []
    examined.append(lambda order: sent.extend(found.film for found in order.films))
    old = screened(engine, bright, films)[1].sha256
    sent.clear()
    reader = NewOnly(bright.reader, lambda sha256: "old-job" if sha256 == old else "")
    rows = screened(engine, replace(bright, reader=reader), films)
    assert [row.film for row in rows] == [found.film for found in films]
    assert rows[1].reason.startswith("already_screened: ")
    assert sorted(sent) == [found.film for found in films if found.film not in ("1.png", "7.png")]


def test_another_bundle_is_an_error_that_names_the_host(engine, bright, films):
    with pytest.raises(JobFailed, match=r"host .+ is another one than that of the job: .+expected"):
        screened(engine, replace(bright, model_sha256="0" * 64), films)


def test_another_version_is_an_error(engine, bright, films, monkeypatch):
    monkeypatch.setattr(worker, "__version__", "0.0.1")
    with pytest.raises(JobFailed, match=r"screening 0\.0\.1 is installed, expected"):
        screened(engine, bright, films)


def test_a_bundle_that_is_not_there_may_come_back(cluster, stop, bright, films, tmp_path, bundle):
    access = ClusterConfig(
        address=cluster.scheduler_address, places=((bundle.path, str(tmp_path / "away")),)
    )
    with (
        closing(ClusterEngine(access, stop)) as engine,
        pytest.raises(ClusterUnavailable, match=r"host .+ is no bundle"),
    ):
        screened(engine, bright, films)


def test_a_host_without_the_share_is_an_error_and_not_a_film_that_vanished(
    cluster, stop, bright, films, folder, tmp_path
):
    (tmp_path / "not mounted").mkdir()
    places = ((folder, str(tmp_path / "not mounted")),)
    access = ClusterConfig(address=cluster.scheduler_address, places=places)
    with (
        closing(ClusterEngine(access, stop)) as engine,
        pytest.raises(ClusterUnavailable, match=r"host .+ cannot read films in .+not mounted"),
    ):
        screened(engine, bright, films)


def test_a_film_that_vanished_everywhere_is_a_failed_row(engine, bright, films, folder):
    (folder / "3.png").unlink()
    rows = screened(engine, bright, films)
    assert rows[3].reason.startswith("vanished: ")


def test_films_are_found_where_the_workers_have_them(cluster, stop, bright, films, folder):
    expected = screened(LocalEngine(2), bright, films)
    moved = folder.rename(folder.with_name("elsewhere"))
    access = ClusterConfig(address=cluster.scheduler_address, places=((folder, str(moved)),))
    with closing(ClusterEngine(access, stop)) as engine:
        assert screened(engine, bright, films) == expected


def test_a_host_with_a_full_disk_is_an_error_that_may_pass(engine, bright, films, examined):
    def fail(order):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), order.films[0].film)

    examined.append(fail)
    with pytest.raises(
        ClusterUnavailable, match=r"host .+ of the cluster: No space left on device$"
    ):
        screened(engine, bright, films)


def test_an_error_that_nobody_foresaw_names_no_film(engine, bright, films, examined):
    def fail(order):
        raise LookupError(order.films[0].film)

    examined.append(fail)
    with pytest.raises(JobFailed, match="failed with LookupError; its log") as raised:
        screened(engine, bright, films)
    assert "png" not in str(raised.value)


def test_neither_an_order_nor_its_key_shows_a_name(engine, bright, access, cluster, examined):
    order = Task.of(bright, access).for_films((Found("MUSTERMANN^ERIKA.png", 1),))
    assert "MUSTER" not in repr(order)
    keys = []
    examined.append(lambda _order: keys.extend(cluster.scheduler.tasks))
    screened(engine, bright, [Found("MUSTERMANN^ERIKA.png", 1)])
    assert keys
    assert not [key for key in keys if "MUSTER" in key]


def test_a_scheduler_that_is_not_there_is_an_error_that_may_pass(stop, bright, films, monkeypatch):
    monkeypatch.setattr(client, "_FIRST", 0)
    with (
        closing(ClusterEngine(ClusterConfig(address="tcp://127.0.0.1:9"), stop)) as engine,
        pytest.raises(
            ClusterUnavailable, match=r"scheduler tcp://127\.0\.0\.1:9 cannot be reached"
        ),
    ):
        screened(engine, bright, films)


def test_who_is_to_stop_does_not_wait_for_a_scheduler(stop, bright, films):
    stop.ask()
    with (
        closing(ClusterEngine(ClusterConfig(address="tcp://127.0.0.1:9"), stop)) as engine,
        pytest.raises(Stopped),
    ):
        screened(engine, bright, films)


def test_a_cluster_without_a_worker_is_an_error_that_may_pass(stop, bright, films):
    with (
        served(workers=0) as cluster,
        closing(
            ClusterEngine(ClusterConfig(address=cluster.scheduler_address), stop, 0.5)
        ) as engine,
        pytest.raises(ClusterUnavailable, match="has had no worker for"),
    ):
        screened(engine, bright, films)


def test_a_scheduler_that_is_started_again_gets_what_was_lost(stop, bright, films, examined):
    expected = screened(LocalEngine(2), bright, films)
    held = threading.Event()
    examined.append(lambda _order: held.wait(0.1))
    with served() as first:
        access = ClusterConfig(address=first.scheduler_address)
        engine = ClusterEngine(access, stop)
        batches = engine.screen(bright, films, Seen(), 1)
        rows = [*next(batches)]
    port = int(access.address.rpartition(":")[2])
    with closing(engine), served(scheduler_port=port):
        rows += [row for batch in batches for row in batch]
        assert told(rows) == expected


def test_a_signal_is_heard_while_a_film_is_waited_for(engine, bright, films, examined):
    released = threading.Event()

    def ask(_order):
        # This thread gets it, and the one that waits is not woken.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        released.wait(20)

    def heard(_signal, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, heard)
    examined.append(ask)
    try:
        with pytest.raises(KeyboardInterrupt):
            screened(engine, bright, films)
    finally:
        # The other thread may be about to send one more.
        with suppress(KeyboardInterrupt):
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        released.set()
        signal.signal(signal.SIGUSR1, before)
