"""All workers of a queue use the same key, so that patients have the same hash in all reports."""

from dataclasses import replace

import pytest

from jobs import exit_codes
from jobs.queue.jobs import State
from jobs.worker.job_run import LEASE
from jobs.worker.worker import work
from makers import write_film
from queue_makers import make_job, make_tools
from screening.privacy import PatientKey

OTHER = PatientKey(b"another secret, 32 bytes of it..")


@pytest.fixture
def submit(store, folder):
    write_film(folder / "0.png", seed=0)

    def submitted(name, **changes):
        return store.add(make_job(name, folder, **changes))

    return submitted


def worked(store, screener):
    (ended,) = work(make_tools(store, screener), drain=True)
    return ended


def test_other_key_is_refused_before_listing_without_revealing_secret(store, submit, screener, key):
    submit("job-1")
    worked(store, screener)
    second = submit("job-2", retries=3)
    ended = worked(store, replace(screener, key=OTHER))
    assert (ended.state, ended.exit_code) == (State.FAILED, exit_codes.ERROR)
    assert "/patient.key does not contain the key" in ended.message
    assert (ended.films, second.report.exists()) == (0, False)
    for secret in (key.secret, OTHER.secret):
        assert secret.hex() not in ended.message
        assert secret.decode() not in ended.message


def test_same_key_in_other_file_is_accepted(store, submit, screener, key, tmp_path):
    submit("job-1")
    worked(store, screener)
    submit("job-2", key=tmp_path / "copy.key")
    same = replace(screener, key=PatientKey(bytes(key.secret)))
    assert worked(store, same).exit_code == exit_codes.OK


def test_job_is_not_resumed_with_other_key(store, submit, screener, clock):
    submit("job-1")
    job = store.claim("another-host:1:1", LEASE)
    store.pin("patient_key", screener.key.fingerprint)
    store.list_films(job, [], [])
    clock.seconds += LEASE + 1
    assert worked(store, replace(screener, key=OTHER)).exit_code == exit_codes.ERROR


def test_refused_job_succeeds_with_right_key(store, submit, screener):
    from screening.audit import Event

    submit("job-1")
    worked(store, screener)
    job = submit("job-2")
    worked(store, replace(screener, key=OTHER))
    store.retry(job.name, Event("2026-11-23T06:00:00+00:00", "retried", job.name))
    assert worked(store, screener).exit_code == exit_codes.OK


def test_queue_stores_only_fingerprint_of_key(store, submit, screener, key):
    submit("job-1")
    worked(store, screener)
    assert store.pin("patient_key", "") == key.fingerprint
    assert key.fingerprint not in key.secret.hex()
