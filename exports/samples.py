"""Select the real films for an export: films to compare on and films to calibrate 8 bits with."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from exports.errors import ExportError
from screening.errors import NotAFilm, TrainingDataError, UnreadableFilm
from screening.files import discover, film_path
from screening.imaging.readers import open_film
from screening.model.card import Card
from screening.model.preprocess import Preprocessing
from screening.results import CLASSES
from screening.training.data.manifest import PATIENT_PATTERN, LabelledFilm, read_manifest

#: Minimum number of films; fewer cannot show that decisions stay the same.
FEWEST: Final = 200
_MOST: Final = 1000

#: Number of films to calibrate with; three times as many did not reduce the changed decisions.
_CALIBRATION: Final = 64

#: Label of a film without a label.
UNLABELLED: Final = -1

#: Files in a MODEL that list its held-out films.
_HELD_OUT: Final = ("validation.csv", "test.csv")


@dataclass(frozen=True, eq=False)
class Films:
    """n films, read in the same way as in a run.

    Attributes:
        sha256: hash of each file.
        labels: class indices, shape (n,); :data:`UNLABELLED` if unknown.
        tensors: network inputs, shape (n, rows, columns, channels).
        patients: number of patients; None if unknown.
    """

    sha256: list[str]
    labels: npt.NDArray[np.int64]
    tensors: npt.NDArray[np.float32]
    patients: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the model card: the counts and one hash over all films."""
        lines = "\n".join(sorted(self.sha256))
        sha256 = hashlib.sha256(lines.encode()).hexdigest()
        return {"films": len(self.sha256), "patients": self.patients, "sha256": sha256}


def films_to_compare(
    model: Path, card: Card, films: Path | None = None, training: Sequence[Path] = ()
) -> Films:
    """Select and read the films on which an export is compared with the original.

    Args:
        films: a folder of films, or data that a model can be trained on. The default is the
            validation films of `model`, topped up with test and then training films if there are
            fewer than :data:`FEWEST`.
        training: current location of each DATA of the training, in the same order, if they were
            moved since `model` was trained.

    Raises:
        ExportError: if there are too few films, or they cannot be found.
    """
    if films is not None:
        places: Sequence[Path] = [films]
        others: list[list[LabelledFilm]] = []
        read = list(_read(_spread(_all_films(films, card), _MOST), card.preprocessing))
    else:
        places = _training_data(model, card, training)
        validation, *others = _by_side(model, places, card)
        read = list(_read(_spread(validation, _MOST), card.preprocessing))
    for side in others:
        more = _read(sorted(side, key=_shuffle_key), card.preprocessing)
        read += islice(more, max(0, FEWEST - len(read)))
    if len(read) < FEWEST:
        raise ExportError(
            f"{_named(places)} {len(read)} readable films, but at least {FEWEST} are needed "
            "to compare decisions; give more with --films"
        )
    return _films(read)


