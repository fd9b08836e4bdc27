"""Where a command is tested: a folder, a queue and a bundle of its own."""

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
    """A working folder of its own, and nothing in the environment that tests did not put there."""
    for variable in [name for name in os.environ if name.startswith("SCREENING_")]:
        monkeypatch.delenv(variable)
    # The films were written just now, and nobody writes more.
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
    """The default queue, as another program sees it."""
    with opened_store(queue, FakeClock()) as store:
        yield store


@pytest.fixture
def bundle(home):
    """A bundle that can be submitted, but holds no model."""
    return empty_bundle(home / "bundle")


@pytest.fixture
def films(folder):
    for number in range(2):
        write_chest_film(folder / f"{number}.png", number)
    return folder
