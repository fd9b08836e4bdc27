"""Metrics by source, view and age, and an estimate of sensitivity from weak labels.

One figure for all films hides where a model fails. A source whose films are all of one class has
no AUROC; for it, only the share of films called pneumonia is meaningful.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from screening import results
from screening.report.intervals import LEVEL, Booleans, Figure, Floats, draws, share
from screening.report.metrics import performance
from screening.results import POSITIVE
from screening.training.data.manifest import RELIABLE, LabelledFilm
from screening.training.scored_split import ScoredSplit

#: Age from which a patient is an adult, in years.
ADULT: Final = 18

#: Views with figures of their own.
VIEWS: Final = ("AP", "PA")

#: Ages above this limit, in years, are treated as mistakes.
_OLDEST: Final = 150

#: View of the pooled estimate over all views.
ALL_VIEWS: Final = "all"

_METRICS: Final = {"auroc": "auroc", "sensitivity": "recall", "specificity": "specificity"}


@dataclass(frozen=True)
class Mixture:
    """What films with a positive weak label really show, as read by radiologists on a sample.

    Attributes:
        opacity: share with lung opacity, 0..1.
        normal: share that is normal, 0..1.
        other: share with another finding, 0..1; the three shares sum to 1.
        films: number of films that the shares were counted on.
        origin: source of the shares.
    """

    opacity: float
    normal: float
    other: float
    films: int
    origin: str

    def __post_init__(self) -> None:
        shares = (self.opacity, self.normal, self.other)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or not self.opacity or self.films < 1:
            raise ValueError(
                f"shares {shares} of {self.films} films are not a mixture with opacity"
            )


#: Films labelled as pneumonia by text mining of the report.
NIH_PNEUMONIA: Final = Mixture(
    opacity=0.43,
    normal=0.25,
    other=0.32,
    films=143,
    origin="NIH ChestX-ray14 films labelled Pneumonia (Wang et al., CVPR 2017) that have a "
    "radiologist's class in the RSNA Pneumonia Detection Challenge 2018",
)


def subgroups(side: ScoredSplit, mixture: Mixture = NIH_PNEUMONIA) -> dict[str, Any]:
    """Compute the figures of one side by source, source and view, and source and age band.

    Args:
        side: films with their predictions; may be empty.
        mixture: what films with a positive weak label really show.

    Returns:
        ``source``, ``source_view`` and ``source_age``: lists of rows with ``source``, ``view`` or
        ``age`` (empty if unknown), ``n``, ``positives``, ``weak`` (True if any label of the group
        is weak) and ``share_called``; groups with both classes also have ``auroc``,
        ``sensitivity`` and ``specificity``. Figures are ``{value, ci_low, ci_high, n, note}``,
        intervals by patient. A source in which no film has a view (or an age) has no such rows.
        ``adult_sensitivity``: rows of :func:`adult_sensitivity`. ``infants``: number of films of
        patients under one year. ``adults_with_opacity``: number of films of adults with a reliable
        label PNEUMONIA. Empty if there are no films.
    """
    if not side.films:
        return {}
    return {
        "source": _rows(side),
        "source_view": _rows(side, "view", lambda film: film.view),
        "source_age": _rows(side, "age", lambda film: age_band(film.age)),
        "adult_sensitivity": adult_sensitivity(side, mixture),
        "infants": sum(film.age is not None and film.age < 1 for film in side.films),
        "adults_with_opacity": sum(
            is_adult(film) and film.label == POSITIVE and not is_weak(film) for film in side.films
        ),
    }


def age_band(age: float | None) -> str:
    """The age band as in a report's rows; empty if the age is unknown or impossible."""
    return "" if age is None or not 0 <= age <= _OLDEST else results.age_band(age)


def is_adult(film: LabelledFilm) -> bool:
    """True if the patient's age is known and at least :data:`ADULT`."""
    return film.age is not None and film.age >= ADULT


def is_weak(film: LabelledFilm) -> bool:
    """True if the label's confidence is below :data:`screening.training.data.manifest.RELIABLE`."""
    return film.confidence < RELIABLE


def adult_sensitivity(side: ScoredSplit, mixture: Mixture) -> list[dict[str, Any]]:
    """Estimate the sensitivity for lung opacity in adults from weak labels.

    Films with a weak label of pneumonia are modelled as a mixture: for the share c of them that is
    called, ``c = opacity * s + normal * f + other * o``. The sensitivity s is the unknown to
    estimate; f is the share called among adults with a reliable label NORMAL and the same view; o,
    the share called among films with another finding, is not known. The estimate assumes
    ``o = (f + s) / 2``; its bounds are those for ``o = s`` and ``o = f``. It also assumes that the
    mixture's shares hold for these films and both views, and that normal films among the weak
    positives are called as often as other normal films.

    Args:
        side: adults are films of patients with a known age from 18 years.
        mixture: shares of the mixture; the interval accounts for the small number of films that
            they were counted on.

    Returns:
        A row for each view that has both weak positives and reliable normals, and one with the view
        ``all`` if there are two such views: ``view``, ``n`` (weak positives), ``normals``,
        ``called`` and ``called_normals`` (the shares c and f), ``sensitivity``
        (``{value, ci_low, ci_high, n, note}``; 95 % interval from resampling patients and the
        mixture), ``if_other_as_opacity`` and ``if_other_as_normal`` (the bounds). Values are clipped
        to 0..1; ``consistent`` is False if the estimate was outside this range, so that the films
        cannot be such a mixture.
    """
    positive = np.array([_weak_positive(film) for film in side.films], bool)
    normal = np.array([_reliable_normal(film) for film in side.films], bool)
    view = np.array([film.view for film in side.films], object)
    views = [v for v in VIEWS if (positive & (view == v)).any() and (normal & (view == v)).any()]
    groups = [[v] for v in views] + ([views] if len(views) > 1 else [])
    return [
        _estimate(side, [(positive & (view == v), normal & (view == v)) for v in group], mixture)
        | {"view": group[0] if len(group) == 1 else ALL_VIEWS}
        for group in groups
    ]


