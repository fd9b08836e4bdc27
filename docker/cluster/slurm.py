r"""Screen on a SLURM cluster: dask-jobqueue brings the machines, `screening` gives them films.

    docker/cluster/certificates.sh ~/screening-tls
    python docker/cluster/slurm.py --jobs 8 --cores 16 --memory 32GB --tls ~/screening-tls \
        -- run /shared/films --out /shared/report

starts a scheduler in this process, asks SLURM for 8 jobs of 16 cores, waits for the first of them,
and runs what follows ``--`` with ``--engine dask``. When it has ended, the jobs are cancelled; the
exit code is that of `screening`. Films, bundle and this Python environment are at the same paths on
every node; the certificates, too, readable for you alone.
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
    """Bring the machines, screen, and let them go; `screening`'s exit code."""
    arguments, words = arguments_of(sys.argv[1:])
    with cluster_of(arguments) as cluster, cluster.get_client() as client:
        cluster.scale(jobs=arguments.jobs)
        client.wait_for_workers(1)
        command = [Path(sys.executable).with_name("screening"), *words]
        screening = subprocess.Popen([*command, *options_of(arguments, cluster)])
        # It finishes the films in hand; Ctrl-C reaches it by itself.
        signal.signal(signal.SIGINT, lambda *_heard: None)
        signal.signal(signal.SIGTERM, lambda *_heard: screening.terminate())
        return screening.wait()


def arguments_of(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What is asked of SLURM, and of `screening`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1, help="SLURM jobs")
    parser.add_argument("--cores", type=int, default=8, help="of each; one process on each core")
    parser.add_argument("--memory", default="16GB", help="of each job; 1 to 2 GB for a process")
    parser.add_argument("--walltime", default="08:00:00", help="after which SLURM ends a job")
    parser.add_argument("--queue", help="SLURM's partition")
    parser.add_argument("--account", help="who pays")
    parser.add_argument("--interface", help="network that the nodes share, like ib0")
    parser.add_argument("--tls", type=Path, required=True, help="what certificates.sh made")
    own, _dashes, others = _split(list(words))
    return parser.parse_args(own), others


def cluster_of(arguments: argparse.Namespace) -> "SLURMCluster":
    """The scheduler, here, and what its workers are started with, there."""
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
    """What makes `screening` use the cluster."""
    ca, cert, key = certificates(arguments.tls)
    words = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
    return [*words, "--tls-ca", str(ca), "--tls-cert", str(cert), "--tls-key", str(key)]


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Authority, certificate and key, as ``certificates.sh`` names them; absolute."""
    folder = folder.expanduser().absolute()
    return folder / "ca.pem", folder / "cluster.pem", folder / "cluster.key"


def _split(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """What comes before ``--``, it, and what comes after it."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
