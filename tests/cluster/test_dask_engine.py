"""Cluster engine on a Dask cluster in this process: order, bounds, failures and privacy."""

import errno
import gc
import os
import signal
import threading
import warnings
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from distributed import LocalCluster, Security

from exports.runtimes.load import load, load_lungs
from jobs.engines.dask import client, worker
from jobs.engines.dask.config import ClusterConfig
from jobs.engines.dask.engine import ClusterEngine
from jobs.engines.dask.task import Task
from jobs.engines.local import LocalEngine
from jobs.errors import ClusterUnavailable, ClusterUnusable, JobFailed, Stopped
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

#: Dask leaves some broken connections to the garbage collector.
SOCKETS = "unclosed <socket"

pytestmark = pytest.mark.filterwarnings(f"ignore:{SOCKETS}:ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def no_socket_is_left_to_other_tests():
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SOCKETS, ResourceWarning)
        gc.collect()


def served(workers=1, **options):
    """Start a cluster in threads of this process, reached through loopback."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=2,
        processes=False,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        **{"protocol": "tcp"} | options,
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
    """Films with duplicates, a broken one, and a file that is not a film."""
    for number in range(8):
        write_film(folder / f"{number}.png", number % 6, 0.3 + number % 6 / 10)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "text").write_text("hello")
    return discover(folder)


def told(rows):
    """Return rows without times."""
    return [replace(row, screened_at="", seconds=0) for row in rows]


def screened(engine, screener, films, batch=2):
    batches = engine.screen(screener, films, Seen(), batch)
    return told(row for rows in batches for row in rows)


@pytest.fixture
def examined(monkeypatch):
    """Callbacks, run by workers before each task."""
    plans = []
    real = worker._examined

    def planned(order):
        for plan in plans:
            plan(order)
        return real(order)

    monkeypatch.setattr(worker, "_examined", planned)
    return plans


@pytest.mark.parametrize("batch", [1, 100])
def test_rows_equal_those_of_local_engine(engine, bright, films, batch):
    expected = screened(LocalEngine(2), bright, films)
    assert screened(engine, bright, films, batch) == expected
    assert {row.status for row in expected} == set(Status)


@pytest.mark.parametrize("refuse", [(), ("lungs_small",)], ids=["warn", "refuse"])
def test_lung_results_equal_those_of_local_engine(engine, folder, key, tmp_path, refuse):
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


def test_thumbnails_equal_those_of_local_engine(engine, bright, films, tmp_path):
    def drawn(of, place):
        gallery = ReportImages(place, heatmaps=False, thumbnails=True)
        rows = screened(of, replace(bright, gallery=gallery), films)
        return rows, {path.name: path.read_bytes() for path in place.iterdir()}

    expected = drawn(LocalEngine(2), tmp_path / "local")
    assert drawn(engine, tmp_path / "cluster") == expected
    assert len(expected[1]) == 6


def test_look_ahead_is_bounded(engine, bright, films):
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
    # Two threads with two tasks each, and as many finished results.
    assert most <= 2 * 4 * 5


def test_engine_can_be_used_again_after_early_stop(engine, bright, films):
    rows = engine.screen(bright, films, Seen(), 2)
    next(rows)
    rows.close()
    assert len(screened(engine, bright, films)) == len(films)


def test_film_that_kills_processes_is_found_and_fails_alone(engine, bright, films, examined):
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
    assert lost.reason.code == "killed_worker"
    assert lost.sha256 == next(row.sha256 for row in expected if row.film == "3.png")
    assert [row for row in rows if row != lost] == [row for row in expected if row.film != "3.png"]
    assert orders.count(1) == 4


def test_films_scored_before_are_not_sent(engine, bright, films, examined):
    sent = []
    examined.append(lambda order: sent.extend(found.film for found in order.films))
    old = screened(engine, bright, films)[1].sha256
    sent.clear()
    reader = NewOnly(bright.reader, lambda sha256: "old-job" if sha256 == old else "")
    rows = screened(engine, replace(bright, reader=reader), films)
    assert [row.film for row in rows] == [found.film for found in films]
    assert rows[1].reason.code == "already_screened"
    assert sorted(sent) == [found.film for found in films if found.film not in ("1.png", "7.png")]


def test_other_bundle_raises_error_with_host(engine, bright, films):
    with pytest.raises(JobFailed, match=r"host .+ is not the bundle of the job: .+expected"):
        screened(engine, replace(bright, model_sha256="0" * 64), films)


def test_other_version_raises_error(engine, bright, films, monkeypatch):
    monkeypatch.setattr(worker, "__version__", "0.0.1")
    with pytest.raises(JobFailed, match=r"screening 0\.0\.1 is installed; install"):
        screened(engine, bright, films)


@pytest.mark.parametrize(
    ("place", "error"), [("not mounted/bundle", ClusterUnavailable), ("mistyped", JobFailed)]
)
def test_bundle_is_retried_only_if_share_may_be_missing(
    cluster, stop, bright, films, tmp_path, bundle, place, error
):
    (tmp_path / "not mounted").mkdir()
    access = ClusterConfig(
        address=cluster.scheduler_address, places=((bundle.path, str(tmp_path / place)),)
    )
    with (
        closing(ClusterEngine(access, stop)) as engine,
        pytest.raises(error, match=r"host .+ is not a bundle"),
    ):
        screened(engine, bright, films)


def test_host_without_share_is_transient_error(cluster, stop, bright, films, folder, tmp_path):
    (tmp_path / "not mounted").mkdir()
    places = ((folder, str(tmp_path / "not mounted")),)
    access = ClusterConfig(address=cluster.scheduler_address, places=places)
    with (
        closing(ClusterEngine(access, stop)) as engine,
        pytest.raises(ClusterUnavailable, match=r"host .+ cannot read films in .+not mounted"),
    ):
        screened(engine, bright, films)


def test_film_missing_on_all_hosts_is_failed_row(engine, bright, films, folder):
    (folder / "3.png").unlink()
    rows = screened(engine, bright, films)
    assert rows[3].reason.code == "vanished"


def test_films_are_found_at_mapped_path(cluster, stop, bright, films, folder):
    expected = screened(LocalEngine(2), bright, films)
    moved = folder.rename(folder.with_name("elsewhere"))
    access = ClusterConfig(address=cluster.scheduler_address, places=((folder, str(moved)),))
    with closing(ClusterEngine(access, stop)) as engine:
        assert screened(engine, bright, films) == expected


def test_full_disk_of_host_is_transient_error(engine, bright, films, examined):
    def fail(order):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), order.films[0].film)

    examined.append(fail)
    with pytest.raises(
        ClusterUnavailable, match=r"host .+ of the cluster: No space left on device$"
    ):
        screened(engine, bright, films)


def test_unexpected_error_does_not_name_film(engine, bright, films, examined):
    def fail(order):
        raise LookupError(order.films[0].film)

    examined.append(fail)
    with pytest.raises(JobFailed, match="failed with LookupError; see the log") as raised:
        screened(engine, bright, films)
    assert "png" not in str(raised.value)


def test_repr_and_key_of_task_do_not_name_film(engine, bright, access, cluster, examined):
    order = Task.of(bright, access).for_films((Found("MUSTERMANN^ERIKA.png", 1),))
    assert "MUSTER" not in repr(order)
    keys = []
    examined.append(lambda _order: keys.extend(cluster.scheduler.tasks))
    screened(engine, bright, [Found("MUSTERMANN^ERIKA.png", 1)])
    assert keys
    assert not [key for key in keys if "MUSTER" in key]


def test_missing_scheduler_is_transient_error(stop, bright, films, monkeypatch):
    monkeypatch.setattr(client, "_FIRST", 0)
    with (
        closing(ClusterEngine(ClusterConfig(address="tcp://127.0.0.1:9"), stop)) as engine,
        pytest.raises(
            ClusterUnavailable, match=r"scheduler tcp://127\.0\.0\.1:9 cannot be reached"
        ),
    ):
        screened(engine, bright, films)


@pytest.mark.parametrize(
    ("foreign", "error", "words"),
    [
        ((), ClusterUnavailable, "has had no worker for"),
        (("ca",), ClusterUnusable, "cannot agree on TLS"),
        (("cert", "key"), ClusterUnusable, "cannot agree on TLS"),
    ],
    ids=["accepted", "scheduler refused", "client refused"],
)
def test_refused_certificate_is_permanent_error(
    stop, bright, films, certificates, make_certificates, tmp_path, foreign, error, words
):
    others = make_certificates(tmp_path / "others")
    names = {"ca": "ca.pem", "cert": "cluster.pem", "key": "cluster.key"}
    own = {name: certificates / file for name, file in names.items()}
    scheduler = {"tls_scheduler_cert": str(own["cert"]), "tls_scheduler_key": str(own["key"])}
    client = {"tls_client_cert": str(own["cert"]), "tls_client_key": str(own["key"])}
    security = Security(tls_ca_file=str(own["ca"]), require_encryption=True, **scheduler, **client)
    with served(workers=0, protocol="tls", security=security) as cluster:
        given = own | {name: others / names[name] for name in foreign}
        access = ClusterConfig(address=cluster.scheduler_address, **given)
        with (
            closing(ClusterEngine(access, stop, 0.5)) as engine,
            pytest.raises(error, match=words),
        ):
            screened(engine, bright, films)


def test_stop_ends_wait_for_scheduler(stop, bright, films):
    stop.ask()
    with (
        closing(ClusterEngine(ClusterConfig(address="tcp://127.0.0.1:9"), stop)) as engine,
        pytest.raises(Stopped),
    ):
        screened(engine, bright, films)


def test_cluster_without_workers_is_transient_error(stop, bright, films):
    with (
        served(workers=0) as cluster,
        closing(
            ClusterEngine(ClusterConfig(address=cluster.scheduler_address), stop, 0.5)
        ) as engine,
        pytest.raises(ClusterUnavailable, match="has had no worker for"),
    ):
        screened(engine, bright, films)


def test_restarted_scheduler_gets_lost_tasks_again(stop, bright, films, examined):
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


def test_signal_is_received_while_waiting_for_film(engine, bright, films, examined):
    released = threading.Event()

    def ask(_order):
        # A worker thread receives the signal, which does not wake the waiting thread.
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
        # The worker thread may be about to send another one.
        with suppress(KeyboardInterrupt):
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        released.set()
        signal.signal(signal.SIGUSR1, before)
