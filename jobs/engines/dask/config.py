"""Connection settings of a Dask cluster, and the mapping of local folders to the workers' paths."""

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from jobs.errors import ClusterUnusable

if TYPE_CHECKING:
    from distributed import Security

_TLS: Final = "tls"
_TCP: Final = "tcp"


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Cluster settings of this machine; they are not part of a job.

    The machine that screens decides where the work runs.

    Attributes:
        address: scheduler address, ``tls://HOST:PORT``.
        ca: certificate (PEM) of the authority trusted by the whole cluster.
        cert: this machine's certificate.
        key: this machine's private key.
        insecure: allow films' headers to cross the network unencrypted.
        places: folders of this machine (absolute, without symlinks), each with its location on the
            workers: a path or an fsspec URL.

    Raises:
        ClusterUnusable: if the address is invalid, is open to everybody, or a certificate is
            missing or damaged.
    """

    address: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False
    places: tuple[tuple[Path, str], ...] = ()

    def __post_init__(self) -> None:
        scheme, host, _port = _parts(self.address)
        if scheme == _TLS:
            self._check_certificates()
        elif not (self.insecure or _is_loopback(host)):
            raise ClusterUnusable(
                f"{self.address} is not encrypted: anybody on the network could read patient data and "
                "answer in place of the cluster; use tls:// with certificates "
                "(docker/cluster/certificates.sh makes them), or --insecure on an isolated network"
            )

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port of the scheduler."""
        return _parts(self.address)[1:]

    @property
    def security(self) -> "Security | None":
        """Dask security settings; None for plain TCP."""
        if _parts(self.address)[0] != _TLS:
            return None
        from distributed import Security

        return Security(
            tls_ca_file=str(self.ca),
            tls_client_cert=str(self.cert),
            tls_client_key=str(self.key),
            require_encryption=True,
        )

    def place(self, folder: Path) -> str:
        """Translate a local folder to the workers' path for it; the longest prefix wins."""
        for here, there in sorted(self.places, key=lambda pair: -len(pair[0].parts)):
            if folder.is_relative_to(here):
                rest = folder.relative_to(here).as_posix()
                return there if rest == "." else f"{there.removesuffix('/')}/{rest}"
        return str(folder)

    def _check_certificates(self) -> None:
        """Check now, not at the first connection: by then the job would be in the queue."""
        if self.ca is None or self.cert is None or self.key is None:
            raise ClusterUnusable(
                f"{self.address} needs --tls-ca, --tls-cert and --tls-key; "
                "docker/cluster/certificates.sh makes all three"
            )
        try:
            context = ssl.create_default_context(cafile=self.ca)
            # An empty password fails at once; by default OpenSSL would prompt for it.
            context.load_cert_chain(self.cert, self.key, password="")
        except OSError as error:
            raise ClusterUnusable(
                f"{self.ca}, {self.cert} and {self.key} cannot be used as CA certificate, "
                f"certificate and private key: {error.strerror or error}"
            ) from error


def is_url(place: str) -> bool:
    """Return True if only fsspec can open `place`."""
    return "://" in place


def _parts(address: str) -> tuple[str, str, int]:
    """Split an address into scheme, host and port."""
    try:
        parts = urlsplit(address)
        if parts.scheme in (_TLS, _TCP) and parts.hostname and parts.port:
            return parts.scheme, parts.hostname, parts.port
    except ValueError:  # the port is not a number
        pass
    raise ClusterUnusable(f"{address!r} is not the address of a scheduler, such as tls://host:8786")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
