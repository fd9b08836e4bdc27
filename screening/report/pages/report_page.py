"""The page of a report: what a reader of the night asks, in this order."""

from pathlib import Path
from typing import Final

from screening.findings import NORMAL, PNEUMONIA
from screening.report.drift.lines import Drift
from screening.report.pages import films, legend
from screening.report.pages.album import Album
from screening.report.pages.contents import Contents
from screening.report.pages.facts import PREVALENCE
from screening.report.pages.lungs import lungs_of
from screening.report.pages.notices import notices
from screening.report.pages.page import render
from screening.report.pages.points import point_rows
from screening.report.pages.report_figures import draw_figures
from screening.report.pages.tables import performance_table, subset_tables, too_many
from screening.report.pages.words import DASH, shown
from screening.row import Status

PAGE: Final = "report.html"

_UNANSWERED: Final = (Status.FAILED, Status.REFUSED, Status.DUPLICATE)

#: Lines of the table of drift.
_DRIFT: Final = 200


def write_page(folder: Path, contents: Contents) -> None:
    """Write ``report.html`` and ``figures/*.png`` into a report that is being written.

    The page stays below 5 MB, however many films there are: its lists say where they end.

    Args:
        folder: holds the other files of the report, and the pictures that the rows name.

    Raises:
        OSError: if something cannot be read or written.
    """
    album = Album(folder)
    work = films.work_list(contents, album)
    near, near_number, near_range = films.near_threshold(contents, album)
    page = render(
        "report.html.j2",
        contents=contents,
        status=Status,
        classes=(NORMAL, PNEUMONIA),
        facts=[(name, shown(value)) for name, value in contents.facts.items()],
        threshold=DASH if contents.threshold is None else f"{contents.threshold:.6g}",
        prevalence=contents.facts.get(PREVALENCE, ""),
        notices=notices(contents),
        lungs=lungs_of(contents),
        work=work,
        near=near,
        near_number=near_number,
        near_range=near_range,
        limits=films,
        performance=performance_table(contents.lines),
        subsets=subset_tables(contents.lines),
        too_many=too_many(contents.lines),
        points=point_rows([point.as_dict() for point in contents.points]),
        reasons={status.value: films.reasons(contents, status) for status in _UNANSWERED},
        drift=_drift(contents),
        figures=draw_figures(folder, contents),
        files=legend.files(folder),
        columns=legend.columns(),
    )
    # A file's name may hold what is no text; the page shows a question mark for it.
    (folder / PAGE).write_text(page, encoding="utf-8", errors="replace")


def _drift(contents: Contents) -> list[dict[str, str]]:
    """Comparisons as the table shows them, those with a breach first."""
    ranked = sorted(contents.drift, key=lambda line: not line.breach)
    return [
        {
            "sentence": shown(line.sentence, 300),
            "window": line.window,
            "value": _measured(line.value),
            "expected": _measured(line.expected),
            "limits": _limits(line),
            "n": f"{line.n:,}",
            "breach": "breach" if line.breach else "",
        }
        for line in ranked[:_DRIFT]
    ]


def _limits(line: Drift) -> str:
    low, high = _measured(line.low), _measured(line.high)
    if line.low is None:
        return DASH if line.high is None else f"up to {high}"
    return f"from {low}" if line.high is None else f"{low} to {high}"


def _measured(value: float | None) -> str:
    """Three digits: what is measured may be a share, or a millionth of one."""
    return DASH if value is None else f"{value:.3g}"
