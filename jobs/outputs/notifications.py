"""Notify a user's command or URL that a job has ended."""

import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, Final, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import stamina
import structlog

from jobs.errors import NotificationFailed, UnusableNotification
from jobs.queue.jobs import Job
from screening import __version__
from screening.results import Status

#: Maximum of characters passed on from a command's or a server's message.
_MOST_SAID: Final = 200


@dataclass(frozen=True, kw_only=True)
class Notifier:
    """Targets and time limits of notifications.

    Attributes:
        command: a program and its arguments, run without a shell; empty for none.
        url: http or https URL that receives the document by POST; empty for none.
        run_within: seconds after which the command and all its child processes are killed.
        answer_within: timeout in seconds for each step of one request.
        tries: attempts in all if the server is unreachable or answers 429 or 5xx.
    """

    command: tuple[str, ...] = ()
    url: str = ""
    run_within: float = 30.0
    answer_within: float = 10.0
    tries: int = 3

    @classmethod
    def of(cls, command: str | None, url: str | None) -> Self:
        """Parse the values of the command line; the command is quoted as for a POSIX shell.

        Raises:
            UnusableNotification: with the problem.
        """
        return cls(
            command=_split_command(command) if command else (), url=_checked_url(url) if url else ""
        )

    def notify(self, job: Job, counts: Mapping[str, int]) -> None:
        """Notify both targets that `job` has ended, the command first, even if one of them fails.

        The command receives the document on standard input, and SCREENING_JOB, SCREENING_STATE and
        SCREENING_EXIT_CODE in its environment.

        Args:
            job: as stored after its end.
            counts: films by status.

        Raises:
            NotificationFailed: with the targets that failed, and why; the job is not affected.
        """
        payload = document(job, counts)
        failures = []
        for way in (self._run, self._post):
            try:
                way(payload)
            except NotificationFailed as error:
                failures.append(str(error))
        if failures:
            raise NotificationFailed(
                f"no notification of the end of job {job.name}: {'; '.join(failures)}"
            )

    def _run(self, payload: Mapping[str, Any]) -> None:
        if not self.command:
            return
        program = self.command[0]
        try:
            code, line = _run(self.command, payload, self.run_within)
        except subprocess.TimeoutExpired as error:
            raise NotificationFailed(
                f"the command {program} took more than {self.run_within:g} s and was stopped"
            ) from error
        except OSError as error:
            raise NotificationFailed(
                f"the command {program} cannot be run: {error.strerror}"
            ) from error
        if code:
            raise NotificationFailed(
                f"the command {program} exited with {code}: {line or 'no output'}"
            )
        if line:
            structlog.get_logger().info("notification_command", job=payload["job"], said=line)

    def _post(self, payload: Mapping[str, Any]) -> None:
        if not self.url:
            return
        headers = {"Content-Type": "application/json", "User-Agent": f"screening/{__version__}"}
        request = Request(self.url, _encoded(payload), headers, method="POST")  # noqa: S310  # checked
        opener = build_opener(_NoRedirects)
        attempts = stamina.retry_context(
            _is_transient, attempts=self.tries, timeout=None, wait_initial=1.0
        )
        try:
            for attempt in attempts:
                with attempt, opener.open(request, timeout=self.answer_within):
                    pass
        except (OSError, HTTPException) as error:
            # The rest of the URL often contains a secret.
            server = urlsplit(self.url).hostname
            raise NotificationFailed(f"the server {server} {_cause(error)}") from error


def document(job: Job, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the complete content of a notification.

    The keys are `job` (its name), `state`, `exit_code`, `tags`, `submitted_at`, `started_at`,
    `finished_at`, `model_sha256`, and `films`, the number of films by status. Folder, report,
    labels file, film names and messages are left out: they may contain a patient's name, and it is
    unknown who receives a notification. Tags are chosen by the user.
    """
    return {
        "job": job.name,
        "state": job.state.value,
        "exit_code": job.exit_code,
        "tags": list(job.tags),
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "model_sha256": job.model_sha256,
        "films": {status.value: counts.get(status.value, 0) for status in Status},
    }


def _split_command(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UnusableNotification(f"the command {command!r} cannot be parsed: {error}") from error
    if not words or "\0" in command:
        raise UnusableNotification(f"the command {command!r} has no program to run")
    return words


def _checked_url(url: str) -> str:
    """Validate the URL; an error shows no more of it than its scheme."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise UnusableNotification(
            f"the address for notifications is not valid: {error}"
        ) from error
    if parts.scheme not in ("http", "https") or not usable:
        raise UnusableNotification(
            f"the address for notifications has the scheme {parts.scheme!r} and "
            f"{'a' if usable else 'no'} server; expected http://SERVER/… or https://SERVER/…"
        )
    if "@" in parts.netloc or not url.isascii() or not url.isprintable() or " " in url:
        raise UnusableNotification(
            "the address for notifications contains a user name, a space or a character that must be "
            "written as %XX; for a server that needs a password, use --notify-command"
        )
    return url


def _encoded(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload).encode("ascii") + b"\n"


def _environment(payload: Mapping[str, Any]) -> dict[str, str]:
    named = {
        f"SCREENING_{name.upper()}": str(payload[name]) for name in ("job", "state", "exit_code")
    }
    return os.environ | named


def _run(command: Sequence[str], payload: Mapping[str, Any], seconds: float) -> tuple[int, str]:
    """Run the command; return its exit code, negative for a signal, and its first line on stderr.

    Raises:
        OSError: if it cannot be started.
        subprocess.TimeoutExpired: if it took too long; its process group is killed.
    """
    # Files instead of pipes: a command need not read its input, and a background process that it
    # leaves behind cannot block this one.
    with tempfile.TemporaryFile() as document, tempfile.TemporaryFile() as said:
        document.write(_encoded(payload))
        document.seek(0)
        with subprocess.Popen(
            command,
            stdin=document,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=_environment(payload),
            start_new_session=True,
        ) as process:
            try:
                code = process.wait(seconds)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return code, _first_line(said)


def _first_line(said: IO[bytes]) -> str:
    said.seek(0)
    line = said.readline(4 * _MOST_SAID).decode("utf-8", "replace").strip()
    return line[:_MOST_SAID]


class _NoRedirects(HTTPRedirectHandler):
    """Refuses redirects: they turn POST into GET without the document, or lead to other servers."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


def _is_transient(error: Exception) -> bool:
    """Return True if a retry may succeed; RFC 9110, section 15.6, and RFC 6585, section 4."""
    if isinstance(error, HTTPError):
        error.close()
        return error.code == 429 or error.code >= 500
    return isinstance(error, OSError)


def _cause(error: Exception) -> str:
    if isinstance(error, HTTPError):
        redirect = ", and redirects are not followed" if 300 <= error.code < 400 else ""
        return f"answered {error.code}{redirect}"
    why = error.reason if isinstance(error, URLError) else error
    return f"cannot be reached: {str(why)[:_MOST_SAID]}"
