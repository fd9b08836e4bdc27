"""Every store: what the films of a site's last nights were like."""

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
    """A finished job of night `number`, and the profile that is kept of it."""
    changes.setdefault("folder", Path(f"/films/{number}"))
    job = claimed(store, f"job-{number}", (), submitted_at=at(number), **changes)
    store.save_night(job, {"night": number, "views": {"größe '\x00": 1}})
    store.finish(job, 0)
    return job


def at(number):
    """When the job of a night was submitted."""
    return f"2026-11-{number:02}T21:30:05.123+00:00"


def asked(store, number, most=9, **changes):
    """Numbers of the nights before that of `number`."""
    changes.setdefault("folder", Path(f"/films/{number}"))
    job = make_job(f"job-{number}", submitted_at=at(number), **changes)
    return [night["night"] for night in store.nights(job, most)]


def test_a_site_has_no_nights_at_first(store):
    assert asked(store, 1) == []


def test_a_profile_comes_back_as_it_was_kept(store):
    remember(store, 1)
    (night,) = store.nights(make_job("job-2", Path("/films/2")), 1)
    assert night == {"night": 1, "views": {"größe '\x00": 1}}


def test_nights_come_oldest_first_and_only_the_last_of_them(store):
    for number in (3, 1, 2):
        remember(store, number)
    assert asked(store, 4) == [1, 2, 3]
    assert asked(store, 4, most=2) == [2, 3]


def test_a_night_is_not_compared_with_itself_or_with_later_ones(store):
    for number in (1, 2, 3):
        remember(store, number)
    assert asked(store, 2) == [1]


def test_nights_of_other_sites_and_models_are_left_out(store):
    remember(store, 1, folder=Path("/elsewhere/1"))
    remember(store, 2, model_sha256="e" * 64)
    remember(store, 3, schedule="nightly")
    remember(store, 4)
    assert asked(store, 9) == [4]


def test_nights_of_a_schedule_belong_together_wherever_their_folders_are(store):
    remember(store, 1, schedule="nightly", folder=Path("/films/2026/11/1/frontal"))
    assert asked(store, 2, schedule="nightly", folder=Path("/films/2026/12/1/frontal")) == [1]
    assert asked(store, 2, schedule="weekly", folder=Path("/films/2026/12/1/frontal")) == []


def test_a_job_is_one_night_however_often_it_is_remembered(store):
    job = claimed(store, "job-1", (), folder=Path("/films/1"), submitted_at=at(1))
    store.save_night(job, {"night": 7})
    store.save_night(job, {"night": 8})
    assert asked(store, 2) == [8]


def test_a_night_outlives_its_job(store):
    remember(store, 1)
    assert store.prune("9999") == ["job-1"]
    assert asked(store, 2) == [1]


def test_only_the_holder_of_a_job_remembers_its_night(store, clock):
    job = claimed(store, "job-1", (), folder=Path("/films/1"))
    clock.seconds += LEASE + 1
    store.claim("B", LEASE)
    with pytest.raises(LeaseLost):
        store.save_night(job, {"night": 1})
    assert asked(store, 30) == []


def test_of_each_site_and_model_the_newest_nights_are_kept(store, monkeypatch):
    for module in ("jobs.queue.sql.store", "memory_store"):
        monkeypatch.setattr(f"{module}.NIGHTS", 2)
    remember(store, 1, schedule="nightly")
    for number in (2, 3, 4):
        remember(store, number)
    assert asked(store, 9) == [3, 4]
    assert asked(store, 9, schedule="nightly") == [1]


def test_the_site_of_a_name_that_is_not_utf_8_is_text():
    job = make_job(folder=Path(b"/films \xff/1".decode(errors="surrogateescape")))
    job.site.encode()
    assert job.site != replace(job, folder=Path("/films ?/1")).site
