"""Model-based test: SQL stores behave like the in-memory model for any sequence of calls."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from jobs.errors import JobsError
from jobs.queue.jobs import Job, State
from jobs.queue.sql import schema
from jobs.queue.sql.queries import job_of, line_of_event
from jobs.queue.sql.store import SqlStore
from memory_store import MemoryStore, stamp
from queue_makers import FakeClock, make_job
from screening.audit import Event
from screening.files import Found
from screening.results import Row, Status
from store_makers import empty, opened

FILMS = ("b.png", "a.png", "größe '\".dcm", "sub/x")
HASHES = ("a" * 64, "b" * 64)

#: Index of a job by the age of its submission or claim: 0 for the latest.
ago = st.integers(0, 5)
films = st.lists(st.sampled_from([*FILMS, "never listed"]), max_size=4)
leases = st.sampled_from([30.0, 60.0, 600.0])
workers = st.sampled_from(["A", "B", "C"])
listings = st.lists(
    st.builds(
        Found,
        st.sampled_from(FILMS),
        st.integers(0, 2**40),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=4,
    unique_by=lambda found: found.film,
)
outcomes = st.fixed_dictionaries(
    {
        "sha256": st.sampled_from(HASHES),
        "status": st.sampled_from(Status),
        "probability": st.sampled_from([None, 0.25]),
    }
)


class QueueMachine(RuleBasedStateMachine):
    """Makes the same calls to a store and its model."""

    def __init__(self, database, clock):
        super().__init__()
        self.clock = clock
        self.clock.seconds = 1_000_000.0
        empty(database)
        self.database = database
        self.store, self.model = SqlStore(database), MemoryStore(clock)
        self.names, self.claims = [], []
        self.last = None

    @initialize()
    def begin(self):
        self.add("/one", "i", "", 0, 0, ())
        self.add("/one", "", "nightly", 0, 0, ())
        self.claim("A", 60.0)
        self.list_films(0, [Found(film, 100) for film in FILMS])
        self.commit_next(0, 1, {"sha256": HASHES[0], "status": Status.FAILED}, 60.0)

    def both(self, method, *arguments):
        """Check that both give the same answer or error; return the answer, None for an error."""
        self.last = (method, arguments)
        answer = outcome(self.model, method, arguments)
        assert outcome(self.store, method, arguments) == answer
        return answer[1]

    def name(self, ago):
        return self.names[-1 - ago % len(self.names)]

    def job(self, ago):
        """Return a job as it was claimed; most of them are not held any more."""
        return self.claims[-1 - ago % len(self.claims)]

    @rule(
        folder=st.sampled_from(["/one", "/two"]),
        identity=st.sampled_from(["", "i", "k"]),
        schedule=st.sampled_from(["", "", "nightly"]),
        priority=st.integers(-1, 1),
        later=st.sampled_from([0, 0, 50]),
        tags=st.sampled_from([(), ("ward 7", "größe")]),
    )
    def add(self, folder, identity, schedule, priority, later, tags):
        job = make_job(
            f"job-{len(self.names) + 1}",
            Path(folder),
            identity=identity,
            schedule=schedule,
            priority=priority,
            tags=tags,
            not_before=self.clock.seconds + later if later else 0.0,
        )
        self.both("add", job)
        self.names.append(job.name)

    @rule(ago=ago)
    def add_what_has_this_name(self, ago):
        self.both("add", make_job(self.name(ago), Path("/three")))

    @rule(worker=workers, lease=leases)
    def claim(self, worker, lease):
        self.keep(self.both("claim", worker, lease))

    @rule(worker=workers, lease=leases, ago=ago)
    def claim_only(self, worker, lease, ago):
        self.keep(self.both("claim", worker, lease, self.name(ago)))

    def keep(self, claimed):
        if claimed is not None:
            self.claims.append(self.model.get(claimed["name"]))

    @rule(ago=ago, lease=leases)
    def renew(self, ago, lease):
        self.both("renew", self.job(ago), lease)

    @rule(ago=ago)
    def expire(self, ago):
        self.both("expire", self.job(ago))

    @rule(ago=ago, listed=listings)
    def list_films(self, ago, listed):
        job = self.job(ago)
        event = Event(stamp(self.clock()), "listed", job.name, {"files": str(len(listed))})
        self.both("list_films", job, listed, [event, event])

    @rule(ago=ago, films=films, outcome=outcomes, lease=leases, taken=films)
    def commit(self, ago, films, outcome, lease, taken):
        rows = [Row(film=film, **outcome) for film in films]
        self.both("commit", self.job(ago), rows, lease, taken)

    @rule(ago=ago, number=st.integers(0, 4), outcome=outcomes, lease=leases)
    def commit_next(self, ago, number, outcome, lease):
        job = self.job(ago)
        left = [found.film for found in self.model.films_left(job)]
        rows = [Row(film=film, **outcome) for film in left[:number]]
        self.both("commit", job, rows, lease, left[number : 2 * number])

    @rule(
        worker=workers,
        listed=listings,
        number=st.integers(0, 4),
        outcome=outcomes,
        exit_code=st.sampled_from([0, 0, 3, 4, None]),
    )
    def work(self, worker, listed, number, outcome, exit_code):
        """Do what an undisturbed worker does."""
        claimed = len(self.claims)
        self.claim(worker, 60.0)
        if len(self.claims) > claimed:
            self.list_films(0, listed)
            self.commit_next(0, number, outcome, 60.0)
            if exit_code is not None:
                self.finish(0, exit_code)

    @rule(ago=ago, word=st.sampled_from(["resumed", "given_up"]))
    def record(self, ago, word):
        job = self.job(ago)
        self.both("record", job, Event(stamp(self.clock()), word, job.name, {"note": "größer"}))

    @rule(ago=ago)
    def clear_suspicion(self, ago):
        self.both("clear_suspicion", self.job(ago))

    @rule(ago=ago)
    def release(self, ago):
        self.both("release", self.job(ago))

    @rule(ago=ago, seconds=st.sampled_from([0.0, 50.0]), attempts=st.integers(0, 3))
    def postpone(self, ago, seconds, attempts):
        self.both("postpone", self.job(ago), seconds, "the folder is away", attempts)

    @rule(ago=ago, exit_code=st.sampled_from([0, 1, 3, 4]))
    def finish(self, ago, exit_code):
        self.both("finish", self.job(ago), exit_code, f"ended {exit_code}")

    @rule(ago=ago)
    def mark_notified(self, ago):
        self.both("mark_notified", self.job(ago))

    @rule(ago=ago)
    def cancel(self, ago):
        self.both("cancel", self.name(ago))

    @rule(ago=ago, user=st.sampled_from(["", "by hand"]))
    def retry(self, ago, user):
        name = self.name(ago)
        self.both("retry", name, Event(stamp(self.clock()), "retried", name, {"user": user}))

    @rule(before=st.sampled_from([-1, 0, 100]))
    def prune(self, before):
        self.both("prune", stamp(self.clock.seconds - before))

    @rule(name=st.sampled_from(["patient_key", "x"]), value=st.sampled_from(["1", "2"]))
    def pin(self, name, value):
        self.both("pin", name, value)

    @rule(seconds=st.sampled_from([1, 31, 61, 601, -1, -100, -5000]))
    def time_passes(self, seconds):
        """Advance the clock, or set it back."""
        self.clock.seconds += seconds

    @rule()
    def the_answer_was_lost(self):
        method, arguments = self.last
        claimed = self.both(method, *arguments)
        if method == "claim":
            self.keep(claimed)

    @rule(ago=ago, states=st.lists(st.sampled_from(State), max_size=2))
    def look(self, ago, states):
        name = self.name(ago)
        self.both("get", name)
        self.both("totals")
        self.both("jobs", *states)
        self.both("pending_notifications", stamp(self.clock.seconds - 60))
        self.look_into(make_job(name, Path("/one")))

    def look_into(self, job):
        for method in ("films", "films_left", "deaths", "rows", "counts", "events"):
            self.both(method, job)
        for sha256 in HASHES:
            self.both("scored_before", job, sha256)

    @invariant()
    def all_is_the_same(self):
        assert tables_of(self.database) == model_of(self.model)

    def teardown(self):
        for job in self.model.jobs():
            self.look_into(job)


def outcome(store, method, arguments):
    """Return the type of a call's error, and its result."""
    try:
        result = getattr(store, method)(*arguments)
    except JobsError as error:
        return type(error), None
    return None, told(sorted(result) if method == "prune" else result)


