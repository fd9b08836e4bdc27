"""Labels that somebody gave to films, as a file of them says it."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Final, Self

from screening.errors import LabelsError
from screening.findings import CLASSES, NORMAL, PNEUMONIA
from screening.row import LINE_END, cell

LABELS: Final = "labels.csv"
_COLUMNS: Final = ("line", "problem", "film")
_MEANING: Final = {"1": PNEUMONIA, "0": NORMAL} | {name: name for name in CLASSES}


class Policy(StrEnum):
    """What becomes of a label that cannot be used as it is."""

    #: Every problem is an error, also a label without a film.
    STRICT = "strict"
    #: Every problem is an error, but a label without a film, which is listed.
    ERROR = "error"
    #: Every problem is listed in the report; where labels contradict each other none of them counts.
    LIST = "list"


class Problem(StrEnum):
    """Why a line of a labels file was not used."""

    UNKNOWN_LABEL = "unknown_label"
    NO_FILM = "no_film"
    AMBIGUOUS = "ambiguous"
    CONFLICTING = "conflicting"
    DUPLICATE = "duplicate"


#: What an error says of a problem, after the line.
SENTENCES: Final = {
    Problem.UNKNOWN_LABEL: f"there is no film, no label, or none of {', '.join(_MEANING)}",
    Problem.NO_FILM: "there is no such film",
    Problem.AMBIGUOUS: "the film fits several films; use the path relative to the folder",
    Problem.CONFLICTING: "another line says something else about the same film",
    Problem.DUPLICATE: "an earlier line says the same about the same film",
}


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


@dataclass(frozen=True, order=True)
class Unused:
    """A line of a labels file that was not used, and why.

    Attributes:
        film: the film that it is about, by its name in the report; empty if that is not known. What
            stands in the file itself may be somebody's name, and is never shown.
    """

    line: int
    problem: Problem
    film: str = ""


@dataclass(frozen=True)
class Labels:
    """A labels file.

    Attributes:
        labels: its lines, but for those that are no label.
        unknown: numbers of the lines that are none.
        sha256: of the file.
        policy: what becomes of those that cannot be used.
    """

    path: Path
    labels: tuple[Label, ...]
    unknown: tuple[int, ...] = ()
    sha256: str = ""
    policy: Policy = Policy.ERROR

    @classmethod
    def read(cls, path: Path, policy: Policy = Policy.ERROR) -> Self:
        """Read a CSV with the columns film and label, and optionally patient.

        Comma or semicolon, with or without a byte-order mark.

        Raises:
            LabelsError: if it cannot be read, or has not these columns; unless such lines are to be
                listed, naming the line, if a label is not a class name, 1 or 0.
        """
        try:
            content = path.read_bytes()
            text = content.decode("utf-8-sig")
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
            lines = list(_lines(reader))
        except csv.Error as error:
            raise LabelsError(f"{path}, line {reader.line_num}: {error}") from error
        labels = cls(
            path,
            tuple(line for line in lines if isinstance(line, Label)),
            tuple(line for line in lines if isinstance(line, int)),
            hashlib.sha256(content).hexdigest(),
            policy,
        )
        labels.refuse([Unused(line, Problem.UNKNOWN_LABEL) for line in labels.unknown])
        return labels

    def __len__(self) -> int:
        """All lines, also those that are no label."""
        return len(self.labels) + len(self.unknown)

    def refuse(self, unused: list[Unused]) -> None:
        """Raise an error that names the first of these lines that the policy does not let pass.

        Raises:
            LabelsError: quoting nothing of the file: it may be somebody's name.
        """
        listed = {
            Policy.STRICT: set[Problem](),
            Policy.ERROR: {Problem.NO_FILM},
            Policy.LIST: set(Problem),
        }[self.policy]
        for line in unused:
            if line.problem not in listed:
                raise LabelsError(f"{self.path}, line {line.line}: {SENTENCES[line.problem]}")


def write_unused(path: Path, unused: Sequence[Unused]) -> None:
    """Write the lines of a labels file that were not used, as ``line, problem, film``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=LINE_END)
        writer.writerow(_COLUMNS)
        for one in sorted(unused):
            writer.writerow([one.line, one.problem.value, cell(one.film)])


def _lines(reader: "csv.DictReader[str]") -> Iterator[Label | int]:
    """Each line as a label, or as its number if it is none."""
    for cells in reader:
        finding = _MEANING.get((cells["label"] or "").strip().upper())
        if cells["film"] is None or finding is None:
            yield reader.line_num
        else:
            patient = (cells.get("patient") or "").strip()
            yield Label(cells["film"].strip(), finding, patient, reader.line_num)
