"""Read a labels file and match its labels with the rows."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Final, Self

from screening.errors import FileUnavailable, LabelsError
from screening.privacy import PatientKey
from screening.results import CLASSES, LINE_END, NORMAL, PNEUMONIA, Row, Status, cell

LABELS: Final = "labels.csv"
_COLUMNS: Final = ("line", "problem", "film")
_MEANING: Final = {"1": PNEUMONIA, "0": NORMAL} | {name: name for name in CLASSES}


class Policy(StrEnum):
    """How to treat labels that cannot be used."""

    #: Every problem is an error, including a label without a film.
    STRICT = "strict"
    #: Every problem is an error, except a label without a film, which is listed.
    ERROR = "error"
    #: Every problem is listed in the report; of labels that contradict each other none is used.
    LIST = "list"


class LabelProblem(StrEnum):
    """Why a line of a labels file was not used."""

    UNKNOWN_LABEL = "unknown_label"
    NO_FILM = "no_film"
    AMBIGUOUS = "ambiguous"
    CONFLICTING = "conflicting"
    DUPLICATE = "duplicate"


#: Texts of errors by problem, shown after the line number.
SENTENCES: Final = {
    LabelProblem.UNKNOWN_LABEL: f"the film or the label is missing, or the label is not one of {', '.join(_MEANING)}",
    LabelProblem.NO_FILM: "there is no such film",
    LabelProblem.AMBIGUOUS: "the name matches several films; use the path relative to the folder",
    LabelProblem.CONFLICTING: "another line for the same film has another label or patient",
    LabelProblem.DUPLICATE: "an earlier line for the same film says the same",
}


@dataclass(frozen=True)
class Label:
    """One line of a labels file.

    Attributes:
        film: relative path, file name or SOP Instance UID, as written in the file.
        finding: class name.
        patient: as written in the file; hashed before it reaches a report.
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
        film: the film's name in the report; empty if it is not known. The text in the labels file
            may be a person's name and is never shown.
    """

    line: int
    problem: LabelProblem
    film: str = ""


@dataclass(frozen=True)
class Labels:
    """A labels file.

    Attributes:
        labels: the lines that are labels.
        unknown: numbers of the lines that are not.
        sha256: SHA-256 of the file.
        policy: how to treat labels that cannot be used.
    """

    path: Path
    labels: tuple[Label, ...]
    unknown: tuple[int, ...] = ()
    sha256: str = ""
    policy: Policy = Policy.ERROR

    @classmethod
    def read(cls, path: Path, policy: Policy = Policy.ERROR) -> Self:
        """Read a CSV with the columns film and label, and optionally patient.

        The separator is comma or semicolon; a byte-order mark is allowed.

        Raises:
            FileUnavailable: if the file cannot be read.
            LabelsError: if it is not UTF-8 or lacks these columns. Also, naming the line, if a
                label is not a class name, 1 or 0, unless the policy is to list such lines.
        """
        try:
            content = path.read_bytes()
            text = content.decode("utf-8-sig")
        except OSError as error:
            raise FileUnavailable(f"the labels {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
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
        labels.refuse([Unused(line, LabelProblem.UNKNOWN_LABEL) for line in labels.unknown])
        return labels

    def __len__(self) -> int:
        """Return the number of all lines, including those that are not labels."""
        return len(self.labels) + len(self.unknown)

    def refuse(self, unused: list[Unused]) -> None:
        """Raise an error that names the first of these lines that the policy does not allow.

        Raises:
            LabelsError: without quoting the file, which may contain a person's name.
        """
        listed = {
            Policy.STRICT: set[LabelProblem](),
            Policy.ERROR: {LabelProblem.NO_FILM},
            Policy.LIST: set(LabelProblem),
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
    """Yield each line as a label, or as its line number if it is not one."""
    for cells in reader:
        finding = _MEANING.get((cells["label"] or "").strip().upper())
        if cells["film"] is None or finding is None:
            yield reader.line_num
        else:
            patient = (cells.get("patient") or "").strip()
            yield Label(cells["film"].strip(), finding, patient, reader.line_num)


def join(rows: Sequence[Row], labels: Labels, key: PatientKey) -> tuple[list[Row], list[Unused]]:
    """Return rows with labels and outcomes, and the lines of the file that were not used.

    A film is looked up by relative path, then file name, then SOP Instance UID; in a report that
    hides names, by relative path or UID. A label of a copy also applies to its film, unless the
    film has its own.

    Args:
        key: the key that the rows' hashes were made with.

    Raises:
        LabelsError: naming the line, if a label cannot be used and the policy does not allow that.
    """
    index = _Index.of(rows)
    unused = [Unused(line, LabelProblem.UNKNOWN_LABEL) for line in labels.unknown]
    given: dict[str, list[Label]] = {}
    for label in labels.labels:
        films = index.films(label.film, key)
        if len(films) == 1:
            given.setdefault(films[0], []).append(label)
        else:
            unused.append(
                Unused(label.line, LabelProblem.AMBIGUOUS if films else LabelProblem.NO_FILM)
            )
    used: dict[str, Label] = {}
    for film, own in given.items():
        if _contradict(own):
            unused += [Unused(label.line, LabelProblem.CONFLICTING, film) for label in own]
            continue
        used[film] = _with_patient(own)
        unused += [Unused(label.line, LabelProblem.DUPLICATE, film) for label in own[1:]]
    unused += _share_with_films(rows, used)
    unused.sort()
    labels.refuse(unused)
    return [_labelled(row, used.get(row.film), key) for row in rows], unused


def unlabelled(row: Row) -> Row:
    """Return the row without its label and outcome; the patient stays."""
    return replace(row, label="", outcome="")


def outcome(label: str, prediction: str) -> str:
    """Return TP, FP, TN or FN; empty without a label or a prediction."""
    if not label or not prediction:
        return ""
    right = "T" if label == prediction else "F"
    return right + ("P" if prediction == PNEUMONIA else "N")


@dataclass(frozen=True)
class _Index:
    """Films by the names that a label may use for them."""

    paths: Mapping[str, list[str]]
    names: Mapping[str, list[str]]
    instances: Mapping[str, list[str]]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "_Index":
        paths: dict[str, list[str]] = {}
        names: dict[str, list[str]] = {}
        instances: dict[str, list[str]] = {}
        for row in rows:
            paths.setdefault(row.film, []).append(row.film)
            names.setdefault(PurePosixPath(row.film).name, []).append(row.film)
            # A copy has the UID of its film, but no prediction to evaluate.
            if row.instance and row.status is not Status.DUPLICATE:
                instances.setdefault(row.instance, []).append(row.film)
        return cls(paths, names, instances)

    def films(self, name: str, key: PatientKey) -> list[str]:
        return (
            self.paths.get(name)
            or self.names.get(name)
            or self.instances.get(key.hash("instance", name))
            # The film's name in a report that hides names.
            or self.paths.get(key.film(name))
            or []
        )


def _contradict(labels: Sequence[Label]) -> bool:
    patients = {label.patient for label in labels if label.patient}
    return len({label.finding for label in labels}) > 1 or len(patients) > 1


def _with_patient(labels: Sequence[Label]) -> Label:
    """Return the first label, with the first patient that any of the labels names."""
    return replace(labels[0], patient=next((one.patient for one in labels if one.patient), ""))


def _share_with_films(rows: Sequence[Row], used: dict[str, Label]) -> list[Unused]:
    """Give films the labels of their copies; return labels that contradict each other as unused.

    Only a film has a prediction; a label on a copy alone would evaluate nothing.
    """
    films = {row.sha256: row.film for row in rows if row.status is Status.SCORED}
    labelled_copies: dict[str, list[str]] = {}
    for row in rows:
        if row.status is Status.DUPLICATE and row.film in used and row.sha256 in films:
            labelled_copies.setdefault(films[row.sha256], []).append(row.film)
    unused = []
    for film, copies in labelled_copies.items():
        names = [film, *copies] if film in used else copies
        labels = [used[name] for name in names]
        if _contradict(labels):
            unused += [Unused(used[name].line, LabelProblem.CONFLICTING, name) for name in names]
            for name in names:
                del used[name]
        else:
            used[film] = _with_patient(labels)
    return unused


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
