"""How labels find the rows of their films."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from screening.findings import PNEUMONIA
from screening.privacy import PatientKey
from screening.report.labels import Label, Labels, Problem, Unused
from screening.row import Row, Status


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
    unused = [Unused(line, Problem.UNKNOWN_LABEL) for line in labels.unknown]
    given: dict[str, list[Label]] = {}
    for label in labels.labels:
        films = index.films(label.film, key)
        if len(films) == 1:
            given.setdefault(films[0], []).append(label)
        else:
            unused.append(Unused(label.line, Problem.AMBIGUOUS if films else Problem.NO_FILM))
    used: dict[str, Label] = {}
    for film, own in given.items():
        if _contradict(own):
            unused += [Unused(label.line, Problem.CONFLICTING, film) for label in own]
            continue
        used[film] = _with_patient(own)
        unused += [Unused(label.line, Problem.DUPLICATE, film) for label in own[1:]]
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
            unused += [Unused(used[one].line, Problem.CONFLICTING, one) for one in bearers]
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
