"""Labelled films: class folders or a CSV manifest, as one list."""

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from screening.errors import TrainingDataError
from screening.findings import CLASSES

#: How file names of the Kermany collection begin with the patient: ``person12_virus_7.jpeg``,
#: ``NORMAL2-IM-1427-0001.jpeg``, ``IM-0115-0001.jpeg``.
PATIENT_PATTERN: Final = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"

#: What folders and the column ``split`` may say, and what it means.
SPLITS: Final = {
    "": "",
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_TRUE: Final = {"1": 1, "0": 0} | {name: index for index, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class LabelledFilm:
    """One film for training.

    Attributes:
        path: where it is.
        name: its path relative to the data, with POSIX slashes.
        label: index in :data:`screening.findings.CLASSES`.
        patient: films with the same value never sit on two sides of a split.
        split: ``train``, ``val``, ``test`` as the data say, or empty.
        source: the hospital or collection that the film comes from; empty if there is only one.
        view: ``AP``, ``PA`` or empty.
        age: of the patient, in years; None if it is not known.
        sex: ``F``, ``M`` or empty.
        confidence: how likely the label is right, 0.5 to 1.
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


def read_manifest(data: Path, patient_pattern: str = PATIENT_PATTERN) -> list[LabelledFilm]:
    """List the labelled films of `data`, sorted by name.

    Args:
        data: a folder with one sub-folder for each class, optionally below ``train``, ``val``
            and ``test``; or a CSV with the columns film and label, and optionally patient, split.
            ``valid`` and ``validation`` mean ``val``.
        patient_pattern: a regular expression whose first group is the patient in a file name;
            a film whose name does not match is its own patient.

    Raises:
        TrainingDataError: if there is nothing to learn from.
    """
    pattern = compiled_pattern(patient_pattern)
    if data.is_dir():
        films = _from_folders(data, pattern)
    elif data.is_file():
        films = _from_csv(data, pattern)
    else:
        raise TrainingDataError(f"{data} is neither a folder nor a CSV manifest")
    for index, name in enumerate(CLASSES):
        if not any(film.label == index for film in films):
            raise TrainingDataError(
                f"{data} has no film labelled {name}; it needs sub-folders "
                f"{' and '.join(CLASSES)}, or a CSV with the columns film,label"
            )
    return sorted(films, key=lambda film: film.name)


def fingerprint(films: list[LabelledFilm], sha256: Sequence[str] | None = None) -> str:
    """SHA-256 over the content and label of every film, whatever the files are called.

    Args:
        sha256: of each film's file, in hex, where they are known; they are read otherwise.
    """
    digests = sha256 or [hashlib.sha256(film.path.read_bytes()).hexdigest() for film in films]
    lines = sorted(f"{digest} {film.label}" for film, digest in zip(films, digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def compiled_pattern(patient_pattern: str) -> re.Pattern[str]:
    """The pattern, which must have a group.

    Raises:
        TrainingDataError: if it is no such regular expression.
    """
    try:
        pattern = re.compile(patient_pattern)
    except re.error as error:
        raise TrainingDataError(f"the patient pattern {patient_pattern!r}: {error}") from error
    if not pattern.groups:
        raise TrainingDataError(
            f"the patient pattern {patient_pattern!r} has no group; put parentheses around what "
            "is the patient"
        )
    return pattern


def _from_folders(data: Path, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    films = []
    for folder, split in SPLITS.items():
        for label, name in enumerate(CLASSES):
            for path in sorted((data / folder / name).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    relative = path.relative_to(data).as_posix()
                    patient = patient_of(path.name, relative, pattern)
                    films.append(LabelledFilm(path, relative, label, patient, split))
    return films


def _from_csv(data: Path, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    try:
        text = data.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{data} is no UTF-8 text: {error}") from error
    reader = csv.DictReader(StringIO(text, newline=""))
    films: dict[str, LabelledFilm] = {}
    try:
        missing = {"film", "label"} - set(reader.fieldnames or ())
        if missing:
            raise TrainingDataError(f"{data} lacks the column {' and '.join(sorted(missing))}")
        for row in reader:
            where = f"{data}, line {reader.line_num}"
            film = _from_row(data, row, where, pattern)
            if film.name in films:
                raise TrainingDataError(f"{where}: the film {film.name} is listed already")
            films[film.name] = film
    except csv.Error as error:
        raise TrainingDataError(f"{data}, after line {reader.line_num}: {error}") from error
    return list(films.values())


def _from_row(
    data: Path, row: dict[str, str | None], where: str, pattern: re.Pattern[str]
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
    patient = row.get("patient") or patient_of(path.name, name, pattern)
    return LabelledFilm(path, name, _TRUE[label], patient, SPLITS[split])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def patient_of(file_name: str, relative: str, pattern: re.Pattern[str]) -> str:
    """The patient in a file name; a film whose name does not match is its own patient."""
    match = pattern.search(file_name)
    return (match and match[1]) or relative
