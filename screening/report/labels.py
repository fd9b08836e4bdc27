"""Labels of films: read the file, and match them with the rows."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Final, Self

from screening.errors import LabelsError
from screening.privacy import PatientKey
from screening.results import CLASSES, LINE_END, NORMAL, PNEUMONIA, Row, Status, cell

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


class LabelProblem(StrEnum):
    """Why a line of a labels file was not used."""

    UNKNOWN_LABEL = "unknown_label"
    NO_FILM = "no_film"
    AMBIGUOUS = "ambiguous"
    CONFLICTING = "conflicting"
    DUPLICATE = "duplicate"


#: What an error says of a problem, after the line.
SENTENCES: Final = {
    LabelProblem.UNKNOWN_LABEL: f"there is no film, no label, or none of {', '.join(_MEANING)}",
    LabelProblem.NO_FILM: "there is no such film",
    LabelProblem.AMBIGUOUS: "the film fits several films; use the path relative to the folder",
    LabelProblem.CONFLICTING: "another line says something else about the same film",
    LabelProblem.DUPLICATE: "an earlier line says the same about the same film",
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
    problem: LabelProblem
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
        labels.refuse([Unused(line, LabelProblem.UNKNOWN_LABEL) for line in labels.unknown])
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
    """Each line as a label, or as its number if it is none."""
    for cells in reader:
        finding = _MEANING.get((cells["label"] or "").strip().upper())
        if cells["film"] is None or finding is None:
            yield reader.line_num
        else:
            patient = (cells.get("patient") or "").strip()
            yield Label(cells["film"].strip(), finding, patient, reader.line_num)


def join(rows: Sequence[Row], labels: Labels, key: PatientKey) -> tuple[list[Row], list[Unused]]:
    """Rows with their labels and outcomes, and the lines of the file that were not used.

    A film is looked for by relative path, then file name, then SOP Instance UID; in a report that
    hides names by relative path or UID. A label of a copy is one of its film, too, unless that has
    its own.

    Args:
        key: the one that the rows' hashes were made with.

    Raises:
        LabelsError: naming the line, if one cannot be used and the policy does not let it pass.
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
    unused += _lend(rows, used)
    unused.sort()
    labels.refuse(unused)
    return [_labelled(row, used.get(row.film), key) for row in rows], unused


def unlabelled(row: Row) -> Row:
    """The same row before it had a label; its patient stays."""
    return replace(row, label="", outcome="")


def outcome(label: str, prediction: str) -> str:
    """TP, FP, TN or FN; empty if there is no label or no prediction."""
    if not label or not prediction:
        return ""
    right = "T" if label == prediction else "F"
    return right + ("P" if prediction == PNEUMONIA else "N")


@dataclass(frozen=True)
class _Index:
    """Films by what a label may call them."""

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
            # A copy has the UID of its film, and no answer to be judged.
            if row.instance and row.status is not Status.DUPLICATE:
                instances.setdefault(row.instance, []).append(row.film)
        return cls(paths, names, instances)

    def films(self, name: str, key: PatientKey) -> list[str]:
        return (
            self.paths.get(name)
            or self.names.get(name)
            or self.instances.get(key.hash("instance", name))
            # As the report names it where names are hidden.
            or self.paths.get(key.film(name))
            or []
        )


def _contradict(labels: Sequence[Label]) -> bool:
    patients = {label.patient for label in labels if label.patient}
    return len({label.finding for label in labels}) > 1 or len(patients) > 1


def _with_patient(labels: Sequence[Label]) -> Label:
    """The first label, with the patient that any of them names."""
    return replace(labels[0], patient=next((one.patient for one in labels if one.patient), ""))


def _lend(rows: Sequence[Row], used: dict[str, Label]) -> list[Unused]:
    """Give films the labels of their copies; those that contradict the film or each other.

    Only a film has an answer: a label that is on a copy alone would judge nothing.
    """
    films = {row.sha256: row.film for row in rows if row.status is Status.SCORED}
    borne: dict[str, list[str]] = {}
    for row in rows:
        if row.status is Status.DUPLICATE and row.film in used and row.sha256 in films:
            borne.setdefault(films[row.sha256], []).append(row.film)
    unused = []
    for film, copies in borne.items():
        bearers = [film, *copies] if film in used else copies
        labels = [used[bearer] for bearer in bearers]
        if _contradict(labels):
            unused += [Unused(used[one].line, LabelProblem.CONFLICTING, one) for one in bearers]
            for bearer in bearers:
                del used[bearer]
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
