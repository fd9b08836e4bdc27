"""Options that choose between this machine and a Dask cluster."""

import functools
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from jobs.engines.dask.config import ClusterConfig
from jobs.errors import ClusterUnusable

_LOCAL: Final = "local"
_DASK: Final = "dask"

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class _PathMapping(click.ParamType[tuple[Path, str]]):
    """A folder on this machine and its path on the workers."""

    name = "HERE=THERE"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[Path, str]:
        here, equals, there = str(value).partition("=")
        if not (here and equals and there):
            self.fail(
                f"{value!r} is not LOCAL=REMOTE, such as /films=/mnt/films", parameter, context
            )
        return Path(os.path.realpath(here)), there


_OPTIONS: Final = (
    click.option(
        "--engine",
        type=click.Choice([_LOCAL, _DASK]),
        envvar="SCREENING_ENGINE",
        default=_LOCAL,
        show_default=True,
        help="Screen on this machine or on a Dask cluster.",
    ),
    click.option(
        "--scheduler",
        envvar="SCREENING_SCHEDULER",
        metavar="URL",
        help="Address of the Dask scheduler, such as tls://host:8786.",
    ),
    click.option(
        "--tls-ca",
        type=_FILE,
        envvar="SCREENING_TLS_CA",
        help="Certificate of the cluster's certificate authority (PEM).",
    ),
    click.option(
        "--tls-cert",
        type=_FILE,
        envvar="SCREENING_TLS_CERT",
        help="Certificate of this machine (PEM).",
    ),
    click.option(
        "--tls-key",
        type=_FILE,
        envvar="SCREENING_TLS_KEY",
        help="Private key of this machine (PEM).",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        help="Use the cluster without encryption. Only for an isolated network.",
    ),
    click.option(
        "--map-path",
        "places",
        type=_PathMapping(),
        multiple=True,
        envvar="SCREENING_MAP_PATH",
        help="Folder on this machine, and its path or fsspec URL on the cluster, such as "
        "/films=s3://bucket/films. Can be repeated.",
    ),
)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the cluster options; the command gets them as one `cluster`, None for this machine."""

    @functools.wraps(command)
    def with_cluster(
        *arguments: Any,
        engine: str,
        scheduler: str | None,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        insecure: bool,
        places: Sequence[tuple[Path, str]],
        **asked: Any,
    ) -> Any:
        try:
            if engine == _LOCAL:
                _check_local(scheduler)
                cluster = None
            else:
                cluster = ClusterConfig(
                    address=_address(scheduler),
                    ca=tls_ca,
                    cert=tls_cert,
                    key=tls_key,
                    insecure=insecure,
                    places=tuple(places),
                )
        except ClusterUnusable as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, cluster=cluster, **asked)

    for option in reversed(_OPTIONS):
        with_cluster = option(with_cluster)
    return with_cluster


def _check_local(scheduler: str | None) -> None:
    if scheduler is not None:
        raise ClusterUnusable("--scheduler is only for a Dask cluster; add --engine dask")


def _address(scheduler: str | None) -> str:
    if scheduler is None:
        raise ClusterUnusable("--engine dask needs --scheduler tls://HOST:8786")
    if find_spec("distributed") is None:
        raise ClusterUnusable(
            "--engine dask needs Dask; run: pip install 'screening[cluster]', here and on every "
            "machine of the cluster"
        )
    return scheduler
