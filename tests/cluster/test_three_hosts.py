"""Three hosts screen one folder while hosts die or are unplugged, and a film kills its reader."""

import hashlib
import itertools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chaos.ledger import Ledger
from cluster.films import write_films
from screening.report.verification import verify
from screening.results import PREDICTIONS, Status, read_rows


@pytest.fixture(autouse=True)
def long(request):
    if not request.config.getoption("--long"):
        pytest.skip("several Dask processes start: with --long")


@dataclass
class Watch:
    """Records the number of films with a row over time.

    Attributes:
        seen: pairs of seconds since the start and number of films.
    """

    queue: Path
    began: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])

    @property
    def now(self):
        return time.monotonic() - self.began

    def wait(self, films, process, seconds=300):
        """Wait until this number of films have a row."""
        until = self.now + seconds
        while self.seen[-1][1] < films:
            assert process.poll() is None, "it ended too early"
            assert self.now < until
            if self.queue.exists():
                ledger = Ledger(self.queue)
                committed = ledger.committed()
                ledger.close()
                if committed != self.seen[-1][1]:
                    self.seen.append((self.now, committed))
            time.sleep(0.05)

    def longest_pause(self, after):
        """Return the longest time without a new row after this moment, in seconds."""
        times = [after, *(at for at, _films in self.seen if at > after)]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


@pytest.fixture
def say(capsys):
    """Print measurements, which are one purpose of these tests."""

    def said(**figures):
        with capsys.disabled():
            line = ", ".join(f"{name} {value:.1f} s" for name, value in figures.items())
            sys.stdout.write(f"\n{line}\n")

    return said


@pytest.fixture
def words(bundle, tmp_path):
    """Arguments for screening the test's folder, after the name of the subcommand."""
    place = ["--out", tmp_path / "report", "--queue", tmp_path / "queue.sqlite"]
    return [tmp_path / "films", "--model", bundle, *place]


def check(report, names, poison=None):
    rows = read_rows(report / PREDICTIONS)
    assert [row.film for row in rows] == names
    others = {row.film: row.reason.code for row in rows if row.status is not Status.SCORED}
    assert others.keys() == ({poison} if poison else set())
    assert set(others.values()) <= {"killed_worker"}
    assert verify(report) == []


def test_dying_or_unplugged_host_loses_no_film(cluster, words, tmp_path, say):
    control, dying, unplugged, staying = cluster.hosts
    names = write_films(tmp_path / "films", 5000)
    poison = names[3501]
    sha256 = hashlib.sha256((tmp_path / "films" / poison).read_bytes()).hexdigest()
    cluster.schedule()
    for host in (dying, unplugged, staying):
        cluster.work(host, POISON=sha256)
    run = control.start("screening", "run", *words, *cluster.options, log="run")
    watch = Watch(tmp_path / "queue.sqlite")
    watch.wait(1000, run)
    unplugged.unplug()
    pulled = watch.now
    watch.wait(2000, run)
    dying.kill()
    killed = watch.now
    watch.wait(5000, run)
    assert run.wait(120) == 3, control.said("run")
    check(tmp_path / "report", names, poison)
    say(
        unplugged=pulled,
        killed=killed,
        last_row=watch.seen[-1][0],
        longest_pause=watch.longest_pause(pulled),
        longest_after_kill=watch.longest_pause(killed),
    )


def test_scheduler_restart_loses_no_film(cluster, words, tmp_path, say):
    control, worker, *_others = cluster.hosts
    names = write_films(tmp_path / "films", 1500)
    scheduler, working = cluster.schedule(), cluster.work(worker)
    run = control.start("screening", "run", *words, *cluster.options, log="run")
    watch = Watch(tmp_path / "queue.sqlite")
    watch.wait(300, run)
    scheduler.kill()
    killed = watch.now
    # A service manager would restart both.
    working.wait(60)
    ended = watch.now
    cluster.schedule()
    cluster.work(worker)
    watch.wait(1500, run)
    assert run.wait(120) == 0, control.said("run")
    check(tmp_path / "report", names)
    say(killed=killed, worker_ended=ended, longest_pause=watch.longest_pause(killed))


def test_job_continues_after_its_submitting_machine_is_killed(cluster, words, tmp_path):
    control, worker, *_others = cluster.hosts
    names = write_films(tmp_path / "films", 1500)
    scheduler = cluster.schedule()
    cluster.work(worker)
    run = control.start("screening", "run", *words, *cluster.options, log="run")
    watch = Watch(tmp_path / "queue.sqlite")
    watch.wait(500, run)
    run.kill()
    assert scheduler.poll() is None
    queue = ["--drain", "--queue", tmp_path / "queue.sqlite"]
    again = control.start("screening", "worker", *queue, *cluster.options, log="again")
    watch.wait(1500, again)
    assert again.wait(120) == 0, control.said("again")
    check(tmp_path / "report", names)


def test_client_without_certificate_of_the_authority_is_rejected(
    cluster, words, tmp_path, make_certificates
):
    control, worker, *_others = cluster.hosts
    write_films(tmp_path / "films", 10)
    cluster.schedule()
    cluster.work(worker)
    cluster.tls = make_certificates(tmp_path / "others")
    run = control.start("screening", "run", *words, *cluster.options, log="run")
    assert run.wait(120) == 1
    assert "cannot agree on TLS" in control.said("run")
