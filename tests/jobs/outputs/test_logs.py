"""Log format: one line per event, with job and film, and without names of people."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jobs.outputs.logs import LogObserver, configure
from jobs.worker.worker import work
from makers import write_film
from queue_makers import FakeClock, make_job, make_tools, scored_row
from screening.report.drift.drift_csv import Drift
from screening.report.writer import Report
from screening.results import Reason, Row, Status


@pytest.fixture(autouse=True)
def _as_it_was():
    """Restore the process-wide configuration and context."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def log():
    """The log as JSON lines."""
    stream = io.StringIO()
    configure(json=True, stream=stream)
    return stream


@pytest.fixture
def watcher(log, clock):
    return LogObserver(clock)


def lines(log):
    return [json.loads(line) for line in log.getvalue().splitlines()]


def events(log, name):
    """Return the lines of one event, without time and level."""
    found = [line for line in lines(log) if line["event"] == name]
    return [
        {key: line[key] for key in line if key not in ("at", "level", "event")} for line in found
    ]


def row_of(status, code, sha256="ab" * 32):
    return Row(
        film="Doe/Jane.png", sha256=sha256, status=status, reason=Reason(code, "some detail")
    )


def test_line_starts_with_time_level_and_event():
    stream = io.StringIO()
    configure(json=False, stream=stream)
    structlog.contextvars.bind_contextvars(job="job-1")
    before = datetime.now(UTC)
    structlog.get_logger().warning("it_happened", films=3, why="two words")
    line = stream.getvalue()
    at, rest = line.split(" ", 1)
    assert rest == 'level=warning event=it_happened job=job-1 films=3 why="two words"\n'
    logged = datetime.fromisoformat(at.removeprefix("at="))
    assert logged.utcoffset().total_seconds() == 0
    assert abs((logged - before).total_seconds()) < 60


def test_json_lines_have_same_fields(log):
    structlog.contextvars.bind_contextvars(job="job-1")
    structlog.get_logger().info("it_happened", films=3, none=None)
    (line,) = lines(log)
    assert datetime.fromisoformat(line.pop("at")).utcoffset().total_seconds() == 0
    assert line == {
        "level": "info",
        "event": "it_happened",
        "job": "job-1",
        "films": 3,
        "none": None,
    }


@pytest.mark.parametrize("as_json", [False, True])
@given(text=st.text())
def test_logged_text_stays_on_one_printable_line(as_json, text):
    stream = io.StringIO()
    configure(json=as_json, stream=stream)
    structlog.get_logger().info("it_happened", said=text)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_drift_is_warning_without_values_from_films(watcher, log, tmp_path):
    line = Drift(
        measure="scanners",
        against="last nights",
        window="tonight",
        n=100,
        breach=True,
        sentence="The share of the manufacturer Doe is 1 tonight.",
    )
    drift = [line, replace(line, measure="views", breach=False)]
    watcher.reported(Report(folder=tmp_path, rows=[], drift=drift), 0.25)
    assert events(log, "drift") == [
        {"measure": "scanners", "against": "last nights", "window": "tonight"}
    ]
    assert [each["level"] for each in lines(log) if each["event"] == "drift"] == ["warning"]


def test_debug_messages_are_not_logged(log):
    structlog.get_logger().debug("it_happened")
    assert log.getvalue() == ""


def test_job_is_logged_from_start_to_end(watcher, log, clock, tmp_path):
    job = make_job("job-1", worker="host:1:2", fence=2)
    watcher.started(job, 10, 7)
    clock.seconds += 1.5
    rows = [scored_row("a.png"), row_of(Status.FAILED, "not_decodable")]
    watcher.committed(rows, 0.01)
    clock.seconds += 0.5
    watcher.committed([scored_row("b.png")], 0.01)
    watcher.reported(Report(folder=tmp_path, rows=[*rows, scored_row("b.png")]), 0.25)
    clock.seconds += 1
    watcher.ended(replace(job, exit_code=3))
    numbers = {"scored": 1, "refused": 0, "failed": 1, "duplicate": 0}
    assert events(log, "job_started") == [
        {
            "job": "job-1",
            "worker": "host:1:2",
            "claim": 2,
            "model_sha256": "f" * 16,
            "films": 10,
            "left": 7,
        }
    ]
    assert events(log, "batch_committed") == [
        {"job": "job-1", "films": 2, **numbers, "seconds": 1.5},
        {"job": "job-1", "films": 1, **numbers, "failed": 0, "seconds": 0.5},
    ]
    assert events(log, "job_reported") == [
        {"job": "job-1", "films": 3, **numbers, "scored": 2, "seconds": 0.25}
    ]
    assert events(log, "job_ended") == [{"job": "job-1", "exit_code": 3, "seconds": 3.0}]


