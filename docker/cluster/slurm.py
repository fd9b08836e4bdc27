r"""Screen on a SLURM cluster: dask-jobqueue starts the workers, `screening` sends them films.

    docker/cluster/certificates.sh ~/screening-tls
    python docker/cluster/slurm.py --jobs 8 --cores 16 --memory 32GB --tls ~/screening-tls \
        -- run /shared/films --out /shared/report

This starts a scheduler in this process, requests 8 jobs of 16 cores from SLURM, waits for the first of
them, and runs the `screening` command after ``--`` with ``--engine dask``. Afterwards the jobs are
cancelled; the exit code is that of `screening`. Films, bundle, certificates (readable only by you) and
this Python environment must be at the same paths on every node.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster

_HERE: Final = Path(__file__).resolve().parent


def main() -> int:
    """Start the workers, screen, and stop the workers; return the exit code of `screening`."""
    arguments, words = arguments_of(sys.argv[1:])
    with cluster_of(arguments) as cluster, cluster.get_client() as client:
        cluster.scale(jobs=arguments.jobs)
        client.wait_for_workers(1)
        command = [Path(sys.executable).with_name("screening"), *words]
        screening = subprocess.Popen([*command, *options_of(arguments, cluster)])
        # `screening` finishes the films in progress. It receives Ctrl-C directly.
        signal.signal(signal.SIGINT, lambda *_heard: None)
        signal.signal(signal.SIGTERM, lambda *_heard: screening.terminate())
        return screening.wait()


def arguments_of(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse the options for SLURM, and split off the command for `screening`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1, help="SLURM jobs")
    parser.add_argument(
        "--cores", type=int, default=8, help="cores of each job; one process on each core"
    )
    parser.add_argument(
        "--memory", default="16GB", help="memory of each job; 1 to 2 GB per process"
    )
    parser.add_argument("--walltime", default="08:00:00", help="time limit of each job")
    parser.add_argument("--queue", help="SLURM partition")
    parser.add_argument("--account", help="SLURM account")
    parser.add_argument("--interface", help="network interface of the nodes, such as ib0")
    parser.add_argument("--tls", type=Path, required=True, help="folder from certificates.sh")
    own, _dashes, others = _split(list(words))
    return parser.parse_args(own), others


def cluster_of(arguments: argparse.Namespace) -> "SLURMCluster":
    """Create the scheduler, and the settings with which SLURM starts the workers."""
    os.environ.setdefault("DASK_CONFIG", str(_HERE / "dask.yaml"))
    from dask_jobqueue import SLURMCluster
    from distributed import Security

    ca, cert, key = certificates(arguments.tls)
    roles = ("scheduler", "worker", "client")
    own = {f"tls_{role}_cert": str(cert) for role in roles}
    own |= {f"tls_{role}_key": str(key) for role in roles}
    return SLURMCluster(
        cores=arguments.cores,
        processes=arguments.cores,
        memory=arguments.memory,
        walltime=arguments.walltime,
        queue=arguments.queue,
        account=arguments.account,
        interface=arguments.interface,
        protocol="tls://",
        security=Security(tls_ca_file=str(ca), require_encryption=True, **own),
        local_directory="${TMPDIR:-/tmp}",
        job_script_prologue=[f"export DASK_CONFIG={os.environ['DASK_CONFIG']}"],
        worker_extra_args=["--no-dashboard"],
        scheduler_options={"dashboard": False},
    )


def options_of(arguments: argparse.Namespace, cluster: "SLURMCluster") -> list[str]:
    """Return the options that make `screening` use the cluster."""
    ca, cert, key = certificates(arguments.tls)
    words = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
    return [*words, "--tls-ca", str(ca), "--tls-cert", str(cert), "--tls-key", str(key)]


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Return the absolute paths of CA certificate, certificate and key from ``certificates.sh``."""
    folder = folder.expanduser().absolute()
    return folder / "ca.pem", folder / "cluster.pem", folder / "cluster.key"


def _split(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Split at ``--``: words before it, the word itself, words after it."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
