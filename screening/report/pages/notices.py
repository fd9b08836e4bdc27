"""What a reader of a report must not overlook."""

from collections.abc import Iterator
from typing import Final

from screening.findings import PNEUMONIA
from screening.reasons import WARNINGS
from screening.report.pages.contents import Contents
from screening.report.pages.words import counted, shown
from screening.row import Status

#: Fewer films of a class tell little of a model.
_FEW: Final = 10

_UNREACHED: Final = "not_screened"
_DRIFTED: Final = 10


def notices(contents: Contents) -> list[str]:
    """Sentences, the gravest first; empty if nothing needs attention."""
    return [
        *_failures(contents),
        *_refusals(contents),
        *_drift(contents),
        *_warnings(contents),
        *_labels(contents),
    ]


def _failures(contents: Contents) -> Iterator[str]:
    failed = [row for row in contents.rows if row.status is Status.FAILED]
    unreached = sum(row.reason.startswith(_UNREACHED) for row in failed)
    if not contents.rows:
        yield "The folder held no file. If films were expected, look where they went."
    if unreached:
        yield (
            f"The job was stopped: too many films failed. {counted(unreached, 'film was', 'films were')} "
            "not reached, and nothing is known of them. Find the cause (the reasons are below); then "
            "screening jobs retry screens them."
        )
    if len(failed) > unreached:
        films = counted(len(failed) - unreached, "film has", "films have")
        yield f"{films} no answer because of a fault. Somebody has to look at them in another way."


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
        yield f"Unlike what was expected: {shown(line.sentence, 300)}"
    if len(breaches) > _DRIFTED:
        yield f"{counted(len(breaches) - _DRIFTED, 'more comparison')} with a breach: see Drift."


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
            f"Of the films with a label and an answer {positives:,} show {PNEUMONIA.lower()} and "
            f"{negatives:,} do not: so few say little about sensitivity and specificity."
        )
