"""Task executed by a process of the cluster: fetch, read and predict, nothing else."""

import errno
import threading
import time
import weakref
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Final

from fsspec.core import url_to_fs

from exports.bundle import Bundle
from exports.runtimes.load import load_lungs, load_target
from exports.targets import target
from jobs.engines.dask.config import is_url
from jobs.engines.dask.task import Task, TaskResult
from jobs.errors import ClusterUnavailable, JobFailed
from screening import __version__
from screening.errors import NotAFilm, ScreeningError, TransientError, UnreadableFilm
from screening.files import Found, film_path, path_of
from screening.inference.inference import FilmClassifier, InferenceResult
from screening.inference.reader import MAX_BYTES, FilmReader, Reader, ReadFilm, failed, refused
from screening.inference.sandbox import IsolatedReader
from screening.model.card import Card
from screening.model.lung_reading import LungReader
from screening.model.predictor import Predictor

_CHUNK: Final = 1024**2


class FetchedReader:
    """Read films below an fsspec URL, for one thread.

    Implements :class:`~screening.inference.reader.FilmReader`. While a film is read, its copy lies
    below ``$TMPDIR`` in a folder that only this user can enter.

    Args:
        url: of the folder.
        recipe: how to read its films; the recipe's folder is ignored.
    """

    def __init__(self, url: str, recipe: Reader) -> None:
        self._files, self._root = url_to_fs(url)
        self._place = TemporaryDirectory(prefix="screening-")
        self.folder = Path(self._place.name)
        self._reader = IsolatedReader.of(replace(recipe, folder=self.folder))

    @property
    def recipe(self) -> Reader:
        """Settings for reading a film after it was fetched."""
        return self._reader.recipe

    def known(self, _found: Found) -> None:
        """Return None: every film has to be read."""

    def read(self, found: Found) -> ReadFilm:
        """Fetch, read, decode, gate and preprocess one film.

        Never raises because of a file's content.

        Raises:
            OSError: if the disk has no room for the copy.
        """
        if not found.is_file:
            return self._reader.read(found)
        started = time.perf_counter()
        path = film_path(self.folder, found.film)
        try:
            self._fetch(f"{self._root.rstrip('/')}/{path_of(found.film)}", path)
            film = self._reader.read(found)
        except NotAFilm:
            return refused(found.film, "not_followed")
        except UnreadableFilm as error:
            return failed(found.film, error)
        finally:
            path.unlink(missing_ok=True)
        return replace(film, seconds=time.perf_counter() - started)

    def close(self) -> None:
        """Stop the decoder processes and remove the folder."""
        self._reader.close()
        self._place.cleanup()

    def _fetch(self, source: str, path: Path) -> None:
        """Copy one file, with the checks of :func:`~screening.inference.reader.read_file`."""
        try:
            about = self._files.info(source)
            if about["type"] != "file":
                raise NotAFilm("not a regular file")
            _check_size(about["size"] or 0)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._files.open(source, "rb") as remote, path.open("wb") as local:
                while piece := remote.read(_CHUNK):
                    _check_size(local.tell() + len(piece))
                    local.write(piece)
        except FileNotFoundError as error:
            raise UnreadableFilm("vanished", "") from error
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            # Messages of object stores may contain the film's name; those of the system do not.
            said = getattr(error, "strerror", None) if type(error) is OSError else None
            raise UnreadableFilm("unreadable", said or type(error).__name__) from error


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableFilm("too_large", f"{size:,} bytes")


#: Serialises model loading: two threads must not load the same model at once.
_LOADING: Final = threading.Lock()


def examine(order: Task) -> TaskResult:
    """Run a task.

    Raises:
        JobFailed: if this host has a different bundle or version.
        ClusterUnavailable: for errors that may go away. Both messages name this host.
    """
    host = gethostname()
    try:
        return TaskResult(host, _examined(order))
    except ScreeningError as error:
        kind = ClusterUnavailable if isinstance(error, TransientError) else JobFailed
        raise kind(f"host {host} of the cluster: {error}") from error
    except OSError as error:
        # A problem of the host, such as a full disk: problems of a film are not raised.
        said = error.strerror or type(error).__name__
        raise ClusterUnavailable(f"host {host} of the cluster: {said}") from error


def _examined(order: Task) -> list[InferenceResult]:
    if order.version != __version__:
        raise JobFailed(
            f"screening {__version__} is installed; install the version of the job, {order.version}"
        )
    with _LOADING:
        card, predictor, lungs = _loaded(order.bundle, order.model_sha256, order.target)
    if lungs is not None:
        lungs = replace(lungs, refused=order.refuse)
    examiner = FilmClassifier(card, predictor, order.heatmaps, order.thumbnails, lungs)
    return examiner.read(_READERS.reader(order), order.films)


@lru_cache(maxsize=2)
def _loaded(bundle: str, model_sha256: str, name: str) -> tuple[Card, Predictor, LungReader | None]:
    """Load a model and its lung network, once per process; every file of the bundle is checked.

    Raises:
        BundleError: if the bundle is not intact.
        FileUnavailable: if a file of it cannot be read.
        JobFailed: if it is a different bundle.
    """
    opened = Bundle.open(Path(bundle))
    if opened.sha256 != model_sha256:
        raise JobFailed(
            f"the bundle {bundle} is not the bundle of the job: its hash is {opened.sha256[:16]}, "
            f"expected {model_sha256[:16]}; copy the bundle of the job there"
        )
    # Dask runs one process per core.
    predictor = load_target(opened.path, target(name), threads=1)
    return opened.card, predictor, load_lungs(opened.path, opened.card, target(name).runtime)


class _ReaderCache(threading.local):
    """Per-thread cache of the last reader: decoders start slowly, and tasks of one job share it."""

    def __init__(self) -> None:
        self._held: _CachedReader | None = None

    def reader(self, order: Task) -> FilmReader:
        """Return the reader for the films of this task."""
        wanted = (order.folder, order.recipe)
        if self._held is None or self._held.wanted != wanted:
            self._held = None
            self._held = _CachedReader(wanted, _reader(order))
        return self._held.reader


class _CachedReader:
    """A reader that is closed with its last reference: when the job, thread or process ends."""

    def __init__(self, wanted: tuple[str, Reader], reader: FilmReader) -> None:
        self.wanted = wanted
        self.reader = reader
        weakref.finalize(self, reader.close)


def _reader(order: Task) -> FilmReader:
    if is_url(order.folder):
        return FetchedReader(order.folder, order.recipe)
    return IsolatedReader.of(replace(order.recipe, folder=Path(order.folder)))


_READERS: Final = _ReaderCache()
