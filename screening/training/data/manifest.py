"""List labelled films from class folders and CSV manifests, with their sources."""

import csv
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.errors import TrainingDataError
from screening.results import CLASSES, POSITIVE

#: Start of the file names of the Kermany collection, with the patient: ``person12_virus_7.jpeg``,
#: ``NORMAL2-IM-1427-0001.jpeg``, ``IM-0115-0001.jpeg``.
PATIENT_PATTERN: Final = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"

#: Allowed folder names and values of the column ``split``, with their meaning.
SPLITS: Final = {
    "": "",
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

#: File name of a manifest in a folder without class folders.
MANIFEST: Final = "films.csv"

#: Allowed values of the columns ``view`` and ``sex``, in upper or lower case.
VIEWS: Final = ("", "AP", "PA")
SEXES: Final = ("", "F", "M")

_TRUE: Final = {"1": 1, "0": 0} | {name: index for index, name in enumerate(CLASSES)}
_OLDEST: Final = 120
_EXPECTED: Final = (
    f"it needs sub-folders {' and '.join(CLASSES)}, or a CSV file with the columns film and label"
)


@dataclass(frozen=True)
class LabelledFilm:
    """One labelled film.

    Attributes:
        path: path of the file.
        name: its path relative to the data, with POSIX slashes; starts with the name of its data
            folder or manifest if there are several.
        label: index in :data:`screening.results.CLASSES`.
        patient: films with the same value are never put on two sides of a split.
        split: ``train``, ``val``, ``test`` as given in the data, or empty.
        source: the hospital or collection of the film: taken from the manifest, or else the name of
            the folder.
        view: ``AP``, ``PA`` or empty.
        age: age of the patient, in years; None if unknown.
        sex: ``F``, ``M`` or empty.
        confidence: probability that the label is right, 0.5 to 1.
    """

    path: Path
    name: str
    label: int
    patient: str
    split: str = ""
    source: str = ""
    view: str = ""
    age: float | None = None
    sex: str = ""
    confidence: float = 1.0


def read_manifest(
    data: Path | Sequence[Path],
    patient_pattern: str = PATIENT_PATTERN,
    names: Sequence[str] | None = None,
) -> list[LabelledFilm]:
    """List the labelled films of `data`, sorted by name.

    If there are several places, the name of a film starts with the name of its place, and its
    patient with the source, because two hospitals may use the same numbers.

    Args:
        data: one or several of: a folder with one sub-folder for each class, optionally below
            ``train``, ``val`` and ``test`` (``valid`` and ``validation`` mean ``val``); a CSV with
            the columns film and label, and optionally patient, split, source, view, age, sex and
            confidence; or a folder without class folders that contains such a CSV as ``films.csv``.
        patient_pattern: a regular expression whose first group is the patient in a file name;
            a film whose name does not match is its own patient.
        names: names of the places, if different from :func:`data_name`, so that films that were
            moved keep their names.

    Raises:
        TrainingDataError: if there are no films to train on, or two places have the same name.
    """
    places = [data] if isinstance(data, Path) else list(data)
    pattern = compiled_pattern(patient_pattern)
    names = [data_name(place) for place in places] if names is None else names
    listed = [_listed(place, name, pattern) for place, name in zip(places, names, strict=True)]
    if len(places) > 1:
        _refuse_same_names(names)
        for place, own in zip(places, listed, strict=True):
            if not own:
                raise TrainingDataError(f"{place} has no labelled film; {_EXPECTED}")
        listed = [
            [_below(name, film) for film in own] for name, own in zip(names, listed, strict=True)
        ]
    films = [film for own in listed for film in own]
    for index, finding in enumerate(CLASSES):
        if not any(film.label == index for film in films):
            have = "has" if len(places) == 1 else "have"
            raise TrainingDataError(
                f"{' and '.join(map(str, places))} {have} no film labelled {finding}; {_EXPECTED}"
            )
    return sorted(films, key=lambda film: film.name)


def data_name(data: Path) -> str:
    """Name of a folder, or of the folder that contains a manifest: its last part, never a path."""
    folder = data.parent if data.is_file() else data
    return (folder if folder.name not in {"", ".."} else folder.resolve()).name


def fingerprint(films: list[LabelledFilm], sha256: Sequence[str] | None = None) -> str:
    """SHA-256 over the content and label of every film, independent of the file names.

    The confidence of a label is included if it is not 1.

    Args:
        sha256: hash of each film's file, in hex, if known; otherwise the files are read.
    """
    digests = sha256 or [hashlib.sha256(film.path.read_bytes()).hexdigest() for film in films]
    lines = sorted(
        f"{digest} {film.label}" + (f" {film.confidence:g}" if film.confidence != 1 else "")
        for film, digest in zip(films, digests, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _refuse_same_names(names: Sequence[str]) -> None:
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise TrainingDataError(
            f"two DATA have the name {twice[0]}, which is part of their films' names; rename one of the "
            "folders, or join the manifests into one"
        )


def _below(name: str, film: LabelledFilm) -> LabelledFilm:
    """Prefix name and patient of a film of several places; without a patient it stays its own."""
    own = f"{name}/{film.name}"
    patient = own if film.patient == film.name else f"{film.source}/{film.patient}"
    return replace(film, name=own, patient=patient)


def compiled_pattern(patient_pattern: str) -> re.Pattern[str]:
    """Compile the pattern, which must have a group.

    Raises:
        TrainingDataError: if it is not a regular expression with a group.
    """
    try:
        pattern = re.compile(patient_pattern)
    except re.error as error:
        raise TrainingDataError(
            f"the patient pattern {patient_pattern!r} is not valid: {error}"
        ) from error
    if not pattern.groups:
        raise TrainingDataError(
            f"the patient pattern {patient_pattern!r} has no group; put parentheses around the part "
            "that identifies the patient"
        )
    return pattern


def _listed(data: Path, name: str, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    """The films of one place; its name is their source unless the manifest gives another."""
    if data.is_dir():
        manifest = data / MANIFEST
        if manifest.is_file() and not _has_class_folders(data):
            return _from_csv(manifest, name, pattern)
        return _from_folders(data, name, pattern)
    if data.is_file():
        return _from_csv(data, name, pattern)
    raise TrainingDataError(f"{data} is neither a folder nor a CSV manifest")


def _has_class_folders(data: Path) -> bool:
    return any((data / split / finding).is_dir() for split in SPLITS for finding in CLASSES)


def _from_folders(data: Path, source: str, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    films = []
    for folder, split in SPLITS.items():
        for label, name in enumerate(CLASSES):
            for path in sorted((data / folder / name).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    relative = path.relative_to(data).as_posix()
                    patient = patient_of(path.name, relative, pattern)
                    films.append(LabelledFilm(path, relative, label, patient, split, source))
    return films


def _from_csv(data: Path, source: str, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    try:
        text = data.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{data} is not UTF-8 text: {error}") from error
    reader = csv.DictReader(StringIO(text, newline=""))
    films: dict[str, LabelledFilm] = {}
    try:
        missing = {"film", "label"} - set(reader.fieldnames or ())
        if missing:
            raise TrainingDataError(f"{data} lacks the column {' and '.join(sorted(missing))}")
        for row in reader:
            where = f"{data}, line {reader.line_num}"
            film = _from_row(data, row, where, source, pattern)
            if film.name in films:
                raise TrainingDataError(f"{where}: the film {film.name} is already listed")
            films[film.name] = film
    except csv.Error as error:
        raise TrainingDataError(f"{data}, after line {reader.line_num}: {error}") from error
    return list(films.values())


def _from_row(
    data: Path, row: dict[str, str | None], where: str, source: str, pattern: re.Pattern[str]
) -> LabelledFilm:
    name, label = row["film"] or "", row["label"]
    path = data.parent / name
    if not _is_file(path):
        raise TrainingDataError(f"{where}: there is no film {path}")
    if label not in _TRUE:
        raise TrainingDataError(f"{where}: the label is {label!r}, expected {', '.join(_TRUE)}")
    split = row.get("split") or ""
    if split not in SPLITS:
        raise TrainingDataError(
            f"{where}: the split is {split!r}, expected train, val or test, or nothing"
        )
    return LabelledFilm(
        path,
        name,
        _TRUE[label],
        row.get("patient") or patient_of(path.name, name, pattern),
        SPLITS[split],
        _source(row, where) or source,
        _one_of(row, "view", VIEWS, where),
        _number(row, "age", 0, _OLDEST, where),
        _one_of(row, "sex", SEXES, where),
        1.0 if (sure := _number(row, "confidence", 0.5, 1, where)) is None else sure,
    )


def _source(row: dict[str, str | None], where: str) -> str:
    source = row.get("source") or ""
    if "/" in source or "\\" in source:
        raise TrainingDataError(
            f"{where}: the source is {source!r}; give it a name without / and \\"
        )
    return source


def _one_of(row: dict[str, str | None], column: str, allowed: tuple[str, ...], where: str) -> str:
    value = row.get(column) or ""
    if value.upper() not in allowed:
        raise TrainingDataError(
            f"{where}: the {column} is {value!r}, expected {' or '.join(filter(None, allowed))}, "
            "or nothing"
        )
    return value.upper()


def _number(
    row: dict[str, str | None], column: str, low: float, high: float, where: str
) -> float | None:
    """The number in an optional column; None if the column or the value is missing."""
    if not (value := row.get(column)):
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise TrainingDataError(
            f"{where}: the {column} is {value!r}, expected a number from {low:g} to {high:g}, "
            "or nothing"
        )
    return number


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def patient_of(file_name: str, relative: str, pattern: re.Pattern[str]) -> str:
    """The patient in a file name; a film whose name does not match is its own patient."""
    match = pattern.search(file_name)
    return (match and match[1]) or relative


#: Minimum confidence of a reliable label; labels below it are weak.
RELIABLE: Final = 0.95

_Indices = npt.NDArray[np.int64]


def reliable(films: Sequence[LabelledFilm]) -> _Indices:
    """Indices of the films that may choose a model or a threshold, shape (k,), ascending.

    These are films with reliable labels from sources with such films of both classes in `films`. A
    source with one class would show how sources differ, not how findings do.
    """
    sure = [index for index, film in enumerate(films) if film.confidence >= RELIABLE]
    classes: dict[str, set[int]] = {}
    for index in sure:
        classes.setdefault(films[index].source, set()).add(films[index].label)
    whole = {source for source, labels in classes.items() if len(labels) == len(CLASSES)}
    return np.array([index for index in sure if films[index].source in whole], np.int64)


def normals_elsewhere(films: Sequence[LabelledFilm]) -> dict[str, _Indices]:
    """Reliable normal films of sources that do not have reliable films of both classes here.

    They do not show how well findings are separated, but how often a model calls pneumonia
    where there is none.

    Returns:
        Indices, ascending, by source and view: ``chest, AP``; or ``chest`` if the view is unknown.
    """
    measured = set(reliable(films).tolist())
    groups: dict[str, list[int]] = {}
    for index, film in enumerate(films):
        if film.confidence >= RELIABLE and film.label != POSITIVE and index not in measured:
            groups.setdefault(", ".join(filter(None, (film.source, film.view))), []).append(index)
    return {name: np.array(groups[name], np.int64) for name in sorted(groups)}


def sources_of(films: Iterable[LabelledFilm]) -> list[str]:
    """The sources of the films, each once, sorted."""
    return sorted({film.source for film in films})


def strata_of(films: Sequence[LabelledFilm]) -> _Indices:
    """The source and view of each film as one number, shape (n,).

    The number is ``source * len(VIEWS) + view`` with indices in :func:`sources_of` and in
    :data:`screening.training.data.manifest.VIEWS`; it is 0 for a single source without views.
    """
    sources = {source: index for index, source in enumerate(sources_of(films))}
    return np.array(
        [sources[film.source] * len(VIEWS) + VIEWS.index(film.view) for film in films], np.int64
    )


def confidence_of(films: Sequence[LabelledFilm]) -> npt.NDArray[np.float32]:
    """The probability that each label is right, shape (n,), 0.5 to 1."""
    return np.array([film.confidence for film in films], np.float32)


def with_confidence(
    films: Sequence[LabelledFilm], confidence: Mapping[str, float]
) -> list[LabelledFilm]:
    """Set the confidence of films that the user gave for their sources.

    Args:
        confidence: by ``SOURCE`` or ``SOURCE/CLASS``, 0.5 to 1; the latter takes precedence.

    Raises:
        TrainingDataError: if a source or a class is unknown, or if the
            manifest of the source has confidences of its own.
    """
    for key in confidence:
        source, _slash, finding = key.partition("/")
        refuse_unknown(films, [source], f"--confidence {key}")
        if _slash and finding not in CLASSES:
            raise TrainingDataError(
                f"--confidence {key}: there is no class {finding}; expected {' or '.join(CLASSES)}"
            )
        if any(film.confidence != 1 for film in films if film.source == source):
            raise TrainingDataError(
                f"--confidence {key}: the manifest of {source} already has confidences; omit the "
                "option, or remove the column"
            )
    return [replace(film, confidence=_confidence(film, confidence)) for film in films]


#: Ages of a range are at most this many years apart.
_AGE_GAP: Final = 5


def ranges_of_ages(
    films: Iterable[LabelledFilm], given: Mapping[str, tuple[float, float]]
) -> tuple[tuple[float, float], ...] | None:
    """The ranges of the patients' ages, in years, ascending.

    Args:
        given: age of the youngest and the oldest patient by source, for sources whose films have
            no ages.

    Returns:
        Ranges with more than :data:`_AGE_GAP` years without a patient between them; None if
        neither the films nor `given` have ages for one of the sources.
    """
    known: dict[str, list[tuple[float, float]]] = {}
    for film in films:
        ages = known.setdefault(film.source, [given[film.source]] if film.source in given else [])
        if film.age is not None:
            ages.append((film.age, film.age))
    if not known or not all(known.values()):
        return None
    ranges: list[tuple[float, float]] = []
    for youngest, oldest in sorted(age for own in known.values() for age in own):
        if ranges and youngest - ranges[-1][1] <= _AGE_GAP:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], oldest)
        else:
            ranges.append((youngest, oldest))
    return tuple(ranges)


def refuse_unknown(films: Iterable[LabelledFilm], names: Iterable[str], option: str) -> None:
    """Raise an error for names of sources that no film has.

    Args:
        option: the option as the user wrote it, for the message.

    Raises:
        TrainingDataError: if a name is unknown; the message lists the known sources.
    """
    known = sources_of(films)
    for name in names:
        if name not in known:
            raise TrainingDataError(
                f"{option}: there is no source {name}; the sources are {', '.join(known)}"
            )


def _confidence(film: LabelledFilm, confidence: Mapping[str, float]) -> float:
    of_source = confidence.get(film.source, film.confidence)
    return confidence.get(f"{film.source}/{CLASSES[film.label]}", of_source)
