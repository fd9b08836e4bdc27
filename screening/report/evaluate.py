"""Evaluate a finished report against labels that came later, without the films."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from screening.audit import EVALUATES, KEYED, TARGET, WRITING, Event, target_of
from screening.errors import KeyFileError
from screening.files import now
from screening.privacy import PatientKey
from screening.report.drift.drift_csv import read_drift
from screening.report.drift.profile import NightProfile
from screening.report.labels import Labels, unlabelled
from screening.report.verification import intact
from screening.report.writer import Night, Report, write_report
from screening.results import PREDICTIONS, Row, read_rows


def evaluate(
    report: Path,
    labels: Labels,
    key: PatientKey | None,
    out: Path,
    prevalence: float | None = None,
    who: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """Write an evaluation of a report to a new folder; only the report is read.

    The evaluation equals the report as it would have been written with these labels: the same
    figures, to the last digit. Its audit begins with the head of the report's chain. Labels in the
    report are dropped, its pictures are not copied, and its drift results are repeated.

    Args:
        key: the key that the report was written with; with None or another key, labels by SOP
            Instance UID are not found and patients are not hashed.
        who: whoever writes the evaluation: fields of the audit's event.

    Raises:
        ReportError: if `report` is not a report or was changed since it was written, or if the
            evaluation cannot be written.
        LabelsError: if labels cannot be used and the policy is not to list them.
        KeyFileError: if the labels name patients and the key is not the report's.
    """
    history = intact(report)
    keyed = [event for event in history.events if event.event == KEYED]
    fields = {TARGET: target_of(history.events)}
    begun = Event(now(), EVALUATES, report.resolve().name, fields, history.head)
    night = Night(
        rows=[_bare(row) for row in read_rows(report / PREDICTIONS)],
        events=[begun, *keyed, Event(now(), WRITING, report.resolve().name, who)],
        key=_usable(key, keyed, labels),
        labels=labels,
        prevalence=prevalence,
        profile=NightProfile.read(report),
        drift=read_drift(report),
    )
    return write_report(out, night)


def _bare(row: Row) -> Row:
    return replace(unlabelled(row), heatmap="", thumbnail="")


def _usable(key: PatientKey | None, keyed: Sequence[Event], labels: Labels) -> PatientKey:
    if key is not None and all(event.subject == key.fingerprint for event in keyed):
        return key
    if any(label.patient for label in labels.labels):
        raise KeyFileError(
            f"the labels {labels.path} name patients, but the report has hashes of them, made with "
            f"{'a' if key is None else 'another'} key; give that key with --key"
        )
    return PatientKey.of_nobody()
