"""Two hosts share a queue on a PostgreSQL server; one is unplugged for a while."""

import time
from contextlib import closing

import pytest

from chaos.ledger import Ledger
from cluster.films import write_films
from postgres import served
from postgres_programs import Unavailable
from screening.results import PREDICTIONS, Status, read_rows

#: Seconds; short, so that the unplugged host loses its job.
LEASE = 5


def test_unplugged_host_loses_its_job_but_no_film(cluster, bundle, tmp_path, request):
    if not request.config.getoption("--long"):
        pytest.skip("a server and two workers start: with --long")
    control = cluster.hosts[0]
    folders = [tmp_path / "films" / str(number) for number in range(4)]
    names = [write_films(folder, 1500, 10_000 * n) for n, folder in enumerate(folders)]
    with control.inside():
        try:
            with served(durable=False, host=control.address) as postgres:
                screened(postgres, cluster, bundle, folders, tmp_path)
        except Unavailable as error:
            pytest.skip(f"no PostgreSQL: {error}")
    for number, films in enumerate(names):
        rows = read_rows(tmp_path / "reports" / str(number) / PREDICTIONS)
        assert [row.film for row in rows] == films
        assert {row.status for row in rows} == {Status.SCORED}


def screened(postgres, cluster, bundle, folders, tmp_path):
    control, first, second, _other = cluster.hosts
    queue = postgres.database()
    for number, folder in enumerate(folders):
        words = ["submit", folder, "--model", bundle, "--out", tmp_path / "reports" / str(number)]
        done = control.start("screening", *words, "--settle", 0, "--queue", queue)
        assert done.wait(60) == 0, control.said()
    work = ["worker", "--drain", "--queue", queue, "--lease", LEASE]
    workers = [host.start("screening", *work, log="worker") for host in (first, second)]
    with closing(Ledger(queue)) as ledger:
        wait_until(lambda: ledger.committed() > 500 and len(ledger.holders()) == 2)
        first.unplug()
        # One of the jobs was claimed a second time.
        wait_until(lambda: sum(job.fence for job in ledger.store.jobs()) > len(folders))
        first.plug()
    assert [worker.wait(180) for worker in workers] == [0, 0], first.said("worker")


def wait_until(condition, seconds=180):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
