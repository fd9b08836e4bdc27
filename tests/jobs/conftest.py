"""A queue of its own for every test."""

import pytest

from queue_makers import FakeClock, opened_store


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(tmp_path, clock):
    with opened_store(tmp_path / "queue.sqlite", clock) as store:
        yield store
