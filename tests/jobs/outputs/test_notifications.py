"""Notifications of ended jobs: content, delivery, and failures of commands and servers."""

import json
import os
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import stamina
from structlog.testing import capture_logs

from jobs.errors import NotificationFailed, UnusableNotification
from jobs.outputs.notifications import Notifier, document
from jobs.queue.jobs import State
from queue_makers import make_job
from sabotage import end, is_running

COUNTS = {"scored": 7, "failed": 1}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """Retry without pauses, and bypass proxies for local requests."""
    monkeypatch.setenv("no_proxy", "*")
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture
def job():
    """A job whose fields contain a patient's name wherever they can."""
    return make_job(
        "20261122-213005-9f3c2a",
        folder=Path("/films/Doe"),
        report=Path("/reports/Doe"),
        labels=Path("/labels/Doe.csv"),
        key=Path("/keys/Doe"),
        model=Path("/models/Doe"),
        worker="Doe:1:2",
        message="the folder /films/Doe cannot be listed",
        tags=("night", "ward 3"),
        state=State.FAILED,
        exit_code=1,
        started_at="2026-11-22T21:30:06.000+00:00",
        finished_at="2026-11-22T21:31:06.000+00:00",
    )


class Server(ThreadingHTTPServer):
    """Answers requests in turn as planned: a status, or a function of the handler."""

    daemon_threads = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.planned = []
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook?token=secret"


