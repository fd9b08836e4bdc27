"""Labelled films: class folders or a CSV manifest, as one list."""

import csv
import hashlib
import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from screening.errors import TrainingDataError
from screening.findings import CLASSES

#: How file names of the Kermany collection begin with the patient: ``person12_virus_7.jpeg``,
#: ``NORMAL2-IM-1427-0001.jpeg``, ``IM-0115-0001.jpeg``.
PATIENT_PATTERN: Final = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"

_SPLIT_FOLDERS: Final = ("train", "val", "test")
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
    """

    path: Path
    name: str
    label: int
    patient: str
    split: str = ""


def read_manifest(data: Path, patient_pattern: str = PATIENT_PATTERN) -> list[LabelledFilm]:
    """List the labelled films of `data`, sorted by name.

    Args:
        data: a folder with one sub-folder for each class, optionally below ``train``, ``val``
            and ``test``; or a CSV with the columns film and label, and optionally patient, split.
        patient_pattern: a regular expression whose first group is the patient in a file name;
            a film whose name does not match is its own patient.

    Raises:
        TrainingDataError: if there is nothing to learn from.
    """
    if data.is_dir():
        films = _from_folders(data, re.compile(patient_pattern))
    elif data.is_file():
        films = _from_csv(data, re.compile(patient_pattern))
    else:
        raise TrainingDataError(f"{data} is neither a folder nor a CSV manifest")
    for index, name in enumerate(CLASSES):
        if not any(film.label == index for film in films):
            raise TrainingDataError(
                f"{data} has no film labelled {name}; it needs sub-folders "
                f"{' and '.join(CLASSES)}, or a CSV with the columns film,label"
            )
    return sorted(films, key=lambda film: film.name)


def fingerprint(films: list[LabelledFilm]) -> str:
    """SHA-256 over the content and label of every film, whatever the files are called."""
    lines = sorted(
        f"{hashlib.sha256(film.path.read_bytes()).hexdigest()} {film.label}" for film in films
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _from_folders(data: Path, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    films = []
    for split in ("", *_SPLIT_FOLDERS):
        for label, name in enumerate(CLASSES):
            for path in sorted((data / split / name).rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    relative = path.relative_to(data).as_posix()
                    patient = _patient(path.name, relative, pattern)
                    films.append(LabelledFilm(path, relative, label, patient, split))
    return films


def _from_csv(data: Path, pattern: re.Pattern[str]) -> list[LabelledFilm]:
    films = []
    try:
        text = data.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{data} is no UTF-8 text: {error}") from error
    reader = csv.DictReader(StringIO(text, newline=""))
    missing = {"film", "label"} - set(reader.fieldnames or ())
    if missing:
        raise TrainingDataError(f"{data} lacks the column {' and '.join(sorted(missing))}")
    for row in reader:
        where = f"{data}, line {reader.line_num}"
        name, label = row["film"] or "", row["label"]
        path = data.parent / name
        if not path.is_file():
            raise TrainingDataError(f"{where}: there is no film {path}")
        if label not in _TRUE:
            raise TrainingDataError(f"{where}: the label is {label!r}, expected {', '.join(_TRUE)}")
        patient = row.get("patient") or _patient(path.name, name, pattern)
        films.append(LabelledFilm(path, name, _TRUE[label], patient, row.get("split") or ""))
    return films


def _patient(file_name: str, relative: str, pattern: re.Pattern[str]) -> str:
    match = pattern.search(file_name)
    return match[1] if match else relative
