"""Time zone of the machine."""

import pytest
import tzlocal.unix

from jobs.errors import ScheduleError
from jobs.queue.schedules import Times, local_zone


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """Clear tzlocal's cache."""
    monkeypatch.setattr(tzlocal.unix, "_cache_tz", None)


@pytest.mark.parametrize("tz", ["Europe/Berlin", ":Europe/Berlin"])
def test_zone_is_read_from_environment(monkeypatch, tz):
    monkeypatch.setenv("TZ", tz)
    assert local_zone() == "Europe/Berlin"


@pytest.mark.parametrize("tz", ["CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Bonn", "../zone"])
def test_zone_without_known_name_is_refused(monkeypatch, tz):
    monkeypatch.setenv("TZ", tz)
    with pytest.raises(ScheduleError, match="give one, such as --tz Europe/Berlin"):
        local_zone()


def test_machine_has_zone_without_environment(monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    assert Times("30 2 * * *", local_zone())
