"""All stores: profiles of the last nights of a site."""

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import LeaseLost
from queue_makers import make_job
from store_makers import LEASE, claimed


@pytest.fixture
def store(any_store):
    return any_store


def remember(store, number, **changes):
    """Make a finished job of night `number`, with a saved profile."""
    changes.setdefault("folder", Path(f"/films/{number}"))
    job = claimed(store, f"job-{number}", (), submitted_at=at(number), **changes)
    store.save_night(job, {"night": number, "views": {"größe '\x00": 1}})
    store.finish(job, 0)
    return job


def at(number):
    """Return the time of submission for a night."""
    return f"2026-11-{number:02}T21:30:05.123+00:00"


def asked(store, number, most=9, **changes):
    """Return the numbers of the nights before night `number`."""
    changes.setdefault("folder", Path(f"/films/{number}"))
    job = make_job(f"job-{number}", submitted_at=at(number), **changes)
    return [night["night"] for night in store.nights(job, most)]


def test_new_site_has_no_nights(store):
    assert asked(store, 1) == []


def test_profile_is_stored_unchanged(store):
    remember(store, 1)
    (night,) = store.nights(make_job("job-2", Path("/films/2")), 1)
    assert night == {"night": 1, "views": {"größe '\x00": 1}}


def test_last_nights_are_returned_oldest_first(store):
    for number in (3, 1, 2):
        remember(store, number)
    assert asked(store, 4) == [1, 2, 3]
    assert asked(store, 4, most=2) == [2, 3]


def test_nights_are_only_earlier_ones(store):
    for number in (1, 2, 3):
        remember(store, number)
    assert asked(store, 2) == [1]


def test_other_sites_and_models_are_left_out(store):
    remember(store, 1, folder=Path("/elsewhere/1"))
    remember(store, 2, model_sha256="e" * 64)
    remember(store, 3, schedule="nightly")
    remember(store, 4)
    assert asked(store, 9) == [4]


def test_nights_of_one_schedule_belong_to_one_site(store):
    remember(store, 1, schedule="nightly", folder=Path("/films/2026/11/1/frontal"))
    assert asked(store, 2, schedule="nightly", folder=Path("/films/2026/12/1/frontal")) == [1]
    assert asked(store, 2, schedule="weekly", folder=Path("/films/2026/12/1/frontal")) == []


def test_saving_night_again_replaces_it(store):
    job = claimed(store, "job-1", (), folder=Path("/films/1"), submitted_at=at(1))
    store.save_night(job, {"night": 7})
    store.save_night(job, {"night": 8})
    assert asked(store, 2) == [8]


def test_night_outlives_its_job(store):
    remember(store, 1)
    assert store.prune("9999") == ["job-1"]
    assert asked(store, 2) == [1]


def test_only_holder_of_job_can_save_night(store, clock):
    job = claimed(store, "job-1", (), folder=Path("/films/1"))
    clock.seconds += LEASE + 1
    store.claim("B", LEASE)
    with pytest.raises(LeaseLost):
        store.save_night(job, {"night": 1})
    assert asked(store, 30) == []


def test_newest_nights_of_each_site_and_model_are_kept(store, monkeypatch):
    for module in ("jobs.queue.sql.store", "memory_store"):
        monkeypatch.setattr(f"{module}.NIGHTS", 2)
    remember(store, 1, schedule="nightly")
    for number in (2, 3, 4):
        remember(store, number)
    assert asked(store, 9) == [3, 4]
    assert asked(store, 9, schedule="nightly") == [1]


def test_site_is_valid_text_for_invalid_utf8():
    job = make_job(folder=Path(b"/films \xff/1".decode(errors="surrogateescape")))
    job.site.encode()
    assert job.site != replace(job, folder=Path("/films ?/1")).site
