"""Which job a report is of: when, by whom and with what, from its events and rows."""

from collections.abc import Sequence
from typing import Final

from screening.audit import EVALUATES, Event
from screening.row import Row

#: The name of the fact of how common pneumonia is where the probabilities hold.
PREVALENCE: Final = "Probabilities hold at a prevalence of"


def job_facts(events: Sequence[Event], rows: Sequence[Row], finished: str) -> dict[str, str]:
    """Facts by name, in the order of the page; what is not known is left out.

    Args:
        events: what happened to the job; those of films are not needed.
        finished: when the report is written; UTC, ISO 8601.
    """
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.event, event)
    submitted, started, listed = (first.get(name) for name in ("submitted", "started", "listed"))
    known = _named(submitted.detail if submitted else "") | _named(
        started.detail if started else ""
    )
    answered = next((row for row in rows if row.model), None)
    threshold = next((row.threshold for row in rows if row.threshold is not None), None)
    facts = {
        "Job": submitted.subject if submitted else "",
        "Folder": listed.detail.partition(", folder ")[2] if listed else "",
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
        "Labels": first["labels"].detail if "labels" in first else "",
    }
    return {name: value for name, value in facts.items() if value}


def _evaluated(event: Event | None) -> str:
    return f"{event.subject}, chain head {event.sha256[:16]}" if event else ""


def _named(detail: str) -> dict[str, str]:
    """``user ada, host ward-3`` by name."""
    pairs = (part.partition(" ") for part in detail.split(", "))
    return {name: value for name, _, value in pairs if value}


def _moment(at: str) -> str:
    """A time to the second, for people."""
    return at[:19].replace("T", " ")
