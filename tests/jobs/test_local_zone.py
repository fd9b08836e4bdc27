"""The time zone of the machine."""

import pytest
import tzlocal.unix

from jobs.errors import ScheduleError
from jobs.queue.schedules import Times, local_zone


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """tzlocal keeps what it found."""
    monkeypatch.setattr(tzlocal.unix, "_cache_tz", None)


@pytest.mark.parametrize("tz", ["Europe/Berlin", ":Europe/Berlin"])
def test_the_environment_names_the_zone(monkeypatch, tz):
    monkeypatch.setenv("TZ", tz)
    assert local_zone() == "Europe/Berlin"


@pytest.mark.parametrize("tz", ["CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Bonn", "../zone"])
def test_a_zone_without_a_known_name_is_refused(monkeypatch, tz):
    monkeypatch.setenv("TZ", tz)
    with pytest.raises(ScheduleError, match="give one, like Europe/Berlin"):
        local_zone()


def test_without_the_environment_the_machine_still_has_a_zone(monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    assert Times("30 2 * * *", local_zone())
