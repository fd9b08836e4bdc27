"""Two reports of the same films, by two models or with two thresholds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from screening.errors import LabelsError, ReportError
from screening.privacy import PatientKey
from screening.report.comparison.paired import Contrast, agreement, areas, shares
from screening.report.intervals import Booleans, Floats, Patients
from screening.report.labels import Labels, join, unlabelled
from screening.results import NORMAL, PNEUMONIA, Row, Status

#: What names the model of a report, and how it was run.
MADE_WITH: Final = ("model", "model_sha256", "threshold", "runtime")


@dataclass(frozen=True)
class FilmPair:
    """One film in both reports; copies of a film are no films of their own.

    Attributes:
        a: its row in A; None if it is only in B.
        b: likewise.
    """

    a: Row | None
    b: Row | None

    @property
    def row(self) -> Row:
        """One of them, for what both say."""
        row = self.a or self.b
        if row is None:
            raise ValueError("a pair of no rows")
        return row

    @property
    def label(self) -> str:
        """Class name, or empty."""
        return (self.a.label if self.a else "") or (self.b.label if self.b else "")

    @property
    def patient(self) -> str:
        """Keyed hash; the film itself where the patient is not known."""
        known = (self.a.patient if self.a else "") or (self.b.patient if self.b else "")
        return known or f"film {self.row.film}"

    @property
    def is_changed(self) -> bool:
        """True if it has another status or finding, or is in one report only."""
        return answer(self.a) != answer(self.b)


@dataclass(frozen=True, eq=False)
class Both:
    """Films that both reports scored, one array element each.

    Attributes:
        a: probabilities of A.
        b: of B.
        called_a: True where A calls pneumonia.
        called_b: likewise.
        positive: True where the label is pneumonia; of no meaning without a label.
        labelled: True where there is one.
        patient: small numbers.
    """

    a: Floats
    b: Floats
    called_a: Booleans
    called_b: Booleans
    positive: Booleans
    labelled: Booleans
    patient: Patients


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between report A and report B.

    Attributes:
        made_with: for each name in :data:`MADE_WITH` what A and B were made with.
        pairs: films in both, in the order of A.
        only: films in A only, then those in B only.
        copies: how many rows of A and B are copies.
        flips: how many films went from one answer to another, by both.
        both: films that both scored.
        figures: by name, `called`, `agreement`, `kappa`, and where there are labels `sensitivity`,
            `specificity`, `accuracy` and `auroc`.
    """

    made_with: dict[str, tuple[str, str]]
    pairs: Sequence[FilmPair]
    only: Sequence[FilmPair]
    copies: tuple[int, int]
    flips: Counter[tuple[str, str]]
    both: Both
    figures: dict[str, Contrast]


def compare(
    a: Sequence[Row], b: Sequence[Row], labels: Labels | None = None, key: PatientKey | None = None
) -> Comparison:
    """Compare the rows of two reports.

    Args:
        labels: instead of those that the reports were written with.
        key: with which labels by SOP Instance UID are hashed.

    Raises:
        ReportError: if they have no film in common.
        LabelsError: if the labels cannot be used, or the reports' own contradict each other.
    """
    if labels is not None:
        known = key or PatientKey.of_nobody()
        a, b = (join([unlabelled(row) for row in rows], labels, known)[0] for rows in (a, b))
    pairs, only = match(a, b)
    if not pairs:
        raise ReportError("the two reports have no film in common, by its hash or its path")
    conflicts = sum(
        bool(pair.a and pair.b and pair.a.label and pair.b.label and pair.a.label != pair.b.label)
        for pair in pairs
    )
    if conflicts:
        raise LabelsError(
            f"the reports have different labels for {conflicts} of their films; "
            "give the right ones with --labels"
        )
    both = _both(pairs)
    return Comparison(
        made_with={name: (_made_with(a, name), _made_with(b, name)) for name in MADE_WITH},
        pairs=pairs,
        only=only,
        copies=(_copies(a), _copies(b)),
        flips=Counter((answer(pair.a), answer(pair.b)) for pair in pairs if pair.is_changed),
        both=both,
        figures=_figures(both),
    )


