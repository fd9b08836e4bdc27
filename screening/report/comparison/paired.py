"""Test whether two models differ by more than chance on the same films."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm, rankdata, t

from screening.report.intervals import LEVEL, Booleans, Floats, Patients, draws, share
from screening.report.metrics import Ranking


@dataclass(frozen=True)
class Contrast:
    """The difference of one figure between A and B.

    Attributes:
        a: value of A; None if undefined, as for all other fields.
        b: value of B.
        ci_low: lower end of the 95 % interval of the difference, B minus A.
        p: two-sided probability that a difference this large arises by chance.
        n: number of films.
    """

    a: float | None
    b: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    n: int

    @property
    def difference(self) -> float | None:
        """B minus A."""
        return None if self.a is None or self.b is None else self.b - self.a


def shares(a: Booleans, b: Booleans, patient: Patients) -> Contrast:
    """Compare the shares of films that are True in A and in B.

    The interval is Student's t with the spread over resampled patients plus two artificial patients
    of one film each: one film True only in A, one True only in B (as Bonett and Price, J. Educ.
    Behav. Stat. 37, 2012, add films). Without them, draws with few or no differing films would give
    too narrow an interval. The test is McNemar's exact test (:func:`sign_test`).

    Args:
        a: values of A, shape (n,).
        b: values of B for the same films, shape (n,).
        patient: patient of each film, shape (n,).
    """
    n = len(a)
    if not n:
        return Contrast(None, None, None, None, None, 0)
    gained = b.astype(np.int64) - a
    owner, patients = _numbered(patient)
    sums = np.append(np.bincount(owner, gained), (-1, 1))
    films = np.append(np.bincount(owner), (1, 1))

    def differences(times: Floats) -> Floats:
        return _quotient(times @ sums, times @ films)

    low, high = None, None
    if patients > 1:
        drawn = np.concatenate([differences(times) for times in draws(patients + 2, n)])
        quantile = float(t.ppf((1 + LEVEL) / 2, patients - 1))
        half = quantile * float(drawn.std()) * sqrt(patients / (patients - 1))
        middle = float(sums.sum() / films.sum())
        low, high = max(middle - half, -1.0), min(middle + half, 1.0)
    return Contrast(float(a.mean()), float(b.mean()), low, high, sign_test(gained, patient), n)


def sign_test(gained: npt.NDArray[np.int64], patient: Patients) -> float:
    """Return the two-sided p of McNemar's exact test, with whole patients.

    If A and B are equally good, a patient's net gain is as likely to be a loss of the same size:
    the sum over patients is compared with all choices of signs (R. A. Fisher, The Design of
    Experiments, 1935). With one film per patient this is McNemar's exact test (Psychometrika 12,
    1947).

    Args:
        gained: 1 where only B is right, -1 where only A is, 0 elsewhere, shape (n,).
        patient: patient of each film, shape (n,).
    """
    owner, _patients = _numbered(patient)
    sums = np.bincount(owner, gained).astype(np.int64)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    if np.all(np.abs(sums) == 1):
        return float(binomtest(int(np.sum(sums > 0)), len(sums)).pvalue)
    # Build the distribution of the sum, from -total to total, one patient after another.
    chances = np.ones(1)
    for size in np.abs(sums):
        wider = np.zeros(len(chances) + 2 * size)
        wider[: len(chances)] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    total = len(chances) // 2
    extreme = np.abs(np.arange(-total, total + 1)) >= abs(int(sums.sum()))
    return min(float(chances[extreme].sum()), 1.0)


def areas(positive: Booleans, a: Floats, b: Floats, patient: Patients) -> Contrast:
    """Compare the areas under the ROC curves, with DeLong's test for correlated curves.

    DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), computed by ranks as in Sun and Xu
    (IEEE Signal Processing Letters 21, 2014), with components summed by patient (Obuchowski,
    Biometrics 53, 1997); with one film per patient this is DeLong's own variance. The interval
    comes from resampling patients.

    Args:
        positive: True where the label is pneumonia, shape (n,).
        a: probabilities of A, shape (n,).
        b: probabilities of B, shape (n,).
        patient: patient of each film, shape (n,).
    """
    n = len(positive)
    owner, patients = _numbered(patient)
    if not positive.any() or positive.all():
        return Contrast(None, None, None, None, None, n)
    area, covariance = _delong(positive, np.stack([a, b]), owner)
    of_a, of_b = (_ranked(positive, probability, owner) for probability in (a, b))

    def differences(times: Floats) -> Floats:
        return of_b.areas(times)[0] - of_a.areas(times)[0]

    low, high = _interval(differences, patients, n)
    return Contrast(float(area[0]), float(area[1]), low, high, _p(area, covariance), n)


def agreement(a: Booleans, b: Booleans, patient: Patients) -> tuple[Contrast, Contrast]:
    """Return the share of films on which A and B agree, and Cohen's kappa.

    Kappa: Educ. Psychol. Meas. 20, 1960. Each is one value for A and B together, so its interval is
    that of the value, not of a difference.
    """
    n = len(a)
    if not n:
        nothing = Contrast(None, None, None, None, None, 0)
        return nothing, nothing
    owner, patients = _numbered(patient)
    cells = [np.bincount(owner, weights=a_is & b_is) for a_is in (a, ~a) for b_is in (b, ~b)]
    counts = np.stack(cells, axis=1)

    def kappas(times: Floats) -> Floats:
        return _kappa(times @ counts)

    same = share(a == b, owner)
    alike = Contrast(same.value, same.value, same.ci_low, same.ci_high, None, n)
    kappa = float(_kappa(counts.sum(axis=0, keepdims=True))[0])
    if np.isnan(kappa):
        return alike, Contrast(None, None, None, None, None, n)
    return alike, Contrast(kappa, kappa, *_interval(kappas, patients, n), None, n)


def _ranked(positive: Booleans, probability: Floats, owner: Patients) -> Ranking:
    order = np.argsort(-probability, kind="stable")
    return Ranking(positive[order], probability[order], owner[order])


def _delong(
    positive: Booleans, probabilities: Floats, owner: Patients
) -> tuple[Floats, Floats | None]:
    """Return the two areas, shape (2,), and their covariance; None if it cannot be estimated."""
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(probabilities, axis=1)
    within_positive = rankdata(probabilities[:, positive], axis=1)
    within_negative = rankdata(probabilities[:, ~positive], axis=1)
    # For each film, the share of films of the other class that are in the right order with it.
    of_positive = (ranks[:, positive] - within_positive) / n
    of_negative = 1 - (ranks[:, ~positive] - within_negative) / m
    area = of_positive.mean(axis=1)

    def summed(components: Floats, owners: Patients) -> tuple[Floats, int]:
        """Return deviations summed by patient, shape (2, patients), and the number of patients."""
        off = components - area[:, None]
        sums = [np.bincount(owners, one, minlength=int(owner.max()) + 1) for one in off]
        return np.stack(sums), len(np.unique(owners))

    p, of_p = summed(of_positive, owner[positive])
    q, of_q = summed(of_negative, owner[~positive])
    if of_p < 2 or of_q < 2:
        return area, None
    either = len(np.unique(owner))
    crossed = p @ q.T * either / (either - 1) / (m * n)
    own = p @ p.T * of_p / (of_p - 1) / m**2 + q @ q.T * of_q / (of_q - 1) / n**2
    return area, own + crossed + crossed.T


def _p(area: Floats, covariance: Floats | None) -> float | None:
    if covariance is None:
        return None
    difference = float(area[1] - area[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Curves that order all films alike have no difference; ignore rounding errors.
    if variance < 1e-18:
        return 1.0 if abs(difference) < 1e-9 else None
    return float(2 * norm.sf(abs(difference) / sqrt(variance)))


def _numbered(patient: Patients) -> tuple[Patients, int]:
    names, owner = np.unique(patient, return_inverse=True)
    return owner.astype(np.int64), len(names)


def _kappa(cells: Floats) -> Floats:
    """Return the kappa of tables, shape (k, 4): both, only A, only B, neither.

    NaN where chance alone gives full agreement.
    """
    n = cells.sum(axis=1)
    a, b = (_quotient(cells[:, 0] + cells[:, other], n) for other in (1, 2))
    seen, expected = _quotient(cells[:, 0] + cells[:, 3], n), a * b + (1 - a) * (1 - b)
    return _quotient(seen - expected, 1 - expected)


def _quotient(part: Floats, whole: Floats) -> Floats:
    there = whole > 1e-12
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=there))


def _interval(
    statistic: Callable[[Floats], Floats], patients: int, films: int
) -> tuple[float | None, float | None]:
    """Return percentiles of a statistic over resampled patients; None with fewer than two."""
    if patients < 2:
        return None, None
    drawn = np.concatenate([statistic(times) for times in draws(patients, films)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None, None
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(drawn, (tail, 100 - tail))
    return float(low), float(high)
