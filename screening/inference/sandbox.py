"""Films are decoded in child processes that can be killed: one that hangs or crashes costs its film.

Plain PNG and JPEG are read in this process. For all else the parent sends the film's name; the
child reads the file and answers with a JSON head and the tensor's bytes. Nothing that comes from
a child is unpickled, and its size is known beforehand.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Final, Self

from screening.errors import DecoderError, NotAFilm, UnreadableFilm
from screening.files import Found, film_path
from screening.imaging.film import DecodeLimits
from screening.imaging.raster import is_installed
from screening.imaging.sniff import FIRST_BYTES, is_plain
from screening.inference.reader import Reader, ReadFilm, failed, hash_of, read_file
from screening.inference.sandbox_messages import Garbled, unpack
from screening.inference.sandbox_process import READY
from screening.model.preprocess import Preprocessing

#: Seconds in which a child must have begun: a cold disk is slow.
_BEGIN: Final = 120.0

#: Given back to the system after each film, memory costs a fifth of the time; mallopt(3), of glibc.
#: Threads for linear algebra cost a child as much as to import numpy, and it does none.
_ENVIRONMENT: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "OPENBLAS_NUM_THREADS": "1",
}

#: Bytes that a pipe holds: an answer, so that a child need not wait until it is taken.
_PIPE: Final = 1 << 18

#: Bytes from which on a PNG keeps a thread busy for longer than it takes to ask a child.
_LARGE: Final = 200_000

#: So many are read here at first: until a child has begun they would be done.
_FEW: Final = 32

#: Films that cost as much as to start a child: one more is started when so many have been read.
_WORTH: Final = 16

#: Seconds in which one more would have begun: nobody waits longer for one that is at work.
_PATIENCE: Final = 0.5

#: The child gets the parent's module path, so that a packed program finds itself.
_START: Final = "import sys; sys.path[:] = sys.argv[2:]; from screening.inference.sandbox_process import main; main()"


class IsolatedReader:
    """Reads films for several threads, each with a child process of its own when it needs one.

    Args:
        folder: where the films are.
        preprocessing: of the model that they are read for.
        exact: decode all of every film.
    """

    def __init__(
        self,
        folder: Path,
        preprocessing: Preprocessing,
        limits: DecodeLimits | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self.folder = folder
        self._reader = Reader(folder, preprocessing, limits or DecodeLimits(), exact)
        self._lock = threading.Condition()
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []
        self._closed = False
        self._large = 0
        self._isolated = 0

    @classmethod
    def of(cls, recipe: Reader) -> Self:
        """Read as `recipe` does, but for what may hang or crash."""
        return cls(recipe.folder, recipe.preprocessing, recipe.limits, exact=recipe.exact)

    @property
    def recipe(self) -> Reader:
        """What reads the same films in the same way, and can be sent to another machine."""
        return self._reader

    def known(self, _found: Found) -> None:
        """Every film is to be read."""

    def read(self, found: Found) -> ReadFilm:
        """Read, decode, gate and preprocess one film. Never raises for what is in a file.

        Raises:
            DecoderError: if no child process can be started.
        """
        if not found.is_file or (not self._is_worth_a_child(found) and self._is_plain(found)):
            return self._read_here(found)
        child = self._take()
        film = child.read(found)
        with self._lock:
            kept = child.fit and not self._closed
            if kept:
                self._idle.append(child)
            else:
                self._children.discard(child)
            self._lock.notify()
        if not kept:
            child.end()
        return film

    def close(self) -> None:
        """End all children, also those that are at work: nobody waits for their films any more."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            idle, busy = self._idle, self._children.difference(self._idle)
            self._idle, self._children = [], set()
        for child in idle:
            child.end()
        # The thread that waits for one of these will find it dead, and clear up after it.
        for child in busy:
            child.kill()

    def _read_here(self, found: Found) -> ReadFilm:
        try:
            return self._reader.read(found)
        except MemoryError:
            error = UnreadableFilm("out_of_memory", "the system has none left")
            path = film_path(self.folder, found.film)
            return replace(failed(found.film, error), sha256=hash_of(path))

    def _take(self) -> "_Child":
        with self._lock:
            self._isolated += 1
            self._lock.wait_for(self._may_go_on, _PATIENCE)
            if self._closed:
                raise DecoderError("the films of this job are no longer read")
            if self._idle:
                return self._idle.pop()
            # Started under the lock: one that is not in the set would outlive close().
            child = _Child(self._reader)
            self._children.add(child)
            return child

    def _may_go_on(self) -> bool:
        """False while a child is worth waiting for: few films are read before one more has begun."""
        few = self._isolated <= _WORTH * len(self._children)
        return self._closed or bool(self._idle) or not few

    def _is_worth_a_child(self, found: Found) -> bool:
        """True for large PNG, after some of them: the quickest decoder lets no other thread run."""
        if found.size < _LARGE or not found.film.lower().endswith(".png") or not is_installed():
            return False
        with self._lock:
            self._large += 1
            return self._large > _FEW

    def _is_plain(self, found: Found) -> bool:
        """True for what is safe in this process, and for what no process can read."""
        try:
            first = read_file(film_path(self.folder, found.film), FIRST_BYTES)
            return is_plain(first, found.film)
        except (NotAFilm, UnreadableFilm):
            return True