def _weak_positive(film: LabelledFilm) -> bool:
    return is_weak(film) and is_adult(film) and film.label == POSITIVE


def _reliable_normal(film: LabelledFilm) -> bool:
    return not is_weak(film) and is_adult(film) and film.label != POSITIVE


def _estimate(
    side: ScoredSplit, groups: Sequence[tuple[Booleans, Booleans]], mixture: Mixture
) -> dict[str, Any]:
    """Compute the estimate over views, each with its own normal films.

    Args:
        groups: two masks for each view, weak positives and reliable normals, shape (n,).
    """
    used = np.any([each for pair in groups for each in pair], axis=0)
    _patients, patient = np.unique(np.array(side.patients)[used], return_inverse=True)
    called = side.called[used]
    # For each patient and view: weak positives, those called, normals, those called.
    sums = np.stack(
        [
            np.bincount(patient[which[used]], weights, int(patient.max()) + 1)
            for pair in groups
            for which in pair
            for weights in (None, called[which[used]].astype(np.float64))
        ],
        axis=1,
    )
    patients = len(sums)
    shares = np.array([mixture.opacity, mixture.normal, mixture.other])
    c, f = _shares_called(sums.sum(axis=0)[np.newaxis])
    estimates = [float(x[0]) for x in _sensitivities(c, f, shares[np.newaxis])]
    value, as_opacity, as_normal = np.clip(estimates, 0, 1).tolist()
    rng = np.random.default_rng(0)
    drawn = []
    for times in draws(patients, int(used.sum())):
        counted = rng.multinomial(mixture.films, shares, len(times)) / mixture.films
        drawn.append(np.clip(_sensitivities(*_shares_called(times @ sums), counted)[0], 0, 1))
    n = int(sum(positives.sum() for positives, _ in groups))
    return {
        "n": n,
        "normals": int(sum(normals.sum() for _, normals in groups)),
        "called": float(c[0]),
        "called_normals": float(f[0]),
        "sensitivity": asdict(percentiles(value, np.concatenate(drawn), patients, n)),
        "if_other_as_opacity": as_opacity,
        "if_other_as_normal": as_normal,
        "consistent": bool(0 <= estimates[0] <= 1),
    }


def _shares_called(sums: Floats) -> tuple[Floats, Floats]:
    """Shares called among weak positives and among normals of the same views, each (draws,).

    Args:
        sums: for each view: weak positives, those called, normals, those called; shape
            (draws, 4 views).
    """
    weak, weak_called, normals, normals_called = (sums[:, k::4] for k in range(4))
    with np.errstate(divide="ignore", invalid="ignore"):
        all_weak = weak.sum(axis=1)
        f = (weak * normals_called / normals).sum(axis=1) / all_weak
        return weak_called.sum(axis=1) / all_weak, f


def _sensitivities(c: Floats, f: Floats, shares: Floats) -> tuple[Floats, Floats, Floats]:
    """The sensitivity s for o half-way between f and s, for o = s and for o = f; not clipped."""
    opacity, normal, other = shares.T
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (c - (normal + other / 2) * f) / (opacity + other / 2)
        as_opacity = (c - normal * f) / (opacity + other)
        as_normal = (c - (normal + other) * f) / opacity
    return middle, as_opacity, as_normal


def percentiles(value: float, drawn: Floats, patients: int, n: int) -> Figure:
    """A figure with the percentile interval of its values on resampled patients.

    Args:
        drawn: values on the draws, NaN where undefined, shape (draws,).
        patients: number of patients resampled; with fewer than two there is no interval.
    """
    defined = drawn[np.isfinite(drawn)]
    if patients < 2 or not len(defined):
        return Figure(value, None, None, n, "one_patient")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high), n, "few" if patients < 10 or n < 100 else "")


def _rows(
    side: ScoredSplit, key: str = "", of: Callable[[LabelledFilm], str] = lambda _film: ""
) -> list[dict[str, Any]]:
    """One row for each source, or for each source and value of `of`, sorted."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, film in enumerate(side.films):
        groups.setdefault((film.source, of(film)), []).append(index)
    known = {source for source, value in groups if value or not key}
    order = {
        name: place
        for place, name in enumerate(("", *(name for _limit, name in results.AGE_BANDS)))
    }
    ranked = sorted(groups, key=lambda group: (group[0], order.get(group[1], 0), group[1]))
    return [
        {"source": source}
        | ({key: value} if key else {})
        | _figures(side.at(np.array(groups[source, value], np.int64)))
        for source, value in ranked
        if source in known
    ]


def _figures(side: ScoredSplit) -> dict[str, Any]:
    scored = side.scored()
    positives = int(scored.positive.sum())
    row: dict[str, Any] = {
        "n": len(side.films),
        "positives": positives,
        "weak": any(map(is_weak, side.films)),
        "share_called": asdict(share(scored.called, scored.patient)),
    }
    if 0 < positives < len(side.films):
        measured = performance(scored)
        row |= {name: asdict(measured[metric]) for name, metric in _METRICS.items()}
    return row