def match(a: Iterable[Row], b: Iterable[Row]) -> tuple[list[FilmPair], list[FilmPair]]:
    """Films in both reports, and films in only one.

    A film is the same if its bytes are; where a hash is missing, or there twice, if its path is the
    same and its hash is not another one.
    """
    ours, theirs = ([row for row in rows if row.status is not Status.DUPLICATE] for rows in (a, b))
    by_hash = [_unique(ours), _unique(theirs)]
    by_path = {row.film: row for row in theirs}
    pairs, only, taken = [], [], set()
    for row in ours:
        other = by_hash[1].get(row.sha256) if row.sha256 in by_hash[0] else None
        if other is None:
            same = by_path.get(row.film)
            other = same if same and _may_be_same(row, same) else None
        if other is None or other.film in taken:
            only.append(FilmPair(row, None))
        else:
            taken.add(other.film)
            pairs.append(FilmPair(row, other))
    only += [FilmPair(None, row) for row in theirs if row.film not in taken]
    return pairs, only


def answer(row: Row | None) -> str:
    """What a report says of a film: its finding, or else its status; empty if it is not in it."""
    if row is None:
        return ""
    return row.prediction or row.status.value


def _unique(rows: Sequence[Row]) -> dict[str, Row]:
    number = Counter(row.sha256 for row in rows)
    return {row.sha256: row for row in rows if row.sha256 and number[row.sha256] == 1}


def _may_be_same(row: Row, other: Row) -> bool:
    return not row.sha256 or not other.sha256 or row.sha256 == other.sha256


def _copies(rows: Iterable[Row]) -> int:
    return sum(row.status is Status.DUPLICATE for row in rows)


def _made_with(rows: Iterable[Row], name: str) -> str:
    """What the films of a report were scored with; several where a report has several."""
    values = {str(getattr(row, name)) for row in rows if row.status is Status.SCORED}
    return ", ".join(sorted(values)) or "none"


def _both(pairs: Iterable[FilmPair]) -> Both:
    scored = [
        (pair, pair.a, pair.b)
        for pair in pairs
        if pair.a and pair.b and pair.a.prediction and pair.b.prediction
    ]
    names = {name: n for n, name in enumerate(dict.fromkeys(pair.patient for pair, *_ in scored))}
    return Both(
        a=np.array([a.probability for _pair, a, _b in scored], np.float64),
        b=np.array([b.probability for _pair, _a, b in scored], np.float64),
        called_a=np.array([a.prediction == PNEUMONIA for _pair, a, _b in scored], bool),
        called_b=np.array([b.prediction == PNEUMONIA for _pair, _a, b in scored], bool),
        positive=np.array([pair.label == PNEUMONIA for pair, *_ in scored], bool),
        labelled=np.array([pair.label in (PNEUMONIA, NORMAL) for pair, *_ in scored], bool),
        patient=np.array([names[pair.patient] for pair, *_ in scored], np.int64),
    )


def _figures(both: Both) -> dict[str, Contrast]:
    same, kappa = agreement(both.called_a, both.called_b, both.patient)
    figures = {
        "called": shares(both.called_a, both.called_b, both.patient),
        "agreement": same,
        "kappa": kappa,
    }
    if not both.labelled.any():
        return figures
    a_is_right, b_is_right = both.called_a == both.positive, both.called_b == both.positive
    for name, which in {
        "sensitivity": both.labelled & both.positive,
        "specificity": both.labelled & ~both.positive,
        "accuracy": both.labelled,
    }.items():
        figures[name] = shares(a_is_right[which], b_is_right[which], both.patient[which])
    which = both.labelled
    figures["auroc"] = areas(
        both.positive[which], both.a[which], both.b[which], both.patient[which]
    )
    return figures
