"""Write a report atomically."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from screening.audit import SIGNATURE, Event, film_event, write_audit
from screening.errors import FileUnavailable
from screening.files import atomic_directory, now
from screening.inference.report_images import ReportImages
from screening.privacy import PatientKey
from screening.report.drift.drift_csv import Drift, write_drift
from screening.report.drift.profile import NightProfile
from screening.report.html.contents import Contents, job_facts
from screening.report.html.report_page import write_page
from screening.report.labels import LABELS, Labels, Unused, join, write_unused
from screening.report.metrics import Scored, cases, judged, table_of
from screening.report.operating_points import POINTS, ThresholdRow, operating_points, write_points
from screening.report.summary import SUMMARY, SummaryLine, drifted, summarise, write_summary
from screening.results import PREDICTIONS, Row, write_rows


@dataclass(frozen=True, kw_only=True)
class Night:
    """The input of a report.

    Attributes:
        rows: one row per film, in order.
        events: events before the report is written; those of films are added.
        key: the key that the hashes in the rows were made with.
        labels: labels to join to the rows.
        prevalence: share of films with pneumonia for which to project predictive values, 0..1.
        shown_name: maps a film's name to the name shown in the report.
        gallery: stores the pictures that the rows name; it keeps its copies.
        profile: statistics of the films, for comparison by later nights; None to leave it out.
        drift: result of comparing the night with earlier ones.
        sign: returns the signature over the head of the audit's chain, for ``audit.sig``; None if
            the report is not signed.
    """

    rows: Sequence[Row]
    events: Sequence[Event]
    key: PatientKey
    labels: Labels | None = None
    prevalence: float | None = None
    shown_name: Callable[[str], str] = str
    gallery: ReportImages | None = None
    profile: NightProfile | None = None
    drift: Sequence[Drift] = ()
    sign: Callable[[str], bytes] | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of a report, for code that prints it.

    Attributes:
        rows: one row per film, with labels and outcomes.
        lines: lines of the summary.
        scored: films with a label and a prediction; None without any.
        points: operating points on these films.
        unused: lines of the labels file that were not used; None without a labels file.
        drift: comparisons of the films with those of earlier nights.
        events: events before the report was written, except those of films.
    """

    folder: Path
    rows: Sequence[Row]
    lines: Sequence[SummaryLine] = ()
    scored: Scored | None = None
    points: Sequence[ThresholdRow] = ()
    unused: Sequence[Unused] | None = None
    drift: Sequence[Drift] = ()
    events: Sequence[Event] = ()


def write_report(folder: Path, night: Night) -> Report:
    """Write the report folder.

    Args:
        folder: must not exist, or be empty.

    Raises:
        FileUnavailable: if `folder` is not empty or cannot be written.
        LabelsError: if labels cannot be used and the policy is not to list them.
    """
    report = _made(folder, night)
    try:
        with atomic_directory(folder) as aside:
            _write(aside, report, night)
    except OSError as error:
        raise FileUnavailable(f"the report {folder} cannot be written: {error.strerror}") from error
    return report


def _made(folder: Path, night: Night) -> Report:
    rows, events, unused = list(night.rows), list(night.events), None
    if night.labels is not None:
        rows, unused = join(rows, night.labels, night.key)
        unused = [replace(one, film=one.film and night.shown_name(one.film)) for one in unused]
        events.append(_labels_event(night.labels, len(unused), night.shown_name))
    rows = [_shown(row, night.shown_name) for row in rows]
    films = table_of(rows)
    own = judged(films)
    scored = None if own.empty else cases(own)
    return Report(
        folder=folder,
        rows=rows,
        lines=[*summarise(films, unused, night.prevalence), *drifted(night.drift)],
        scored=scored,
        points=_points(scored, rows, night.prevalence),
        unused=unused,
        drift=night.drift,
        events=events,
    )


def _write(aside: Path, report: Report, night: Night) -> None:
    write_rows(aside / PREDICTIONS, report.rows)
    write_summary(aside / SUMMARY, report.lines)
    if report.points:
        write_points(aside / POINTS, report.points)
    if report.unused is not None:
        write_unused(aside / LABELS, report.unused)
    if night.profile is not None:
        night.profile.write(aside)
        write_drift(aside, report.drift)
    if night.gallery is not None:
        night.gallery.hang(aside, report.rows)
    write_page(aside, _contents(report))
    events = chain(report.events, map(film_event, report.rows))
    head = write_audit(aside, events, len(report.rows))
    if night.sign is not None:
        (aside / SIGNATURE).write_bytes(night.sign(head))


def _shown(row: Row, shown_name: Callable[[str], str]) -> Row:
    name = shown_name(row.film)
    # Most names are shown unchanged; a second row for each would double the memory.
    return row if name == row.film else replace(row, film=name)


def _points(
    scored: Scored | None, rows: Sequence[Row], prevalence: float | None
) -> list[ThresholdRow]:
    """Return the table of operating points; all films of a report have the same threshold."""
    threshold = next((row.threshold for row in rows if row.threshold is not None), None)
    if scored is None or threshold is None:
        return []
    return operating_points(scored, threshold, prevalence)


def _contents(report: Report) -> Contents:
    return Contents(
        rows=report.rows,
        lines=report.lines,
        points=report.points,
        scored=report.scored,
        facts=job_facts(report.events, report.rows, now()),
        label_problems=Counter(one.problem.value for one in report.unused or ()),
        drift=report.drift,
    )


def _labels_event(labels: Labels, unused: int, shown_name: Callable[[str], str]) -> Event:
    fields = {"labels": str(len(labels)), "unused": str(unused), "policy": labels.policy.value}
    return Event(now(), "labels", shown_name(labels.path.name), fields, labels.sha256)
