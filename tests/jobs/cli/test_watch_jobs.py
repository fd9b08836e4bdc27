"""Tests for ``screening jobs watch``."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from command import screening
from jobs import exit_codes
from jobs.cli.watch_jobs import JobMonitor, JsonLines, Lines, LiveTable, display_on, table, watch
from jobs.queue.jobs import State
from queue_makers import found, make_job, scored_row
from screening.results import Reason, Row, Status

#: Later than any real time, so that no lease has expired.
LEASE = 1e11
ROOT = Path(__file__).parents[3]


class ScriptedSleep:
    """Advances the clock and runs the next step in place of a sleep between two updates."""

    def __init__(self, clock, *steps):
        self._clock = clock
        self._steps = list(steps)

    def __call__(self, seconds):
        self._clock.seconds += seconds
        self._steps.pop(0)()


class RecordingDisplay:
    """A display that records every update."""

    def __init__(self):
        self.updates = []

    def show(self, snapshots):
        self.updates.append(list(snapshots))


@pytest.fixture
def running(store):
    """A running job of ten films, claimed by a worker."""
    store.add(make_job())
    job = store.claim("host:1:2", LEASE)
    store.list_films(job, found(*(f"{number}.png" for number in range(10))), [])
    return job


@pytest.fixture
def commits(store, running):
    """Make a step that commits films by number."""

    def step(*numbers, failed=()):
        rows = [scored_row(f"{number}.png") for number in numbers]
        rows += [
            Row(film=f"{n}.png", status=Status.FAILED, reason=Reason("unreadable")) for n in failed
        ]
        return lambda: store.commit(running, rows, LEASE)

    return step


@pytest.fixture
def watched(store, clock):
    """Watch until the command ends and return each update; updates are two seconds apart."""

    def seen(*steps, names=(), display=None):
        recorder = display or RecordingDisplay()
        watch(JobMonitor(store, names, clock), recorder, 2.0, ScriptedSleep(clock, *steps))
        return recorder.updates if display is None else None

    return seen


def test_watch_ends_when_no_job_is_open(store, running, commits, watched):
    updates = watched(commits(0, 1, 2, 3), commits(4, 5), lambda: store.finish(running, 0))
    assert [[snapshot.job.state.value for snapshot in update] for update in updates] == [
        ["running"],
        ["running"],
        ["running"],
        ["done"],
    ]
    assert [update[0].rate for update in updates] == [None, 2.0, 1.5, None]
    assert [update[0].left for update in updates] == [None, 3.0, pytest.approx(4 / 1.5), None]


def test_new_worker_gets_a_new_throughput(store, running, commits, watched, clock):
    def stolen():
        store.expire(running)
        assert store.claim("other:3:4", LEASE).fence == 2

    updates = watched(commits(0, 1, 2, 3), stolen, lambda: store.cancel(running.name))
    assert [update[0].rate for update in updates] == [None, 2.0, None, None]
    assert updates[2][0].job.worker == "other:3:4"


def test_new_jobs_appear_and_running_jobs_come_first(store, running, watched):
    def more():
        store.add(make_job("job-0"))
        store.add(make_job("job-2", priority=5))
        store.claim("host:5:6", LEASE, only="job-2")

    def end():
        for name in ("job-0", "job-1", "job-2"):
            store.cancel(name)

    updates = watched(more, end)
    assert [snapshot.job.name for snapshot in updates[1]] == ["job-1", "job-2", "job-0"]
    assert {snapshot.job.state for snapshot in updates[2]} == {State.CANCELLED}


def test_ended_job_is_shown_once(store, running, watched):
    store.add(make_job("job-2"))
    updates = watched(lambda: store.finish(running, 0), lambda: None, lambda: store.cancel("job-2"))
    seen = [[snapshot.job.name for snapshot in update] for update in updates]
    assert seen == [["job-1", "job-2"], ["job-1", "job-2"], ["job-2"], ["job-2"]]


def test_pruned_job_is_ignored(store, running, watched):
    def forget():
        store.finish(running, 0)
        store.prune("9999")

    assert watched(forget)[-1] == []


def test_named_jobs_are_watched_until_all_have_ended(store, running, watched):
    for name in ("job-2", "job-3"):
        store.add(make_job(name))
    updates = watched(
        lambda: store.finish(running, 0),
        lambda: store.cancel("job-2"),
        names=["job-2", "job-1"],
    )
    assert [len(update) for update in updates] == [2, 2, 2]
    assert store.get("job-3").state is State.QUEUED


def test_plain_lines_are_printed_only_on_changes(running, store, commits, watched, capsys):
    watched(
        commits(0, 1, failed=[2]),
        lambda: None,
        lambda: store.finish(running, 3),
        display=Lines(),
    )
    lines = [line.split("  ", maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "job-1  running    0/10  host:1",
        "job-1  running    3/10  1 failed  1.5 films/s  5 s left  host:1",
        "job-1  done       3/10  1 failed",
    ]


def test_json_has_one_line_per_update_with_the_list_fields(
    running, store, commits, watched, capsys
):
    watched(commits(0, 1, 2), lambda: store.finish(running, 0), display=JsonLines())
    updates = [json.loads(line)["jobs"] for line in capsys.readouterr().out.splitlines()]
    assert [update[0]["films_per_second"] for update in updates] == [None, 1.5, None]
    assert [update[0]["seconds_left"] for update in updates] == [None, 4.667, None]
    (job,) = json.loads(screening("jobs", "list", "--json").stdout)
    assert updates[-1][0] == job | {"films_per_second": None, "seconds_left": None}


def terminal(**settings):
    return Console(file=StringIO(), width=80, force_terminal=True, color_system=None, **settings)


def test_live_table_keeps_a_line_for_each_ended_job(running, store, commits, watched):
    store.add(make_job("20261122-213005-9f3c2a", not_before=4e9, message="long " * 40))
    console = terminal()
    with LiveTable(console) as display:
        watched(
            commits(0, 1, 2, 3),
            lambda: store.finish(running, 0),
            lambda: store.cancel("20261122-213005-9f3c2a"),
            display=display,
        )
    shown = console.file.getvalue()
    assert "job-1  done       4/10" in shown
    assert "20261122-213005-9f3c2a  cancelled" in shown
    assert "2.0" in shown


def test_table_shows_a_bar_or_a_reason_in_80_columns(running, store, commits, clock):
    store.add(make_job("20261122-213005-9f3c2a", not_before=4e9, message="long " * 40))
    commits(0, 1, 2, 3)()
    console = terminal()
    console.print(table(JobMonitor(store, [], clock).look()))
    header, first, second = console.file.getvalue().splitlines()
    assert all(cell_len(line) <= 80 for line in (header, first, second))
    assert "━" in first
    assert "4/10" in first
    assert "host:1" in first
    assert second.startswith("20261122-213005-9f3c2a  waits until 2096")


def test_live_table_needs_a_terminal_with_cursor_control():
    with display_on(terminal(), as_json=False) as display:
        assert isinstance(display, LiveTable)
    with display_on(terminal(_environ={"TERM": "dumb"}), as_json=False) as display:
        assert isinstance(display, Lines)
    with display_on(Console(file=StringIO()), as_json=False) as display:
        assert isinstance(display, Lines)
    with display_on(terminal(), as_json=True) as display:
        assert isinstance(display, JsonLines)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_watch_of_empty_queue_ends_at_once(queue, words):
    result = screening("jobs", "watch", *words)
    assert result.exit_code == exit_codes.OK
    assert result.stderr == f"The queue {queue} has no open jobs.\n"


@pytest.mark.parametrize(
    ("codes", "code"), [([0], 0), ([0, 3], 3), ([3, 1, 0], 1), ([1, 4], 4), ([None, 3], 1)]
)
def test_exit_code_is_the_most_severe_of_the_named_jobs(store, codes, code):
    for number, ended in enumerate([*codes, 4]):
        store.add(make_job(f"{number}-job"))
        if ended is None:
            store.cancel(f"{number}-job")
        else:
            store.finish(store.claim("A", 60), ended)
    names = [f"{number}-" for number in range(len(codes))]
    assert screening("jobs", "watch", *names).exit_code == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_watch_exits_with_130_and_changes_nothing(store, running, number):
    before = store.get("job-1"), store.events(running)
    command = "from jobs.cli.main import cli; cli(['jobs', 'watch', '--interval', '0.1'])"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    ) as watching:
        assert "job-1  running" in watching.stdout.readline()
        watching.send_signal(number)
        assert watching.wait(30) == exit_codes.INTERRUPTED
        assert "Traceback" not in watching.stderr.read()
    assert (store.get("job-1"), store.events(running)) == before
