"""Write a report: whole, or not at all."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from screening.audit import SIGNATURE, Event, film_event, write_audit
from screening.errors import ReportError
from screening.files import atomic_directory, now
from screening.inference.report_images import ReportImages
from screening.privacy import PatientKey
from screening.report.drift.night_comparison import Drift, write_drift
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
    """What a report is made from.

    Attributes:
        rows: one for each film, in order.
        events: what happened before the report is written; those of films are added.
        key: what the hashes in the rows were made with.
        labels: to be joined to the rows.
        prevalence: share of films with pneumonia where predictive values are to hold, 0..1.
        shown_name: how a film is named in the report.
        gallery: the heat maps that the rows name; they stay there, too.
        profile: what the films were like, for the nights to come; None to leave it out.
        drift: what came of comparing it with the nights before.
        sign: gives the signature over the head of the audit's chain, for ``audit.sig``; None if the
            report is not signed.
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
    """What a report says, for those who print it.

    Attributes:
        rows: one a film, with labels and outcomes.
        lines: the summary.
        scored: films with a label and an answer; None without any.
        points: what each threshold would mean for them.
        unused: lines of the labels file that were not used; None if there is no such file.
        drift: how the films differ from those of the nights before.
        events: what happened before the report was written, but for what became of the films.
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
        ReportError: if `folder` holds something, or cannot be written.
        LabelsError: if the labels cannot be used, and are not to be listed then.
    """
    report = _made(folder, night)
    try:
        with atomic_directory(folder) as aside:
            _write(aside, report, night)
    except OSError as error:
        raise ReportError(f"the report {folder} cannot be written: {error.strerror}") from error
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
    # Most names are shown as they are; another row for each would need as much memory again.
    return row if name == row.film else replace(row, film=name)


def _points(
    scored: Scored | None, rows: Sequence[Row], prevalence: float | None
) -> list[ThresholdRow]:
    """The table of operating points; the threshold of all films is one."""
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
    detail = f"{len(labels)} labels, {unused} not used, policy {labels.policy}"
    return Event(now(), "labels", shown_name(labels.path.name), detail, labels.sha256)
