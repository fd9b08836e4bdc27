"""Compare two reports of the same films, by two models or with two thresholds."""

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

#: Columns that identify the model of a report and how it was run.
MADE_WITH: Final = ("model", "model_sha256", "threshold", "runtime")


@dataclass(frozen=True)
class FilmPair:
    """One film with its rows in both reports; copies of a film are not counted as films.

    Attributes:
        a: its row in A; None if it is only in B.
        b: its row in B; None if it is only in A.
    """

    a: Row | None
    b: Row | None

    @property
    def row(self) -> Row:
        """One of the two rows, for fields that both share."""
        row = self.a or self.b
        if row is None:
            raise ValueError("a pair needs at least one row")
        return row

    @property
    def label(self) -> str:
        """Class name, or empty."""
        return (self.a.label if self.a else "") or (self.b.label if self.b else "")

    @property
    def patient(self) -> str:
        """Keyed hash of the patient; the film itself if the patient is unknown."""
        known = (self.a.patient if self.a else "") or (self.b.patient if self.b else "")
        return known or f"film {self.row.film}"

    @property
    def is_changed(self) -> bool:
        """True if its status or finding differs, or if it is in one report only."""
        return answer(self.a) != answer(self.b)


@dataclass(frozen=True, eq=False)
class Both:
    """Films that both reports scored, one array element each.

    Attributes:
        a: probabilities of A.
        b: probabilities of B.
        called_a: True where A predicts pneumonia.
        called_b: True where B predicts pneumonia.
        positive: True where the label is pneumonia; meaningless without a label.
        labelled: True where the film has a label.
        patient: patient of each film as a small number.
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
    """Differences between report A and report B.

    Attributes:
        made_with: the values of A and B for each name in :data:`MADE_WITH`.
        pairs: films in both, in the order of A.
        only: films in A only, then those in B only.
        copies: number of rows of A and B that are copies.
        flips: number of films by (answer of A, answer of B), where these differ.
        both: films that both scored.
        figures: by name, `called`, `agreement`, `kappa`, and with labels also `sensitivity`,
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
        labels: used instead of the labels in the reports.
        key: key to hash labels by SOP Instance UID with.

    Raises:
        ReportError: if the reports have no film in common.
        LabelsError: if the labels cannot be used, or if those in the reports contradict each other.
    """
    if labels is not None:
        known = key or PatientKey.of_nobody()
        a, b = (join([unlabelled(row) for row in rows], labels, known)[0] for rows in (a, b))
    pairs, only = match(a, b)
    if not pairs:
        raise ReportError("the two reports have no film in common, by hash or by path")
    conflicts = sum(
        bool(pair.a and pair.b and pair.a.label and pair.b.label and pair.a.label != pair.b.label)
        for pair in pairs
    )
    if conflicts:
        raise LabelsError(
            f"the reports have different labels for {conflicts} of their films; "
            "give the correct labels with --labels"
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
    """Return films in both reports, and films in only one.

    Two films are the same if their hashes are equal. If a hash is missing or occurs twice, they are
    the same if their paths are equal and their hashes do not differ.
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
    """Return a report's answer for a film: its finding or else its status; empty without a row."""
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
    """Return the distinct values of a column over the scored films of a report."""
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