class _Child:
    """One decoder process.

    Attributes:
        fit: False once it has ended, or has reached its memory limit.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        order = {
            "folder": str(reader.folder.absolute()),
            "preprocessing": asdict(reader.preprocessing),
            "limits": asdict(reader.limits),
            "exact": reader.exact,
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(order), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_ENVIRONMENT | os.environ,
            )
        except OSError as error:
            raise DecoderError(f"no decoder process can be started: {error.strerror}") from error
        self.fit = True
        # Users may have so much in pipes and no more, and not every system can; it goes without.
        with suppress(OSError, AttributeError):
            fcntl.fcntl(_pipe(self._process.stdout), fcntl.F_SETPIPE_SZ, _PIPE)
        self._deadline = time.monotonic() + _BEGIN
        try:
            begun = self._receive(len(READY)) == READY
        except (EOFError, TimeoutError):
            begun = False
        if not begun:
            self.end()
            raise DecoderError(
                "no decoder process can be started: "
                f"`{sys.executable} -c 'import screening.inference.sandbox_process'` says why"
            )

    def read(self, found: Found) -> ReadFilm:
        """The child's answer, or what became of the child."""
        seconds = self._reader.limits.seconds
        started = time.monotonic()
        self._deadline = started + seconds
        try:
            self._send(json.dumps(vars(found)).encode() + b"\n")
            film = unpack(self._receive, found.film, self._reader.preprocessing.shape)
        except TimeoutError:
            error = UnreadableFilm("decode_timeout", f"{seconds:g} s are allowed")
            film = failed(found.film, error)
        except (EOFError, OSError, Garbled):
            film = failed(found.film, self._cause_of_death())
        else:
            if not film.reason.startswith("out_of_memory"):
                return film
        # Memory that ran out once may be in pieces: that child goes, too.
        self.kill()
        sha256 = hash_of(film_path(self._reader.folder, found.film))
        return replace(film, sha256=sha256, seconds=time.monotonic() - started)

    def kill(self) -> None:
        """End the process whatever it does, and leave no zombie."""
        self.fit = False
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """The same, and close its pipes: for the thread that nobody else reads beside."""
        self.kill()
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()

    def _cause_of_death(self) -> UnreadableFilm:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return UnreadableFilm("decoder_crashed", "it gave no proper answer")
        if code == -signal.SIGKILL:
            return UnreadableFilm("out_of_memory", "the system killed it")
        if code == -signal.SIGALRM:
            return UnreadableFilm(
                "decode_timeout", f"{self._reader.limits.seconds:g} s are allowed"
            )
        return UnreadableFilm("decoder_crashed", _name_of(code))

    def _send(self, data: bytes) -> None:
        # Far less than a pipe holds, so a child that does not listen cannot block the parent.
        _pipe(self._process.stdin).write(data)

    def _receive(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            TimeoutError: if they are not there by the deadline.
            EOFError: if the child has ended.
        """
        pipe = _pipe(self._process.stdout).fileno()
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        received = bytearray()
        while len(received) < count:
            left = self._deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError
            part = os.read(pipe, count - len(received))
            if not part:
                raise EOFError
            received += part
        return bytes(received)


def _name_of(code: int) -> str:
    """What a process ended with, in words; see :attr:`subprocess.Popen.returncode`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # real-time signals have no name
        return f"signal {-code}"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise DecoderError("a decoder process has no pipe")
    return stream
