"""Labels that somebody gave to films, and how they find their rows."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Final, Self

from screening.errors import LabelsError
from screening.findings import CLASSES, NORMAL, PNEUMONIA
from screening.privacy import PatientKey
from screening.row import Row, Status

_MEANING: Final = {"1": PNEUMONIA, "0": NORMAL} | {name: name for name in CLASSES}


@dataclass(frozen=True)
class Label:
    """One line of a labels file.

    Attributes:
        film: relative path, file name or SOP Instance UID, as written there.
        finding: class name.
        patient: as written there; hashed before it reaches a report.
        line: line number, for messages.
    """

    film: str
    finding: str
    patient: str
    line: int


@dataclass(frozen=True)
class Labels:
    """A labels file."""

    path: Path
    labels: tuple[Label, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV with the columns film and label, and optionally patient.

        Comma or semicolon, with or without a byte-order mark.

        Raises:
            LabelsError: naming the line, if a label is not a class name, 1 or 0.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise LabelsError(f"the labels {path} cannot be read: {error}") from error
        header = text.partition("\n")[0]
        reader = csv.DictReader(
            StringIO(text, newline=""),
            delimiter=";" if header.count(";") > header.count(",") else ",",
        )
        try:
            missing = {"film", "label"} - set(reader.fieldnames or ())
            if missing:
                raise LabelsError(f"the labels {path} lack the column {', '.join(sorted(missing))}")
            return cls(path, tuple(_label(cells, reader.line_num, path) for cells in reader))
        except csv.Error as error:
            raise LabelsError(f"{path}, line {reader.line_num}: {error}") from error

    def join(self, rows: Sequence[Row], key: PatientKey) -> tuple[list[Row], list[Label]]:
        """Rows with their labels and outcomes, and the labels for which there is no film.

        A film is looked for by relative path, then file name, then SOP Instance UID.

        Raises:
            LabelsError: if a file name fits several films, or a film gets two different labels.
        """
        index = _index(rows)
        found: dict[str, Label] = {}
        without_film = []
        for label in self.labels:
            films = _lookup(label.film, index, key)
            if not films:
                without_film.append(label)
            elif len(films) > 1:
                raise LabelsError(
                    f"{self.path}, line {label.line}: the film fits {len(films)} films; "
                    "use the path relative to the folder"
                )
            else:
                earlier = found.setdefault(films[0], label)
                if earlier.finding != label.finding:
                    raise LabelsError(
                        f"{self.path}, lines {earlier.line} and {label.line} contradict each "
                        "other about one film"
                    )
        return [_labelled(row, found.get(row.film), key) for row in rows], without_film


def outcome(label: str, prediction: str) -> str:
    """TP, FP, TN or FN; empty if there is no label or no prediction."""
    if not label or not prediction:
        return ""
    right = "T" if label == prediction else "F"
    return right + ("P" if prediction == PNEUMONIA else "N")


def _label(cells: dict[str, str], line: int, path: Path) -> Label:
    """One line; what stands in its cells may be somebody's name, so no error quotes them."""
    if cells["film"] is None:
        raise LabelsError(f"{path}, line {line}: there is no film")
    finding = _MEANING.get((cells["label"] or "").strip().upper())
    if finding is None:
        raise LabelsError(
            f"{path}, line {line}: there is no label, or none of {', '.join(_MEANING)}"
        )
    return Label(cells["film"].strip(), finding, (cells.get("patient") or "").strip(), line)


_Index = tuple[dict[str, list[str]], ...]


def _index(rows: Sequence[Row]) -> _Index:
    paths: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    instances: dict[str, list[str]] = {}
    for row in rows:
        paths.setdefault(row.film, []).append(row.film)
        names.setdefault(PurePosixPath(row.film).name, []).append(row.film)
        # A copy has the UID of its film, and no answer to be judged.
        if row.instance and row.status is not Status.DUPLICATE:
            instances.setdefault(row.instance, []).append(row.film)
    return paths, names, instances


def _lookup(name: str, index: _Index, key: PatientKey) -> list[str]:
    paths, names, instances = index
    return paths.get(name) or names.get(name) or instances.get(key.hash("instance", name)) or []


def _labelled(row: Row, label: Label | None, key: PatientKey) -> Row:
    if label is None:
        return row
    patient = key.hash("patient", label.patient) or row.patient
    return replace(
        row,
        label=label.finding,
        outcome=outcome(label.finding, row.prediction),
        patient=patient,
    )