def told(result):
    """Convert a result so that all fields of its records are compared."""
    if isinstance(result, list):
        return [told(one) for one in result]
    return vars(result) if isinstance(result, Job | Found) else result


def tables_of(database):
    """Return every job with its lease, films and events, and the pins."""
    with database.reading() as connection:
        lines = connection.execute(select(schema.jobs).order_by(schema.jobs.c.id)).mappings().all()
        found = {
            line["id"]: (vars(job_of(dict(line))), (line["lease"], line["told"]), [], [])
            for line in lines
        }
        order = (schema.films.c.job_id, schema.films.c.position)
        for job_id, _position, *film in connection.execute(select(schema.films).order_by(*order)):
            found[job_id][2].append(film)
        for _id, job_id, *event in connection.execute(select(schema.events).order_by("id")):
            found[job_id][3].append(event)
        pins = {pin.name: pin.value for pin in connection.execute(select(schema.pins))}
    return list(found.values()), pins


def model_of(model):
    """Return the same data from the model."""
    entries = [
        (
            vars(entry.job),
            (entry.lease, entry.told),
            [line_of(film) for film in entry.films.values()],
            [list(line_of_event(event).values()) for event in entry.events],
        )
        for entry in model._entries.values()
    ]
    return entries, model._pins


def line_of(film):
    found, row = film.found, film.row
    outcome = [None, None, None] if row is None else [row.status, row.sha256, row.as_dict()]
    listed = [found.film, found.size, found.modified_ns, found.is_file]
    return [*listed, film.in_hand, film.deaths, *outcome, film.lost_fence]


@pytest.fixture
def drive(request, monkeypatch):
    """Run the state machine; with ``--long`` at full length."""

    def driven(queue, examples):
        clock = FakeClock()
        monkeypatch.setattr("jobs.queue.sql.store.now", lambda: stamp(clock()))
        is_long = request.config.getoption("--long")
        length = settings(
            max_examples=300 if is_long else examples,
            stateful_step_count=50 if is_long else 30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        with opened(queue, clock) as database:
            run_state_machine_as_test(lambda: QueueMachine(database, clock), settings=length)

    return driven


def test_sqlite_store_behaves_like_model(drive, tmp_path):
    drive(tmp_path / "queue.sqlite", examples=30)


def test_postgresql_store_behaves_like_model(drive, postgres_url):
    drive(postgres_url, examples=15)
