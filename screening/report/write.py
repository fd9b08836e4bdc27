"""Write a report: whole, or not at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from screening.audit import Event, film_event, write_audit
from screening.card import sha256_of
from screening.clock import now
from screening.errors import ReportError
from screening.gallery import Gallery
from screening.privacy import PatientKey
from screening.report.labels import Labels
from screening.report.summary import SUMMARY, Line, summarise, write_summary
from screening.row import PREDICTIONS, Row, write_rows
from screening.whole import whole


@dataclass(frozen=True)
class Report:
    """What a report was written from, for those who print it.

    Attributes:
        rows: one a film, with labels and outcomes.
        lines: the summary.
    """

    folder: Path
    rows: Sequence[Row]
    lines: Sequence[Line]


def write_report(
    folder: Path,
    rows: Sequence[Row],
    events: Sequence[Event],
    labels: Labels | None,
    key: PatientKey,
    shown_name: Callable[[str], str] = str,
    gallery: Gallery | None = None,
) -> Report:
    """Write the report folder.

    Args:
        folder: must not exist, or be empty.
        rows: one for each film of the job, in order.
        events: what happened to the job before the report was written.
        labels: joined to the rows, if given.
        shown_name: how a film is named in the report.
        gallery: the heat maps that the rows name, if there are any; they stay there, too.

    Raises:
        ReportError: if `folder` holds something, or cannot be written.
        LabelsError: if the labels contradict each other.
    """
    without_film = 0
    if labels is not None:
        rows, missing = labels.join(rows, key)
        without_film = len(missing)
        events = [*events, _labels_event(labels, without_film, shown_name(labels.path.name))]
    rows = [replace(row, film=shown_name(row.film)) for row in rows]
    lines = summarise(rows, without_film)
    try:
        with whole(folder) as aside:
            write_rows(aside / PREDICTIONS, rows)
            write_summary(aside / SUMMARY, lines)
            if gallery is not None:
                gallery.hang(aside, rows)
            write_audit(aside, [*events, *map(film_event, rows)], len(rows))
    except OSError as error:
        raise ReportError(f"the report {folder} cannot be written: {error.strerror}") from error
    return Report(folder, rows, lines)


def _labels_event(labels: Labels, without_film: int, shown: str) -> Event:
    detail = f"{len(labels.labels)} labels, {without_film} without a film"
    return Event(now(), "labels", shown, detail, sha256_of(labels.path))
