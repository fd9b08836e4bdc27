"""Write the page of a report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from screening.model.lungs import CODES
from screening.report.drift.drift_csv import Drift
from screening.report.html import film_lists
from screening.report.html.components import DASH, counted, point_rows, render, shown
from screening.report.html.contents import PREVALENCE, Contents
from screening.report.html.figures import draw_figures
from screening.report.html.film_lists import Album
from screening.report.html.tables import performance_table, subset_tables, too_many
from screening.results import COLUMNS, NORMAL, PNEUMONIA, WARNINGS, Status

_FILES: Final = {
    "predictions.csv": "One row for each file of the folder: its status, its probability and prediction, or the reason why it has none.",
    "summary.csv": "Counts and, with labels, metrics with 95 % intervals, for all films and for subsets.",
    "operating_points.csv": "Results of other thresholds on the labelled films.",
    "labels.csv": "Lines of the labels file that were not used, and why.",
    "drift.csv": "Comparison of this night with earlier nights and with the model's reference films.",
    "profile.json": "Figures of this night, for the comparison with later nights.",
    "audit.csv": "Who did what, and when: a chain of hashes that ends with the hashes of all other files.",
    "heatmaps": "One PNG for each scored film that shows where the model sees pneumonia, with the outline of the lungs if they were found.",
    "thumbnails": "One small picture of each scored film as the model saw it, with the same outline.",
    "figures": "The figures of this page.",
}
#: Files and folders written after the page.
_LATER: Final = ("audit.csv", "figures")

#: Meaning of each column of ``predictions.csv``.
MEANINGS: Final = {
    "film": "path in the folder that was screened",
    "sha256": "hash of the file",
    "status": "scored, refused, failed or duplicate",
    "reason": "a code and a sentence; empty for scored films",
    "probability": "calibrated probability of pneumonia, 0 to 1",
    "prediction": "PNEUMONIA if the probability reaches the threshold, otherwise NORMAL",
    "threshold": "films with at least this probability are flagged as pneumonia",
    "label": "label from the labels file",
    "outcome": "TP, FP, TN or FN: prediction compared with label",
    "patient": "keyed hash of the patient's identifier",
    "view": "view position of the header, such as PA",
    "modality": "modality of the header, such as DX",
    "model": "architecture and version",
    "model_sha256": "hash of the bundle",
    "screened_at": "time in UTC",
    "seconds": "time spent on the film",
    "runtime": "model format and the library that ran it",
    "instance": "keyed hash of the SOP Instance UID",
    "study": "keyed hash of the Study Instance UID",
    "sex": "sex from the header",
    "age_band": "band of the age in the header",
    "manufacturer": "manufacturer of the scanner",
    "warnings": "what a reader of the probability should know",
    "tensor_sha256": "hash of the model's input",
    "frontal": "how much the picture looks like a frontal chest film, 0 to 1",
    "domain_distance": "distance from the training films; above 1 there is a warning",
    "heatmap": "path of the heat map",
    "grey_mean": "mean grey value of the model's input",
    "grey_sd": "standard deviation of its grey values",
    "black": "share of black pixels",
    "white": "share of white pixels",
    "sharpness": "mean difference between neighbouring pixels",
    "thumbnail": "path of the thumbnail",
    "lung_evidence": "share of the evidence for pneumonia that lies inside the lungs, 0 to 1",
    "lung_area": "share of the film that is lung, 0 to 1",
    "decoding": "full, or how and by how much a large film was reduced while decoding",
}


def files(report: Path) -> list[tuple[str, str]]:
    """List the files and folders of a report with descriptions."""
    return [
        (name, about)
        for name, about in _FILES.items()
        if name in _LATER or (report / name).exists()
    ]


def columns() -> list[tuple[str, str]]:
    """List the columns of ``predictions.csv`` with their meanings."""
    return [(name, MEANINGS[name]) for name in COLUMNS]


@dataclass(frozen=True)
class LungSection:
    """Figures about the lungs on the films of a night.

    Attributes:
        films: number of films that were searched for lungs.
        evidence: median `lung_evidence` of the films called pneumonia; None if none has it.
        called: number of films behind this median.
        warnings: sentence, code and number of films for each code.
    """

    films: int
    evidence: float | None
    called: int
    warnings: Sequence[tuple[str, str, int]]


def lungs_of(contents: Contents) -> LungSection | None:
    """Return figures about the lungs; None if no film was searched for lungs."""
    films = sum(row.lung_area is not None for row in contents.rows)
    if not films:
        return None
    shares = [row.lung_evidence for row in contents.called if row.lung_evidence is not None]
    return LungSection(
        films=films,
        evidence=median(shares) if shares else None,
        called=len(shares),
        warnings=[(WARNINGS[code], code, contents.warnings[code]) for code in CODES],
    )


#: Fewest labelled films of a class; fewer say little about a model.
_FEW: Final = 10

_UNREACHED: Final = "not_screened"
_DRIFTED: Final = 10


def notices(contents: Contents) -> list[str]:
    """Return sentences, the most serious first; empty if nothing needs attention."""
    return [
        *_failures(contents),
        *_refusals(contents),
        *_drift(contents),
        *_warnings(contents),
        *_labels(contents),
    ]


def _failures(contents: Contents) -> Iterator[str]:
    failed = [row for row in contents.rows if row.status is Status.FAILED]
    unreached = sum(row.reason_code == _UNREACHED for row in failed)
    if not contents.rows:
        yield "The folder contained no files. If films were expected, find out where they are."
    if unreached:
        yield (
            "The job was stopped because too many films failed. "
            f"{counted(unreached, 'film was', 'films were')} not reached, so nothing is known about them. "
            "Find the cause (see the reasons below), then screen them with screening jobs retry."
        )
    if len(failed) > unreached:
        films = counted(len(failed) - unreached, "film has", "films have")
        yield f"{films} no prediction because of an error and must be read by a person."


def _refusals(contents: Contents) -> Iterator[str]:
    refused = contents.statuses[Status.REFUSED]
    if refused > len(contents.answered):
        yield (
            f"More files were refused ({refused:,}) than scored ({len(contents.answered):,}). Is this "
            "the right folder?"
        )


def _drift(contents: Contents) -> Iterator[str]:
    breaches = [line for line in contents.drift if line.breach]
    for line in breaches[:_DRIFTED]:
        yield f"Drift: {shown(line.sentence, 300)}"
    if len(breaches) > _DRIFTED:
        yield f"{counted(len(breaches) - _DRIFTED, 'more figure')} beyond the limits: see Drift."


def _warnings(contents: Contents) -> Iterator[str]:
    codes = contents.warnings
    for code, sentence in WARNINGS.items():
        if codes[code]:
            yield (
                f"{counted(codes[code], 'scored film has', 'scored films have')} the warning "
                f"{code}: {sentence}."
            )


def _labels(contents: Contents) -> Iterator[str]:
    unused = sum(contents.label_problems.values())
    if unused:
        kinds = ", ".join(
            f"{kind.replace('_', ' ')} {number:,}"
            for kind, number in contents.label_problems.items()
            if number
        )
        yield f"{counted(unused, 'line')} of the labels file could not be used: {kinds}."
    if contents.scored is None:
        return
    positives = int(contents.scored.positive.sum())
    negatives = len(contents.scored.positive) - positives
    if min(positives, negatives) < _FEW:
        yield (
            f"Of the films with a label and a prediction, {positives:,} show {PNEUMONIA.lower()} and "
            f"{negatives:,} do not. These are too few to estimate sensitivity and specificity well."
        )


PAGE: Final = "report.html"

_UNANSWERED: Final = (Status.FAILED, Status.REFUSED, Status.DUPLICATE)

#: Most lines in the drift table.
_DRIFT: Final = 200


def write_page(folder: Path, contents: Contents) -> None:
    """Write ``report.html`` and ``figures/*.png`` into a report that is being written.

    The page stays below 5 MB for any number of films: its lists are cut and say so.

    Args:
        folder: contains the other files of the report and the pictures that the rows name.

    Raises:
        OSError: if a file cannot be read or written.
    """
    album = Album(folder)
    work = film_lists.work_list(contents, album)
    near, near_number, near_range = film_lists.near_threshold(contents, album)
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
        limits=film_lists,
        performance=performance_table(contents.lines),
        subsets=subset_tables(contents.lines),
        too_many=too_many(contents.lines),
        points=point_rows([point.as_dict() for point in contents.points]),
        reasons={status.value: film_lists.reasons(contents, status) for status in _UNANSWERED},
        drift=_drift_rows(contents),
        figures=draw_figures(folder, contents),
        files=files(folder),
        columns=columns(),
    )
    # A file name may contain bytes that are not text; the page shows a question mark for them.
    (folder / PAGE).write_text(page, encoding="utf-8", errors="replace")


def _drift_rows(contents: Contents) -> list[dict[str, str]]:
    """Format comparisons for the table, those with a breach first."""
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
    """Format with three significant digits, as values may be as small as a millionth."""
    return DASH if value is None else f"{value:.3g}"
