"""What a process of the cluster does: fetch, read and predict, nothing else."""

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
from screening.errors import DecoderError, NotAFilm, ScreeningError, UnreadableFilm
from screening.files import Found, film_path, path_of
from screening.inference.inference import FilmClassifier, InferenceResult
from screening.inference.reader import MAX_BYTES, FilmReader, Reader, ReadFilm, failed, refused
from screening.inference.sandbox import IsolatedReader
from screening.model.card import Card
from screening.model.lung_reading import LungReader
from screening.model.predictor import Predictor

_PIECE: Final = 1024**2


class FetchedReader:
    """Reads films below an fsspec URL, for one thread; see :class:`~screening.inference.reader.FilmReader`.

    A film lies in a folder that nobody else may enter, below ``$TMPDIR``, for as long as it is read.

    Args:
        url: of the folder.
        recipe: how its films are read; the folder does not count.
    """

    def __init__(self, url: str, recipe: Reader) -> None:
        self._files, self._root = url_to_fs(url)
        self._place = TemporaryDirectory(prefix="screening-")
        self.folder = Path(self._place.name)
        self._reader = IsolatedReader.of(replace(recipe, folder=self.folder))

    @property
    def recipe(self) -> Reader:
        """How a film is read once it is here."""
        return self._reader.recipe

    def known(self, _found: Found) -> None:
        """Every film is to be read."""

    def read(self, found: Found) -> ReadFilm:
        """Fetch, read, decode, gate and preprocess one film. Never raises for what is in a file.

        Raises:
            OSError: if there is no room for it.
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
        """End what decodes, and remove the folder."""
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
                while piece := remote.read(_PIECE):
                    _check_size(local.tell() + len(piece))
                    local.write(piece)
        except FileNotFoundError as error:
            raise UnreadableFilm("vanished", "") from error
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            # What stores say may hold the film's name; what the system says does not.
            said = getattr(error, "strerror", None) if type(error) is OSError else None
            raise UnreadableFilm("unreadable", said or type(error).__name__) from error


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableFilm("too_large", f"{size:,} bytes")


#: Two workers may not be loading the same model at once.
_LOADING: Final = threading.Lock()


def examine(order: Task) -> TaskResult:
    """Carry out an order.

    Raises:
        JobFailed: if this host has another bundle or another version.
        ClusterUnavailable: if something is away that may come back. Both name this host.
    """
    host = gethostname()
    try:
        return TaskResult(host, _examined(order))
    except ScreeningError as error:
        passing = isinstance(error, DecoderError) or isinstance(error.__cause__, OSError)
        kind = ClusterUnavailable if passing else JobFailed
        raise kind(f"host {host} of the cluster: {error}") from error
    except OSError as error:
        # Of the host, such as a full disk: what is wrong with a film is no error.
        said = error.strerror or type(error).__name__
        raise ClusterUnavailable(f"host {host} of the cluster: {said}") from error


def _examined(order: Task) -> list[InferenceResult]:
    if order.version != __version__:
        raise JobFailed(
            f"screening {__version__} is installed, expected {order.version}; install the same"
        )
    with _LOADING:
        card, predictor, lungs = _loaded(order.bundle, order.model_sha256, order.target)
    if lungs is not None:
        lungs = replace(lungs, refused=order.refuse)
    examiner = FilmClassifier(card, predictor, order.heatmaps, order.thumbnails, lungs)
    return examiner.read(_DESK.reader(order), order.films)


@lru_cache(maxsize=2)
def _loaded(bundle: str, model_sha256: str, name: str) -> tuple[Card, Predictor, LungReader | None]:
    """A model and its lung network, once in each process: every file of its bundle was checked.

    Raises:
        BundleError: if it is no intact bundle.
        JobFailed: if it is another one.
    """
    opened = Bundle.open(Path(bundle))
    if opened.sha256 != model_sha256:
        raise JobFailed(
            f"the bundle {bundle} is another one than that of the job: its hash is "
            f"{opened.sha256[:16]}, expected {model_sha256[:16]}"
        )
    # Each core has a process of its own.
    predictor = load_target(opened.path, target(name), threads=1)
    return opened.card, predictor, load_lungs(opened.path, opened.card, target(name).runtime)


class _Desk(threading.local):
    """The reader of this thread, kept for the next order of the same job: decoders start slowly."""

    def __init__(self) -> None:
        self._held: _Held | None = None

    def reader(self, order: Task) -> FilmReader:
        """What reads the films of this order."""
        wanted = (order.folder, order.recipe)
        if self._held is None or self._held.wanted != wanted:
            self._held = None
            self._held = _Held(wanted, _reader(order))
        return self._held.reader


class _Held:
    """A reader that is closed when nobody holds it any more: with its job, its thread or process."""

    def __init__(self, wanted: tuple[str, Reader], reader: FilmReader) -> None:
        self.wanted = wanted
        self.reader = reader
        weakref.finalize(self, reader.close)


def _reader(order: Task) -> FilmReader:
    if is_url(order.folder):
        return FetchedReader(order.folder, order.recipe)
    return IsolatedReader.of(replace(order.recipe, folder=Path(order.folder)))


_DESK: Final = _Desk()
