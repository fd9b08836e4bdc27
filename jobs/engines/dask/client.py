"""Connection to a Dask scheduler, re-established when it is lost."""

import asyncio
import concurrent.futures
import logging
import socket
import ssl
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from distributed import Client, KilledWorker
from distributed import Future as DaskFuture

from jobs.engines.dask.config import ClusterConfig
from jobs.engines.dask.task import Task, TaskResult
from jobs.engines.dask.worker import examine
from jobs.errors import ClusterUnavailable, ClusterUnusable, Stopped
from jobs.worker.lease import Stop

Result = TypeVar("Result")

#: Seconds to wait for a scheduler that has never answered.
_FIRST: Final = 30.0

#: Timeout of one connection attempt, and pause between two attempts, in seconds.
_ATTEMPT: Final = 5.0
_PAUSE: Final = 1.0

#: Seconds between two queries for the cluster's number of threads.
_COUNT_INTERVAL: Final = 2.0

#: Errors that mean that the connection failed, not the task. No task raises an OSError: see
#: :func:`~jobs.engines.dask.worker.examine`.
_CONNECTION_ERRORS: Final = (OSError, concurrent.futures.CancelledError, asyncio.CancelledError)


#: Errors of TLS for a connection that was lost, as when the scheduler ends.
_CONNECTION_LOST: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class WorkerKilled(Exception):
    """A cluster process repeatedly died or ran out of memory while running a task."""


class DaskClient:
    """A client of one scheduler, for use by one thread.

    Args:
        patience: seconds to wait for a lost scheduler, or for one without workers.
    """

    def __init__(self, access: ClusterConfig, stop: Stop, patience: float) -> None:
        self._access = access
        self._stop = stop
        self._patience = patience
        self._client: Client | None = None
        self._open: set[Future[TaskResult]] = set()
        self._threads = 0
        self._served_at = time.monotonic()
        self._count: Future[dict[str, Any]] | None = None
        self._counted_at = 0.0

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return self._access.address

    def send(self, order: Task) -> Future[TaskResult]:
        """Submit a task to any process of the cluster.

        Raises:
            ClusterUnavailable: if the scheduler cannot be reached.
            ClusterUnusable: if a certificate is refused.
            Stopped: if a stop was requested meanwhile.
        """
        client = self._connected()
        # pure=False gives a random key: keys appear in logs and on the dashboard.
        answer = _run(client, _answered(client.submit(examine, order, pure=False)))
        self._open.add(answer)
        answer.add_done_callback(self._open.discard)
        return answer

    def threads(self) -> int:
        """Return the total threads of all workers, as of a few seconds ago.

        Raises:
            ClusterUnavailable: if the cluster had none for too long.
        """
        self._update_threads()
        away = time.monotonic() - self._served_at
        if self._threads == 0 and away > self._patience:
            raise ClusterUnavailable(
                f"the cluster {self.address} has had no worker for {away:.0f} s"
            )
        return self._threads

    def is_lost(self, answer: Future[TaskResult]) -> bool:
        """Return True if the answer will never arrive, so that its task must be sent again."""
        if not answer.done():
            return not self._is_up()
        return answer.cancelled() or isinstance(answer.exception(), _CONNECTION_ERRORS)

    def close(self) -> None:
        """Disconnect from the cluster and cancel pending tasks."""
        for answer in list(self._open):
            answer.cancel()
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=_ATTEMPT)

    def _is_up(self) -> bool:
        return self._client is not None and self._client.status == "running"

    def _connected(self) -> Client:
        if self._client is not None and self._is_up():
            return self._client
        first = self._client is None and not self._counted_at
        self.close()
        until = time.monotonic() + (_FIRST if first else self._patience)
        while True:
            try:
                self._client = self._connect()
            except OSError as error:
                if self._stop.asked:
                    raise Stopped("stopped while waiting for the cluster") from error
                if isinstance(error, ssl.SSLError) and not isinstance(error, _CONNECTION_LOST):
                    raise ClusterUnusable(
                        f"the scheduler {self.address} and this machine cannot agree on TLS: "
                        f"{error}; give both valid certificates of the same authority"
                    ) from error
                if time.monotonic() > until:
                    raise ClusterUnavailable(
                        f"the scheduler {self.address} cannot be reached: {error}"
                    ) from error
                self._stop.wait(_PAUSE)
            else:
                return self._client

    def _connect(self) -> Client:
        self._check_listening()
        # This project reports connection errors itself, once.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        client = Client(
            self.address, security=self._access.security, timeout=_ATTEMPT, set_as_default=False
        )
        self._counted_at = self._served_at = time.monotonic()
        self._threads = client.scheduler_info(n_workers=0)["total_threads"]
        self._count = None
        return client

    def _check_listening(self) -> None:
        """Check that the scheduler is listening.

        Dask would retry for seconds, and leak a thread each time.

        Raises:
            OSError: if nothing listens there, or the TLS handshake fails.
        """
        security = self._access.security
        with socket.create_connection(self._access.endpoint, _ATTEMPT) as plain:
            if security is not None:
                context = security.get_connection_args("client")["ssl_context"]
                with context.wrap_socket(plain) as encrypted:
                    # With TLS 1.3, the scheduler refuses this machine's certificate only now. If
                    # it accepts it, it speaks first.
                    encrypted.recv(1)

    def _update_threads(self) -> None:
        """Refresh the thread count every few seconds, without waiting for the answer."""
        now = time.monotonic()
        count = self._count
        if count is not None and count.done():
            self._count = None
            if not count.cancelled() and count.exception() is None:
                self._threads = count.result()["total_threads"]
        if self._threads:
            self._served_at = now
        client = self._client
        if (
            client
            and self._is_up()
            and self._count is None
            and now - self._counted_at > _COUNT_INTERVAL
        ):
            self._counted_at = now
            self._count = _run(client, client.scheduler.identity(n_workers=0))


def _run(client: Client, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Run the coroutine in the client's own thread, so that this one can receive signals."""
    return asyncio.run_coroutine_threadsafe(coroutine, client.loop.asyncio_loop)


async def _answered(answer: "DaskFuture[TaskResult]") -> TaskResult:
    try:
        given: TaskResult = await answer
    except (KilledWorker, MemoryError) as error:
        raise WorkerKilled from error
    return given
