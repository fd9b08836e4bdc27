"""Figures with 95 % intervals and the number of films behind them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri, stdtrit

LEVEL: Final = 0.95
_TAIL: Final = (1 + LEVEL) / 2
_Z: Final = float(ndtri(_TAIL))
_RESAMPLES: Final = 500

# How often the interval of a sum of gaps may lie above the truth, and below it. Both rarely apply
# to the same films: where chance makes most of the sum, the upper end is too high.
_ABOVE_TRUTH: Final = 0.05
_BELOW_TRUTH: Final = 0.01

# Draws are made in blocks of this many draws times films, so that a block fits a CPU cache.
_BLOCK: Final = 2**18

# Bisections until the lower end of the interval of a sum of gaps is known to eight digits.
_HALVINGS: Final = 30
_TINY: Final = 1e-9

#: Sentences for the notes of figures.
NOTES: Final = {
    "no_labels": "No film has a label and a prediction.",
    "no_films": "No film has a label and a probability.",
    "no_positives": "No film has pneumonia by its label.",
    "no_negatives": "All films have pneumonia by their label.",
    "none_called": "No film was flagged as pneumonia.",
    "none_cleared": "All films were flagged as pneumonia.",
    "one_patient": "All films, or all films of one class, are of one patient, so there is no interval.",
    "few": "Fewer than 100 films, or fewer than 10 patients of a kind that this figure depends on: "
    "the interval may be too narrow.",
}

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Patients = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Figure:
    """A metric's value, its 95 % interval and the number of films (or cases) behind it.

    None means "undefined"; the report shows it as an empty cell.

    Attributes:
        note: why a value is missing, or a caution: a key of :data:`NOTES`, or empty.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    note: str = ""


def proportion(successes: int, n: int, design_effect: float = 1.0) -> Figure:
    """Return a share with its Wilson score interval (Wilson, JASA 22, 1927); undefined for n = 0.

    Args:
        design_effect: factor by which n is divided: n / design_effect films, each of another
            patient, would carry as much information.
    """
    if n == 0:
        return Figure(None, None, None, 0)
    return Figure(successes / n, *_wilson(successes / n, n / design_effect), n)


def share(which: Booleans, patient: Patients) -> Figure:
    """Return the share of films that are True, with Wilson's interval for films in patients.

    Args:
        which: shape (n,).
        patient: patient of each film as a small number, 0 or more, shape (n,).
    """
    return proportion(int(which.sum()), len(which), _design_effect(which, patient))


def mean_of_two(one: Figure, other: Figure) -> Figure:
    """Return the mean of two shares of different films, with an interval recovered from theirs.

    Newcombe (Statistics in Medicine 17, 1998) and Zou and Donner (ibid. 27, 2008): the distances of
    the two ends from their values are combined as a root sum of squares. Resampling would not do:
    where one of the shares is 1 and its films are few, every resample gives 1.
    """
    n = one.n + other.n
    if one.value is None or other.value is None:
        return Figure(None, None, None, n)
    value = (one.value + other.value) / 2
    low, high = (
        hypot(one.value - (a or 0.0), other.value - (b or 0.0)) / 2
        for a, b in ((one.ci_low, other.ci_low), (one.ci_high, other.ci_high))
    )
    return Figure(value, max(value - low, 0.0), min(value + high, 1.0), n)


def studentised(value: float, drawn: Floats, patients: int, n: int) -> Figure:
    """Return an index between 0 and 1 with an interval from its values on resampled patients.

    The interval is Student's t on the log-odds scale, with the spread over the draws as standard
    error. With few patients, and near 0 and 1, percentiles of the draws are too narrow and biased
    (Hesterberg, The American Statistician 69, 2015); log odds are not (Boyd, Eng and Page, ECML
    2013, for average precision; Pepe, 2003, for the area under the ROC curve). A value of 0 or 1
    has no log odds: its other end is Wilson's, with each patient as one film.

    Args:
        drawn: values on the draws, NaN where undefined, shape (draws,).
        patients: number of patients that the spread is estimated from: those of the rarer class.
    """
    defined = drawn[np.isfinite(drawn)]
    if patients < 2 or not len(defined):
        return Figure(value, None, None, n)
    if not 0 < value < 1:
        return Figure(value, *_wilson(value, patients), n)
    error = float(defined.std()) * _widening(patients) * _Z
    low, high = expit(logit(value) + np.array([-1, 1]) * error / (value * (1 - value)))
    return Figure(value, float(low), float(high), n)


