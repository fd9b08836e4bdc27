"""The table of thresholds, as a page shows it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from screening.report.operating_points import CHOSEN, STEP
from screening.report.pages.words import between, count, number

_SHARES: Final = ("sensitivity", "specificity", "ppv", "npv")


def point_rows(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows for the macro ``point_table``: those with a meaning, and all of them.

    Args:
        points: as :meth:`Point.as_dict` gives them; what one lacks is shown as a dash.
    """
    rows = [_row(point) for point in points]
    projected = [point["projected"] for point in points if point.get("projected")]
    return {
        "named": [row for row in rows if row["marks"]],
        "all": rows,
        "prevalence": f"{projected[0]['prevalence']:.1%}" if projected else None,
    }


def _row(point: Mapping[str, Any]) -> dict[str, Any]:
    marks = [mark for mark in point.get("marks", ()) if mark != STEP]
    projected = point.get("projected") or {}
    return {
        "threshold": f"{point['threshold']:.6g}",
        "marks": ["in use" if mark == CHOSEN else mark for mark in marks],
        "chosen": CHOSEN in marks,
        "shares": [_share(point.get(key)) for key in _SHARES],
        "referrals": number(point.get("referrals"), 1),
        "counts": [count(point.get(key)) for key in ("tp", "fp", "tn", "fn")],
        "projected": [
            number(projected.get("ppv")),
            number(projected.get("npv")),
            number(projected.get("referrals"), 1),
        ],
    }


def _share(figure: Any) -> tuple[str, str]:
    """The value and its interval; a card may hold the value alone."""
    if not isinstance(figure, Mapping):
        return number(figure), ""
    return number(figure.get("value")), between(figure.get("ci_low"), figure.get("ci_high"))