@pytest.mark.parametrize(
    ("status", "code", "level"),
    [(Status.FAILED, "not_decodable", "warning"), (Status.REFUSED, "lateral", "info")],
)
def test_film_without_probability_has_its_own_line(watcher, log, status, code, level):
    watcher.started(make_job(), 10, 7)
    watcher.committed([scored_row("a.png"), row_of(status, code)], 0.01)
    event = f"film_{status.value}"
    assert events(log, event) == [{"job": "job-1", "film": "ab" * 8, "position": 5, "reason": code}]
    assert lines(log)[-1]["level"] == level


def test_positions_continue_across_batches_and_restart_with_job(watcher, log):
    bad = row_of(Status.FAILED, "not_decodable")
    watcher.started(make_job("a"), 3, 3)
    watcher.committed([scored_row("a.png"), bad], 0.01)
    watcher.committed([bad], 0.01)
    watcher.started(make_job("b"), 1, 1)
    watcher.committed([bad], 0.01)
    positions = [(line["job"], line["position"]) for line in events(log, "film_failed")]
    assert positions == [("a", 2), ("a", 3), ("b", 1)]


def test_film_without_hash_is_identified_by_position(watcher, log):
    watcher.started(make_job(), 1, 1)
    watcher.committed([row_of(Status.FAILED, "vanished", sha256="")], 0.01)
    assert events(log, "film_failed") == [{"job": "job-1", "position": 1, "reason": "vanished"}]


@pytest.mark.parametrize(
    "row", [row_of(Status.DUPLICATE, "same_bytes"), row_of(Status.FAILED, "not_screened", "")]
)
def test_duplicate_and_unreached_films_have_no_line(watcher, log, row):
    watcher.started(make_job(), 1, 1)
    watcher.committed([row], 0.01)
    assert [line["event"] for line in lines(log)] == ["job_started", "batch_committed"]


@pytest.mark.parametrize(
    ("code", "level"), [(0, "info"), (3, "warning"), (4, "error"), (1, "error")]
)
def test_log_level_of_job_end_depends_on_exit_code(watcher, log, code, level):
    watcher.ended(make_job(exit_code=code))
    assert [line["level"] for line in lines(log)] == [level]


def test_job_that_never_started_has_no_duration(watcher, log, clock):
    watcher.started(make_job("a"), 1, 1)
    watcher.ended(make_job("a", exit_code=0))
    watcher.ended(make_job("b", exit_code=1))
    assert events(log, "job_ended")[-1] == {"job": "b", "exit_code": 1}


def test_job_is_unbound_after_its_end(watcher, log):
    watcher.started(make_job(), 1, 1)
    structlog.get_logger().info("meanwhile")
    watcher.ended(make_job(exit_code=0))
    structlog.get_logger().info("later")
    assert events(log, "meanwhile") == [{"job": "job-1"}]
    assert events(log, "later") == [{}]


@pytest.mark.parametrize("hash_names", [False, True])
def test_no_film_name_or_folder_is_logged(store, screener, watcher, log, tmp_path, hash_names):
    folder = tmp_path / "Doe"
    write_film(folder / "Jane" / "Jane.png", seed=1)
    (folder / "Jane" / "empty Jane.png").touch()
    (folder / "Jane.txt").write_text("Jane Doe")
    (folder / "link to Jane").symlink_to("/")
    store.add(make_job(folder=folder, hash_names=hash_names))
    store.add(make_job("job-2", folder=tmp_path / "Doe, who is not there"))
    assert len(list(work(make_tools(store, screener, watcher=watcher), drain=True))) == 2
    names = [line["event"] for line in lines(log)]
    assert names.count("film_failed") == 1
    assert names.count("film_refused") == 2
    assert names.count("job_ended") == 2
    assert "Doe" in store.get("job-2").message
    assert "Doe" not in log.getvalue()
    assert "Jane" not in log.getvalue()


def test_default_clock(log):
    watcher = LogObserver()
    watcher.started(make_job(), 1, 1)
    watcher.ended(make_job(exit_code=0))
    (ended,) = events(log, "job_ended")
    assert 0 <= ended["seconds"] < FakeClock().seconds
