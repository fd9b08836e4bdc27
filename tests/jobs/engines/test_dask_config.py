"""Connection settings of a cluster: encrypted except on the local machine or on request."""

import subprocess
from pathlib import Path

import pytest

from jobs.engines.dask.config import ClusterConfig, is_url
from jobs.errors import ClusterUnusable

SCRIPT = Path(__file__).parents[3] / "docker" / "cluster" / "certificates.sh"


def encrypted(made, **changes):
    files = {"ca": made / "ca.pem", "cert": made / "cluster.pem", "key": made / "cluster.key"}
    return ClusterConfig(address="tls://10.0.0.1:8786", **files | changes)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:8786",
        "tls://host",
        "tcp://:8786",
        "tls://host:port",
        "tls://host:99999",
        "http://host:8786",
        "inproc://127.0.0.1/1/1",
        "tls://[::1:8786",
    ],
)
def test_invalid_address_is_refused(address):
    with pytest.raises(ClusterUnusable, match="is not the address of a scheduler, such as tls://"):
        ClusterConfig(address=address, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.3", "localhost", "[::1]"])
def test_plain_tcp_is_allowed_on_loopback(host):
    assert ClusterConfig(address=f"tcp://{host}:8786").security is None


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.0.7", "localhost.example", "[fd00::1]"])
def test_plain_tcp_to_other_hosts_requires_insecure(host):
    with pytest.raises(ClusterUnusable, match=r"use tls:// with certificates.+or --insecure"):
        ClusterConfig(address=f"tcp://{host}:8786")
    assert ClusterConfig(address=f"tcp://{host}:8786", insecure=True).security is None


def test_tls_has_client_certificate(certificates):
    security = encrypted(certificates).security
    assert security.require_encryption
    assert security.tls_client_cert == str(certificates / "cluster.pem")
    assert security.get_connection_args("client")["ssl_context"] is not None


@pytest.mark.parametrize("missing", ["ca", "cert", "key"])
def test_tls_requires_all_three_files(certificates, missing):
    with pytest.raises(ClusterUnusable, match="needs --tls-ca, --tls-cert and --tls-key"):
        encrypted(certificates, **{missing: None})


@pytest.mark.parametrize(
    ("what", "file"), [("key", "ca.key"), ("cert", "cluster.key"), ("ca", "cluster.key")]
)
def test_mismatched_certificate_files_are_refused_early(certificates, what, file):
    with pytest.raises(
        ClusterUnusable, match="cannot be used as CA certificate, certificate and private key"
    ):
        encrypted(certificates, **{what: certificates / file})


def test_certificate_files_are_private(certificates):
    assert {path.name for path in certificates.iterdir()} == {
        "ca.key",
        "ca.pem",
        "cluster.key",
        "cluster.pem",
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in certificates.iterdir())


def test_existing_keys_are_not_overwritten(certificates):
    before = {path.name: path.read_bytes() for path in certificates.iterdir()}
    again = subprocess.run([SCRIPT, certificates], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "already contains keys" in again.stderr
    assert {path.name: path.read_bytes() for path in certificates.iterdir()} == before


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("/films", "/mnt/films/"),
        ("/films/2026/11", "/mnt/films/2026/11"),
        ("/films/big", "s3://bucket"),
        ("/films/big/a b", "s3://bucket/a b"),
        ("/filmsandmore", "/filmsandmore"),
        ("/elsewhere", "/elsewhere"),
        ("/memory", "memory://"),
        ("/memory/a", "memory://a"),
    ],
)
def test_longest_prefix_decides_path_on_workers(folder, place):
    places = ((Path("/films"), "/mnt/films/"), (Path("/films/big"), "s3://bucket"))
    places += ((Path("/memory"), "memory://"),)
    access = ClusterConfig(address="tcp://127.0.0.1:8786", places=places)
    assert access.place(Path(folder)) == place
    assert is_url(place) == (not place.startswith("/"))
