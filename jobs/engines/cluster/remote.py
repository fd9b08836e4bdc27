"""What a process of the cluster does: it reads films and puts them to the model, nothing else."""

import threading
import weakref
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from socket import gethostname
from typing import Final

from exports.bundle import Bundle
from exports.runtimes.load import load_lungs, load_target
from exports.targets import target
from jobs.engines.cluster.access import is_url
from jobs.engines.cluster.order import Answer, Order
from jobs.errors import ClusterUnavailable, JobFailed
from screening import __version__
from screening.card import Card
from screening.errors import DecoderError, ScreeningError
from screening.examination import Examined, Examiner
from screening.isolation import IsolatedReader
from screening.model.lung_reading import LungReader
from screening.predictor import Predictor
from screening.reading import FilmReader, Reader

#: Two workers may not be loading the same model at once.
_LOADING: Final = threading.Lock()


def examine(order: Order) -> Answer:
    """Carry out an order.

    Raises:
        JobFailed: if this host has another bundle or another version.
        ClusterUnavailable: if something is away that may come back. Both name this host.
    """
    host = gethostname()
    try:
        return Answer(host, _examined(order))
    except ScreeningError as error:
        passing = isinstance(error, DecoderError) or isinstance(error.__cause__, OSError)
        kind = ClusterUnavailable if passing else JobFailed
        raise kind(f"host {host} of the cluster: {error}") from error
    except OSError as error:
        # Of the host, such as a full disk: what is wrong with a film is no error.
        said = error.strerror or type(error).__name__
        raise ClusterUnavailable(f"host {host} of the cluster: {said}") from error


def _examined(order: Order) -> list[Examined]:
    if order.version != __version__:
        raise JobFailed(
            f"screening {__version__} is installed, expected {order.version}; install the same"
        )
    with _LOADING:
        card, predictor, lungs = _loaded(order.bundle, order.model_sha256, order.target)
    if lungs is not None:
        lungs = replace(lungs, refused=order.refuse)
    examiner = Examiner(card, predictor, order.heatmaps, order.thumbnails, lungs)
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

    def reader(self, order: Order) -> FilmReader:
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


def _reader(order: Order) -> FilmReader:
    if is_url(order.folder):
        from jobs.engines.cluster.fetched import FetchedReader

        return FetchedReader(order.folder, order.recipe)
    return IsolatedReader.of(replace(order.recipe, folder=Path(order.folder)))


_DESK: Final = _Desk()
