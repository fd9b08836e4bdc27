"""A Dask cluster on virtual hosts that can be killed and unplugged."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.hosts import Host, NoHosts, hosts
from tiny_model import write_bundle

TOP = Path(__file__).parents[2]


@dataclass
class Cluster:
    """A scheduler on the first host; workers can run on the others."""

    hosts: list[Host]
    tls: Path

    @property
    def address(self) -> str:
        return f"tls://{self.hosts[0].address}:8786"

    @property
    def options(self) -> list[object]:
        """Options for `screening run` and `screening worker`."""
        files = {"ca": "ca.pem", "cert": "cluster.pem", "key": "cluster.key"}
        tls = [word for name, file in files.items() for word in (f"--tls-{name}", self.tls / file)]
        return ["--engine", "dask", "--scheduler", self.address, *tls]

    def schedule(self) -> subprocess.Popen[bytes]:
        """Start the scheduler."""
        host = self.hosts[0]
        where = ["--host", f"tls://{host.address}", "--port", 8786, "--no-dashboard"]
        return host.start("dask", "scheduler", *where, *self._credentials, log="scheduler")

    def work(self, host: Host, processes: int = 1, **extra: str) -> subprocess.Popen[bytes]:
        """Start a worker on one of the hosts."""
        how = ["--nworkers", processes, "--nthreads", 1, "--no-dashboard"]
        place = [
            "--local-directory",
            host.place,
            "--preload",
            TOP / "tests/support/cluster/poison.py",
        ]
        words = ["dask", "worker", self.address, *how, *place, *self._credentials]
        return host.start(*words, log="worker", **extra)

    @property
    def _credentials(self) -> list[object]:
        files = {"ca-file": "ca.pem", "cert": "cluster.pem", "key": "cluster.key"}
        return [word for name, file in files.items() for word in (f"--tls-{name}", self.tls / file)]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A bundle whose model predicts pneumonia for bright films."""
    return write_bundle(tmp_path_factory.mktemp("bright") / "bundle").path


@pytest.fixture
def cluster(tmp_path, certificates):
    """One host for the scheduler and three for workers; nothing is running yet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCREENING")}
    state = {"XDG_STATE_HOME": str(tmp_path / "state"), "SCREENING_RUN_SETTLE": "0"}
    dask = {"DASK_CONFIG": str(TOP / "docker" / "cluster" / "dask.yaml")}
    try:
        with hosts(4, tmp_path / "hosts", kept | state | dask) as made:
            yield Cluster(made, certificates)
    except NoHosts as error:
        pytest.skip(str(error))
