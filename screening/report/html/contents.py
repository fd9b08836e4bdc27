"""Collect the contents of a report's page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from screening.audit import EVALUATES, Event
from screening.report.drift.drift_csv import Drift
from screening.report.metrics import Scored
from screening.report.operating_points import ThresholdRow
from screening.report.summary import SummaryLine
from screening.results import NORMAL, PNEUMONIA, Row, Status


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Everything known when a report is written. The page leaves out what is missing.

    Attributes:
        rows: one row per film, with labels and outcomes.
        lines: lines of the summary, identified by metric, subset and unit.
        points: operating points.
        scored: films with a label and a prediction; None without any.
        facts: facts about the job by name (when, by whom, with what), shown as given in this order.
        label_problems: number of lines of the labels file that were not used, by kind.
        drift: comparisons of tonight; empty if there is nothing to compare with yet.
    """

    rows: Sequence[Row]
    lines: Sequence[SummaryLine] = ()
    points: Sequence[ThresholdRow] = ()
    scored: Scored | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    label_problems: Mapping[str, int] = field(default_factory=dict)
    drift: Sequence[Drift] = ()

    @cached_property
    def statuses(self) -> Counter[Status]:
        """Number of files by status."""
        return Counter(row.status for row in self.rows)

    @cached_property
    def answered(self) -> list[Row]:
        """Rows with a probability."""
        return [row for row in self.rows if row.probability is not None]

    @cached_property
    def called(self) -> list[Row]:
        """Films called pneumonia, by descending probability."""
        return sorted(
            (row for row in self.answered if row.prediction == PNEUMONIA),
            key=lambda row: (-(row.probability or 0), row.film),
        )

    @cached_property
    def warnings(self) -> Counter[str]:
        """Number of films with a probability by the code of each warning."""
        return Counter(code for row in self.answered for code in row.warning_codes)

    @property
    def called_normal(self) -> int:
        """Number of films called normal."""
        return sum(row.prediction == NORMAL for row in self.answered)

    @cached_property
    def threshold(self) -> float | None:
        """Probability from which a film was called pneumonia; None if no film has one."""
        return next((row.threshold for row in self.answered if row.threshold is not None), None)


#: Name of the fact that gives the prevalence for which the probabilities are calibrated.
PREVALENCE: Final = "Probabilities are for a prevalence of"


def job_facts(events: Sequence[Event], rows: Sequence[Row], finished: str) -> dict[str, str]:
    """Return facts by name in the order of the page; unknown facts are left out.

    Args:
        events: events of the job; those of films are not needed.
        finished: when the report is written; UTC, ISO 8601.
    """
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.event, event)
    submitted, started, listed = (first.get(name) for name in ("submitted", "started", "listed"))
    known = {
        name: value for each in (submitted, started) if each for name, value in each.fields.items()
    }
    answered = next((row for row in rows if row.model), None)
    threshold = next((row.threshold for row in rows if row.threshold is not None), None)
    facts = {
        "Job": submitted.subject if submitted else "",
        "Folder": listed.fields.get("folder", "") if listed else "",
        "Evaluation of": _evaluated(first.get(EVALUATES)),
        "Submitted (UTC)": _moment(submitted.at if submitted else ""),
        "Started (UTC)": _moment(started.at if started else ""),
        "Finished (UTC)": _moment(finished),
        "User": known.get("user", ""),
        "Host": known.get("host", ""),
        "Model": answered.model if answered else "",
        "Model's hash": answered.model_sha256 if answered else "",
        "Runtime": answered.runtime if answered else "",
        "Threshold": f"{threshold:.6g}" if threshold is not None else known.get("threshold", ""),
        PREVALENCE: known.get("prevalence", ""),
        "Labels": _labels(first.get("labels")),
    }
    return {name: value for name, value in facts.items() if value}


def _evaluated(event: Event | None) -> str:
    return f"{event.subject}, chain head {event.sha256[:16]}" if event else ""


def _labels(event: Event | None) -> str:
    if event is None:
        return ""
    labels, unused, policy = (event.fields[name] for name in ("labels", "unused", "policy"))
    return f"{labels} labels, {unused} not used, policy {policy}"


def _moment(at: str) -> str:
    """Format a time to the second for display."""
    return at[:19].replace("T", " ")