class Handler(BaseHTTPRequestHandler):
    """Records the requests."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, self.headers, body))
        answer = self.server.planned.pop(0)
        if callable(answer):
            answer(self)
            return
        self.send_response(answer)
        self.end_headers()

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args):
        """Log nothing."""


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def shell(script):
    return ("sh", "-c", script)


def test_document_has_exactly_these_fields(job):
    assert document(job, COUNTS) == {
        "job": "20261122-213005-9f3c2a",
        "state": "failed",
        "exit_code": 1,
        "tags": ["night", "ward 3"],
        "submitted_at": "2026-11-22T21:30:05.123+00:00",
        "started_at": "2026-11-22T21:30:06.000+00:00",
        "finished_at": "2026-11-22T21:31:06.000+00:00",
        "model_sha256": "f" * 64,
        "films": {"scored": 7, "refused": 0, "failed": 1, "duplicate": 0},
    }


def test_no_patient_name_in_notification(job, server, tmp_path):
    server.planned = [200]
    told = tmp_path / "told"
    command = shell(f'cat > {told}; env | grep ^SCREENING_ >> {told}; echo "$@" >> {told}')
    Notifier(command=command, url=server.url).notify(job, COUNTS | {"Doe.png": 1})
    ((_method, path, headers, body),) = server.requests
    for text in (told.read_text(), path, str(headers), body.decode()):
        assert "Doe" not in text
    assert "20261122-213005-9f3c2a" in told.read_text()


def test_notifier_without_targets_does_nothing(job):
    Notifier.of(None, None).notify(job, COUNTS)


def test_command_gets_document_on_stdin_and_result_in_environment(job, tmp_path):
    told, around = tmp_path / "told", tmp_path / "around"
    script = f'cat > {told}; echo "$SCREENING_JOB $SCREENING_STATE $SCREENING_EXIT_CODE" > {around}'
    Notifier(command=shell(script)).notify(job, COUNTS)
    assert json.loads(told.read_bytes()) == document(job, COUNTS)
    assert around.read_text() == "20261122-213005-9f3c2a failed 1\n"


def test_command_that_ignores_stdin_succeeds(job):
    Notifier(command=("true",)).notify(job, COUNTS)


def test_command_runs_without_shell(job, tmp_path):
    notifier = Notifier.of(f"touch '{tmp_path}/a b' {tmp_path}/$HOME", None)
    notifier.notify(job, COUNTS)
    (tmp_path / "a b").unlink()
    (tmp_path / "$HOME").unlink()


def test_command_output_is_discarded_except_first_stderr_line(job, capfd):
    script = "echo output; echo first >&2; echo second >&2"
    with capture_logs() as logs:
        Notifier(command=shell(script)).notify(job, COUNTS)
    assert capfd.readouterr() == ("", "")
    (line,) = logs
    assert (line["event"], line["said"], line["job"]) == ("notification_command", "first", job.name)


def test_stderr_line_is_truncated(job):
    with capture_logs() as logs:
        Notifier(command=shell("head -c 100000 /dev/zero | tr '\\0' x >&2")).notify(job, COUNTS)
    assert logs[0]["said"] == "x" * 200


def test_error_has_exit_code_and_stderr(job):
    notifier = Notifier(command=shell("echo no network >&2; exit 7"))
    with pytest.raises(NotificationFailed, match=f"{job.name}.* sh exited with 7: no network"):
        notifier.notify(job, COUNTS)


def test_error_has_signal_of_killed_command(job):
    with pytest.raises(NotificationFailed, match="exited with -9: no output"):
        Notifier(command=shell("kill -9 $$")).notify(job, COUNTS)


def test_missing_command_is_named(job):
    with pytest.raises(NotificationFailed, match="/nowhere/tell cannot be run: No such file"):
        Notifier(command=("/nowhere/tell",)).notify(job, COUNTS)


def test_hanging_command_is_killed_with_its_children(job, tmp_path):
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! $$ > {pids}; wait"
    notifier = Notifier(command=shell(script), run_within=2.0)
    with pytest.raises(NotificationFailed, match="sh took more than 2 s and was stopped"):
        notifier.notify(job, COUNTS)
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    try:
        # Both were killed; one of them has lost its parent and is reaped a little later.
        for _try in range(500):
            if not any(map(is_running, started)):
                break
            time.sleep(0.01)
        assert not any(map(is_running, started))
    finally:
        for pid in started:
            end(pid)


def test_background_process_of_command_is_not_waited_for(job, tmp_path):
    pid = tmp_path / "pid"
    Notifier(command=shell(f"sleep 600 & echo $! > {pid}")).notify(job, COUNTS)
    left = int(pid.read_text())
    try:
        assert is_running(left)
    finally:
        end(left)


def test_missing_temporary_folder_is_notification_failure(job, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    with pytest.raises(NotificationFailed, match="sh cannot be run: No such file"):
        Notifier(command=shell("true")).notify(job, COUNTS)


def test_server_gets_document_once(job, server):
    server.planned = [204]
    Notifier.of(None, server.url).notify(job, COUNTS)
    ((method, path, headers, body),) = server.requests
    assert (method, path) == ("POST", "/hook?token=secret")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == document(job, COUNTS)


@pytest.mark.parametrize("busy", [500, 503, 429])
def test_busy_server_is_retried(job, server, busy):
    server.planned = [busy, busy, 200]
    Notifier(url=server.url).notify(job, COUNTS)
    bodies = [json.loads(body) for _method, _path, _headers, body in server.requests]
    assert bodies == [document(job, COUNTS)] * 3


def test_server_that_stays_busy_fails_after_three_attempts(job, server):
    server.planned = [500, 502, 503, 200]
    with pytest.raises(NotificationFailed, match=r"127\.0\.0\.1 answered 503"):
        Notifier(url=server.url).notify(job, COUNTS)
    assert server.planned == [200]


@pytest.mark.parametrize("status", [400, 401, 404])
def test_client_errors_are_not_retried(job, server, status):
    server.planned = [status, 200]
    with pytest.raises(NotificationFailed, match=f"answered {status}"):
        Notifier(url=server.url).notify(job, COUNTS)
    assert server.planned == [200]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/elsewhere", "file:///etc/passwd", "ftp://127.0.0.1/"])
def test_redirects_are_not_followed(job, server, status, target):
    def redirect(handler):
        handler.send_response(status)
        handler.send_header("Location", target)
        handler.end_headers()

    server.planned = [redirect]
    with pytest.raises(NotificationFailed, match=f"answered {status}"):
        Notifier(url=server.url).notify(job, COUNTS)
    assert [method for method, *_rest in server.requests] == ["POST"]


def test_unreachable_server_fails_after_three_attempts(job):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/hook?token=secret"
        with capture_logs() as logs, pytest.raises(NotificationFailed) as error:
            Notifier(url=url).notify(job, COUNTS)
    assert "the server 127.0.0.1 cannot be reached" in str(error.value)
    assert "refused" in str(error.value)
    assert len(logs) == 2
    assert "secret" not in f"{error.value}{logs}"


def test_hanging_server_times_out(job, server):
    over = threading.Event()
    server.planned = [lambda _handler: over.wait(60)] * 3
    try:
        with pytest.raises(NotificationFailed, match="cannot be reached: timed out"):
            Notifier(url=server.url, answer_within=0.1).notify(job, COUNTS)
    finally:
        over.set()


def test_answer_without_http_is_failure(job, server):
    server.planned = [lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9\r\n")] * 3
    with pytest.raises(NotificationFailed, match="SSH-2"):
        Notifier(url=server.url).notify(job, COUNTS)


def test_each_target_is_notified_even_if_other_fails(job, server, tmp_path):
    told = tmp_path / "told"
    server.planned = [200, 404]
    with pytest.raises(NotificationFailed, match="exited with 1") as error:
        Notifier(command=("false",), url=server.url).notify(job, COUNTS)
    assert "server" not in str(error.value)
    with pytest.raises(NotificationFailed, match="answered 404"):
        Notifier(command=shell(f"cat > {told}"), url=server.url).notify(job, COUNTS)
    assert told.exists()
    assert server.planned == []


def test_error_contains_both_failures(job, server):
    server.planned = [404]
    with pytest.raises(NotificationFailed, match=r"exited with 1.*; the server .* answered 404"):
        Notifier(command=("false",), url=server.url).notify(job, COUNTS)


@pytest.mark.parametrize("command", ["tell 'them", " ", "tell\0them"])
def test_invalid_command_is_rejected_on_construction(command):
    with pytest.raises(UnusableNotification, match="the command"):
        Notifier.of(command, None)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/secret",
        "ftp://server/secret",
        "server/secret",
        "http:///secret",
        "http://server:port/secret",
        "http://server:0/secret",
        "http://[::1/secret",
        "http://user:secret@server/",
        "http://server/a secret",
        "http://server/se\ncret",
        "http://server/secr\u00e9t",
        "javascript:secret",
    ],
)
def test_invalid_url_is_rejected_without_showing_it(url):
    with pytest.raises(UnusableNotification, match="the address for notifications") as error:
        Notifier.of(None, url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.org/T/B/x?y=%C3%A9", "http://[::1]:8080", "HTTP://localhost/"]
)
def test_valid_url_is_used_unchanged(url):
    assert Notifier.of(None, url).url == url


def test_environment_of_process_is_not_changed(job):
    before = dict(os.environ)
    Notifier(command=("true",)).notify(replace(job, exit_code=0, state=State.DONE), COUNTS)
    assert dict(os.environ) == before