def sum_of_gaps(gaps: Floats, drawn: Floats, patients: int, n: int) -> Figure:
    """Return the sum of absolute gaps, with an interval that allows for gaps due to chance.

    Chance makes the sum larger than the truth, and does so a second time in the draws, so all
    percentiles of the draws may lie above the truth. The lower end inverts a test instead (Bröcker
    and Smith, Weather and Forecasting 22, 2007, test in this way that there is no gap at all): all
    gaps are shrunk, those of few standard errors first to 0 (by the non-negative garrote: Breiman,
    Technometrics 37, 1995), until together with the deviations of the draws they rarely reach the
    observed sum. It is 0 unless the sum is too large for chance alone. The upper end is Student's t
    above the sum, uncorrected: how much of the sum is chance cannot be known reliably where the
    true gaps are large.

    Args:
        gaps: signed gaps, shape (bins,).
        drawn: the gaps on the draws, shape (draws, bins).
        patients: number of patients drawn from.
    """
    total = float(np.abs(gaps).sum())
    if patients < 2:
        return Figure(total, None, None, n)
    # Many bins together show what chance adds more precisely than the spread of the sum below.
    deviations = (drawn - gaps) * _unbiased(patients)
    errors = deviations.std(axis=0)
    if not errors.any():
        return Figure(total, *_wilson(total, patients), n)
    certain = np.abs(gaps) / np.where(errors > 0, errors, np.inf)

    def shrunk(by: float) -> Floats:
        kept = 1 - (by / np.maximum(certain, _TINY)) ** 2
        return np.asarray(gaps * np.maximum(kept, 0))

    def likely(true: Floats) -> bool:
        """True if gaps like these reach the observed sum often enough."""
        return float(np.mean(np.abs(true + deviations).sum(axis=1) >= total)) >= _ABOVE_TRUTH

    low, high = 0.0, float(certain.max()) + _TINY
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if likely(shrunk(middle)) else (low, middle)
    error = float(np.abs(drawn).sum(axis=1).std()) * _widening(patients)
    above = float(ndtri(1 - _BELOW_TRUTH)) * error
    return Figure(total, float(np.abs(shrunk(high)).sum()), min(total + above, 1.0), n)


def draws(patients: int, films: int, seed: int = 0) -> Iterator[Floats]:
    """Resample patients with replacement and count how often each is drawn.

    Yields:
        Blocks of draws: whole numbers, shape (k, patients).
    """
    rng = np.random.default_rng(seed)
    most = max(_BLOCK // max(films, 1), 1)
    for start in range(0, _RESAMPLES, most):
        k = min(most, _RESAMPLES - start)
        chosen = rng.integers(0, patients, (k, patients))
        chosen += patients * np.arange(k)[:, None]
        times = np.bincount(chosen.ravel(), minlength=k * patients)
        yield times.reshape(k, patients).astype(np.float64)


def _wilson(p: float, n: float) -> tuple[float, float]:
    z = _Z
    middle = p + z**2 / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + side) / (1 + z**2 / n) for side in (-half, half))
    # A share of 0 or 1 has this as an end of its interval exactly, despite rounding.
    return low if p > 0 else 0.0, high if p < 1 else 1.0


def _widening(patients: int) -> float:
    """Factor to widen a normal interval when the spread comes from few patients."""
    quantile = float(stdtrit(patients - 1, _TAIL))
    return quantile / _Z * _unbiased(patients)


def _unbiased(patients: int) -> float:
    """Factor that corrects the spread of draws, which is too small for this many patients."""
    return sqrt(patients / (patients - 1))


def _design_effect(which: Booleans, patient: Patients) -> float:
    """Return the variance of a share of films in patients over that of as many unrelated films.

    Kish (Survey Sampling, 1965), at least 1; from the linearised variance of a ratio, and with the
    quantiles of Student's t that few patients need (Korn and Graubard, Surv. Methodol. 24, 1998).
    """
    n = len(which)
    films = np.bincount(patient)
    there = films > 0
    sizes = films[there].astype(np.float64)
    patients = len(sizes)
    if patients == n:
        return 1.0
    p = float(which.mean())
    if patients == 1 or p in {0.0, 1.0}:
        # The data do not show how alike a patient's films are: assume that all agree.
        return float((sizes**2).sum() / n)
    hits = np.bincount(patient, which)[there]
    between = float(((hits - p * sizes) ** 2).sum()) * patients / (patients - 1)
    ratio = between / (p * (1 - p) * n) * (n - 1) / n
    quantiles = stdtrit(patients - 1, _TAIL) / stdtrit(n - 1, _TAIL)
    return max(ratio, 1.0) * float(quantiles) ** 2
