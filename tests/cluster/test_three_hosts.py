"""Three hosts screen one folder; one dies, one is unplugged, and one film kills whoever reads it."""

import hashlib
import sys
import time

import pytest

from chaos.ledger import Ledger
from cluster.films import write_films
from screening.row import PREDICTIONS, Status, read_rows
from screening.verification import verify


@pytest.fixture
def long(request):
    if not request.config.getoption("--long"):
        pytest.skip("four Dask processes start: with --long")


def committed(queue):
    """How many films have a row."""
    ledger = Ledger(queue)
    try:
        return ledger.committed()
    finally:
        ledger.close()


def wait_for(condition, process, seconds=300):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.usefixtures("long")
def test_no_film_is_lost_with_a_host_that_dies_or_is_unplugged(cluster, bundle, tmp_path, capsys):
    control, dying, unplugged, staying = cluster.hosts
    names = write_films(tmp_path / "films", 5000)
    poison = names[3501]
    sha256 = hashlib.sha256((tmp_path / "films" / poison).read_bytes()).hexdigest()
    cluster.schedule()
    for host in (dying, unplugged, staying):
        cluster.work(host, POISON=sha256)
    report, queue = tmp_path / "report", tmp_path / "queue.sqlite"
    began = time.monotonic()
    words = ["run", tmp_path / "films", "--model", bundle, "--out", report, "--queue", queue]
    run = control.start("screening", *words, *cluster.options, log="run")
    wait_for(lambda: queue.exists() and committed(queue) > 1000, run)
    unplugged.unplug()
    times = {"unplugged": time.monotonic() - began}
    wait_for(lambda: committed(queue) > 2000, run)
    dying.kill()
    times["killed"] = time.monotonic() - began
    wait_for(lambda: committed(queue) >= 5000, run)
    times["last row"] = time.monotonic() - began
    assert run.wait(120) == 3, control.said("run")
    times["report"] = time.monotonic() - began
    rows = read_rows(report / PREDICTIONS)
    assert [row.film for row in rows] == names
    others = {row.film: row.reason for row in rows if row.status is not Status.SCORED}
    assert others == {poison: others[poison]}
    assert others[poison].startswith("killed_worker: ")
    assert verify(report) == []
    with capsys.disabled():
        said = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items())
        sys.stdout.write(f"{said}\n")


@pytest.mark.usefixtures("long")
def test_a_scheduler_that_is_killed_and_started_again_costs_no_film(cluster, bundle, tmp_path):
    control, worker, *_others = cluster.hosts
    names = write_films(tmp_path / "films", 1500)
    scheduler, working = cluster.schedule(), cluster.work(worker)
    report, queue = tmp_path / "report", tmp_path / "queue.sqlite"
    words = ["run", tmp_path / "films", "--model", bundle, "--out", report, "--queue", queue]
    run = control.start("screening", *words, *cluster.options, log="run")
    wait_for(lambda: queue.exists() and committed(queue) > 300, run)
    scheduler.kill()
    # As a service manager does.
    working.wait(60)
    cluster.schedule()
    cluster.work(worker)
    assert run.wait(120) == 0, control.said("run")
    rows = read_rows(report / PREDICTIONS)
    assert [row.film for row in rows] == names
    assert {row.status for row in rows} == {Status.SCORED}
