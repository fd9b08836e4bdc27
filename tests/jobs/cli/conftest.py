"""Fixtures for tests of commands: a working folder, a queue and a bundle."""

import os
import signal

import pytest

from makers import write_chest_film
from queue_makers import (
    FakeClock,
    empty_bundle,
    opened_store,
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A separate working folder, with no other SCREENING variables in the environment."""
    for variable in [name for name in os.environ if name.startswith("SCREENING_")]:
        monkeypatch.delenv(variable)
    # No other program is writing the films, so there is nothing to wait for.
    for command in ("RUN", "SUBMIT"):
        monkeypatch.setenv(f"SCREENING_{command}_SETTLE", "0")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def queue(home):
    return home / "state" / "screening" / "queue.sqlite"


@pytest.fixture
def store(queue):
    """The default queue, opened as by another program."""
    with opened_store(queue, FakeClock()) as store:
        yield store


@pytest.fixture
def bundle(home):
    """A bundle without a model; it can be submitted but not run."""
    return empty_bundle(home / "bundle")


@pytest.fixture
def films(folder):
    for number in range(2):
        write_chest_film(folder / f"{number}.png", number)
    return folder