def films_to_calibrate(model: Path, card: Card, training: Sequence[Path] = ()) -> Films:
    """Select and read training films, one per patient and half of them of each class if possible.

    Args:
        training: as in :func:`films_to_compare`.

    Raises:
        ExportError: if the training films cannot be found or read.
    """
    places = _training_data(model, card, training)
    *_held_out, side = _by_side(model, places, card)
    first: dict[str, LabelledFilm] = {}
    for film in sorted(side, key=_shuffle_key):
        first.setdefault(film.patient, film)
    by_label = [
        [film for film in first.values() if film.label == label] for label in range(len(CLASSES))
    ]
    fewest = min(_CALIBRATION // 2, *map(len, by_label))
    chosen = [film for films in by_label for film in films[: _CALIBRATION - fewest]]
    read = list(_read(chosen, card.preprocessing))
    if not read:
        raise ExportError(f"{_named(places)} no readable training film of {model}")
    return _films(read)


def _training_data(model: Path, card: Card, given: Sequence[Path]) -> list[Path]:
    """Return the path of each DATA that `model` was trained with.

    Args:
        given: current paths; by default the paths recorded in the card.

    Raises:
        ExportError: if a recorded path no longer exists, or `given` has another number of paths.
    """
    recorded = card.training.get("data") or []
    places = [recorded] if isinstance(recorded, str) else list(recorded)
    if given:
        if places and len(given) != len(places):
            raise ExportError(
                f"{model} was trained with {len(places)} DATA: "
                f"{', '.join(_data_names(card) or places)}; give --training-films once for each, "
                "in this order"
            )
        return list(given)
    gone = [place for place in places if not Path(place).exists()]
    if gone or not places:
        where = f"not at {' and '.join(gone)}" if gone else "not named in its card"
        raise ExportError(
            f"the training films of {model} are {where}; give their location with --training-films, "
            "and films for the comparison with --films"
        )
    return [Path(place) for place in places]


def _data_names(card: Card) -> list[str] | None:
    """Return the names of the DATA in the training; film names contain them after a move, too."""
    names = card.training.get("data_names")
    return list(names) if names else None


def _named(places: Sequence[Path]) -> str:
    return f"{' and '.join(map(str, places))} {'has' if len(places) == 1 else 'have'}"


def _all_films(data: Path, card: Card) -> list[LabelledFilm]:
    """List the films of a manifest or of class folders; of any other folder, without labels."""
    try:
        return read_manifest(data, card.training.get("patient_pattern", PATIENT_PATTERN))
    except TrainingDataError:
        if not data.is_dir():
            raise
    found = (one.film for one in discover(data) if one.is_file)
    return [LabelledFilm(film_path(data, film), film, UNLABELLED, film) for film in found]


def _by_side(
    model: Path, places: Sequence[Path], card: Card
) -> tuple[list[LabelledFilm], list[LabelledFilm], list[LabelledFilm]]:
    """Split the DATA of `model` into its validation, test and training films."""
    pattern = card.training.get("patient_pattern", PATIENT_PATTERN)
    names = _data_names(card)
    if names and len(names) != len(places):
        names = None
    left_out = card.training.get("left_out", ())
    films = [film for film in read_manifest(places, pattern, names) if film.source not in left_out]
    validation, test = (_listed(model / name) for name in _HELD_OUT)
    return (
        [film for film in films if film.name in validation],
        [film for film in films if film.name in test],
        [film for film in films if film.name not in validation | test],
    )


def _listed(path: Path) -> set[str]:
    """Return the names in the column ``film``; an empty set if the file does not exist."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {line["film"] for line in csv.DictReader(file)}


def _spread(films: list[LabelledFilm], most: int) -> list[LabelledFilm]:
    """Return at most `most` films, evenly spaced over the list."""
    if len(films) <= most:
        return list(films)
    return [films[int(index)] for index in np.linspace(0, len(films) - 1, most)]


def _shuffle_key(film: LabelledFilm) -> tuple[bytes, ...]:
    """Sort key for a pseudo-random order, independent of how a hospital numbers its patients."""
    names = (film.patient, film.name)
    return tuple(hashlib.sha256(name.encode("utf-8", "replace")).digest() for name in names)


@dataclass(frozen=True, eq=False)
class _Read:
    film: LabelledFilm
    sha256: str
    tensor: npt.NDArray[np.float32]


def _read(films: Iterable[LabelledFilm], preprocessing: Preprocessing) -> Iterator[_Read]:
    """Read films; those that cannot be read are skipped."""
    for film in films:
        try:
            data = film.path.read_bytes()
            shown = open_film(data, film.path.name).decoded(preprocessing.side)
        except (OSError, NotAFilm, UnreadableFilm):
            continue
        tensor = preprocessing.normalise(preprocessing.shown(shown))
        yield _Read(film, hashlib.sha256(data).hexdigest(), tensor)


def _films(read: list[_Read]) -> Films:
    labels = np.array([one.film.label for one in read], np.int64)
    known = all(one.film.label != UNLABELLED for one in read)
    return Films(
        [one.sha256 for one in read],
        labels,
        np.stack([one.tensor for one in read]),
        len({one.film.patient for one in read}) if known else None,
    )
