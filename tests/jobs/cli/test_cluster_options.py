"""Tests for the cluster options, which are checked before anything is enqueued."""

import pytest

from command import screening
from jobs import exit_codes
from jobs.cli import cluster
from makers import write_film

#: Click's exit code for a usage error.
USAGE_ERROR = 2


def flat(text):
    """Return the message of a usage error without its frame and line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("command", ["run", "worker", "watch"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "dask"], "--engine dask needs --scheduler tls://HOST:8786"),
        (["--scheduler", "tls://host:8786"], "add --engine dask"),
        (["--engine", "dask", "--scheduler", "host"], "is not the address of a scheduler"),
        (["--engine", "dask", "--scheduler", "tls://host:8786"], "needs --tls-ca"),
        (["--engine", "dask", "--scheduler", "tcp://host:8786"], "or --insecure"),
        (["--map-path", "/films"], "is not LOCAL=REMOTE, such as /films=/mnt/films"),
    ],
)
def test_invalid_cluster_options_are_usage_errors(command, words, said, folder, queue):
    place = [] if command == "worker" else [folder]
    result = screening(command, *place, *words)
    assert result.exit_code == USAGE_ERROR
    assert said in flat(result.stderr)
    assert not queue.exists()


def test_missing_dask_prints_install_command(folder, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _name: None)
    result = screening("run", folder, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == USAGE_ERROR
    assert "pip install 'screening[cluster]'" in flat(result.stderr)


def test_cluster_options_can_come_from_the_environment(folder, monkeypatch):
    write_film(folder / "a.png", 1)
    monkeypatch.setattr("jobs.engines.dask.client._FIRST", 0)
    monkeypatch.setenv("SCREENING_ENGINE", "dask")
    monkeypatch.setenv("SCREENING_SCHEDULER", "tcp://127.0.0.1:9")
    result = screening("run", folder)
    assert result.exit_code == exit_codes.ERROR
    assert "the scheduler tcp://127.0.0.1:9 cannot be reached" in flat(result.stderr)
