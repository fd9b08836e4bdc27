"""Compare a night with the last nights of its site."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Final

import numpy as np

from screening.model.drift_baseline import WARNINGS
from screening.report.drift.control_charts import (
    WIDTH,
    ChartPoint,
    ControlLimits,
    ks,
    ks_limit,
    overdispersion,
    psi,
    psi_limit,
    share_of,
    width_for,
)
from screening.report.drift.drift_csv import (
    ALL,
    FEWEST,
    NAMES,
    NIGHTS,
    POSITIVE_RATE,
    THREE,
    TONIGHT,
    Drift,
)
from screening.report.drift.profile import SCALES, NightProfile, aligned, merged
from screening.results import INPUT_COLUMNS

#: Most nights in the baseline.
BASELINE: Final = 30

#: Fewest nights for control limits: with fewer, the variation between nights is unknown.
FEWEST_NIGHTS: Final = 5

#: Fewest films in the baseline: with fewer, the relative error of a rate of one in ten would be a
#: fifth at best.
FEWEST_FILMS: Final = 300

#: Standard errors to the limits of the positive rate. If pneumonia becomes twice as frequent, from
#: one in ten, one night of 100 films differs by three standard errors and three nights by five, so
#: these limits are narrower than those of measures that change abruptly.
RATE_WIDTHS: Final = {TONIGHT: 3.2, THREE: 2.5}

#: Nights in the longer window, for changes that are too small to show in one night.
_LONG: Final = 3

#: Measures whose typical values are compared.
TYPICAL: Final = ("domain_distance", *INPUT_COLUMNS.values())

# Films beyond these quantiles of the baseline count as lying there, so that no single film causes
# an alarm.
_WINSOR_QUANTILES: Final = (0.05, 0.95)

#: Returns a count of films, and the number of films that it is taken from.
_Count = Callable[[NightProfile], tuple[int, int]]


def _warned(code: str) -> _Count:
    return lambda profile: (profile.warnings.get(code, 0), profile.scored)


SHARES: Final[Mapping[str, _Count]] = {
    POSITIVE_RATE: lambda profile: (profile.called, profile.scored),
    "refusal_rate": lambda profile: (profile.refused, profile.offered),
    **{code: _warned(code) for code in WARNINGS},
}

MIXES: Final[Mapping[str, Callable[[NightProfile], Mapping[str, int]]]] = {
    "views": lambda profile: profile.views,
    "scanners": lambda profile: profile.scanners,
}


def with_last_nights(nights: Sequence[NightProfile]) -> Iterator[Drift]:
    """Compare the newest night, and the newest three as one, with the nights before.

    Args:
        nights: newest first, each of :data:`~screening.report.drift.drift_csv.FEWEST` films or more.
    """
    yield from _Comparison(TONIGHT, nights[0], _before(nights, 1)).lines()
    if len(nights) >= _LONG:
        yield from _Comparison(THREE, merged(nights[:_LONG]), _before(nights, _LONG)).lines()


def plain_values(profile: NightProfile) -> dict[str, float]:
    """Return the rates and typical values of a single night, by measure."""
    counts = {name: count(profile) for name, count in SHARES.items()}
    rates = {name: k / n for name, (k, n) in counts.items() if n}
    means = {name: _WinsorisedMean.of(name, profile) for name in TYPICAL}
    return rates | {
        name: SCALES[name].value(mean.whole.at) for name, mean in means.items() if mean is not None
    }


def _before(nights: Sequence[NightProfile], window: int) -> list[NightProfile]:
    before = islice(nights, window, window + BASELINE)
    # The oldest group may have too few films for a night.
    return [night for night in before if night.offered >= FEWEST]


@dataclass(frozen=True)
class _Comparison:
    """A night, or several as one, and the nights before."""

    window: str
    night: NightProfile
    before: Sequence[NightProfile]

    def lines(self) -> Iterator[Drift]:
        """Yield rates, scores, typical values and mixes as far as known, or why there are none."""
        whole = merged(self.before)
        if len(self.before) < FEWEST_NIGHTS or whole.offered < FEWEST_FILMS:
            yield self._nothing(
                f"Nothing to compare with yet: {whole.offered} films of {len(self.before)} earlier "
                f"nights are known; {FEWEST_FILMS} films of {FEWEST_NIGHTS} nights are needed."
            )
        elif self.night.offered < FEWEST:
            yield self._nothing(
                f"{self.night.offered} films are too few to compare; {FEWEST} are needed."
            )
        else:
            for name, count in SHARES.items():
                yield from self._share(name, count, whole)
            yield from self._scores(whole)
            for name in TYPICAL:
                yield from self._typical(name, whole)
            for name, mix in MIXES.items():
                yield from self._mix(name, mix, whole)

    def _nothing(self, sentence: str) -> Drift:
        n = self.night.offered
        return Drift(measure=ALL, against=NIGHTS, window=self.window, n=n, sentence=sentence)

    def _share(self, name: str, count: _Count, whole: NightProfile) -> Iterator[Drift]:
        (k, n), (k0, n0) = count(self.night), count(whole)
        if not n or not n0:
            return
        point = ChartPoint.share(k, n)
        width = RATE_WIDTHS[self.window] if name == POSITIVE_RATE else WIDTH
        limits = self._limits(count, whole, point, width)
        yield self._line(
            name,
            k / n,
            k0 / n0,
            (share_of(limits.low), share_of(limits.high)),
            n,
            limits.breached_by(point),
        )

    def _limits(
        self, count: _Count, whole: NightProfile, point: ChartPoint, width: float
    ) -> ControlLimits:
        return ControlLimits.around(
            ChartPoint.share(*count(whole)), self._points(count), point.error, width
        )

    def _points(self, count: _Count) -> list[ChartPoint]:
        return [ChartPoint.share(*count(night)) for night in self.before if count(night)[1]]

    def _scores(self, whole: NightProfile) -> Iterator[Drift]:
        lowest, (night, baseline) = aligned("probability", self.night, whole)
        n, n0 = int(night.sum()), int(baseline.sum())
        if not n or not n0:
            return
        distance, cut = ks(night, baseline)

        def below(profile: NightProfile) -> tuple[int, int]:
            scores = profile.histograms["probability"]
            return sum(scores[at] for at in scores if at <= lowest + cut), profile.scored

        spread = overdispersion(self._points(below))
        limit = ks_limit(n, n0, spread)
        yield self._line("ks", distance, None, (None, limit), n, distance > limit)
        index, bins = psi(night, baseline)
        limit = psi_limit(n, n0, bins, spread)
        yield self._line("psi", index, None, (None, limit), n, index > limit)

    def _typical(self, name: str, whole: NightProfile) -> Iterator[Drift]:
        baseline = _WinsorisedMean.of(name, whole)
        point = baseline and baseline.mean(self.night)
        if not baseline or not point:
            return
        nights = [mean for night in self.before if (mean := baseline.mean(night))]
        limits = ControlLimits.around(baseline.whole, nights, point.error)
        value, expected, low, high = map(
            SCALES[name].value, (point.at, baseline.whole.at, limits.low, limits.high)
        )
        n = sum(self.night.histograms[name].values())
        yield self._line(name, value, expected, (low, high), n, limits.breached_by(point))

    def _mix(
        self, name: str, mix: Callable[[NightProfile], Mapping[str, int]], whole: NightProfile
    ) -> Iterator[Drift]:
        """Yield the class whose share changed most; limits widen with the number of classes."""
        classes = sorted({*mix(self.night), *mix(whole)})
        if len(classes) < 2:
            return
        width = width_for(len(classes))

        def moved(which: str) -> tuple[tuple[float, float], Drift]:
            def count(profile: NightProfile) -> tuple[int, int]:
                return mix(profile).get(which, 0), profile.offered

            (k, n), (k0, n0) = count(self.night), count(whole)
            point = ChartPoint.share(k, n)
            limits = self._limits(count, whole, point, width)
            ends = (share_of(limits.low), share_of(limits.high))
            line = self._line(name, k / n, k0 / n0, ends, n, limits.breached_by(point), which=which)
            # With two classes one gains what the other loses; the tie goes to the larger share.
            return (round(limits.nearness(point), 3), k / n), line

        yield max(map(moved, classes), key=itemgetter(0))[1]

    def _line(
        self,
        name: str,
        value: float,
        expected: float | None,
        limits: tuple[float | None, float],
        n: int,
        breach: bool,
        *,
        which: str | None = None,
    ) -> Drift:
        low, high = limits
        return Drift(
            measure=name,
            against=NIGHTS,
            window=self.window,
            value=value,
            expected=expected,
            low=low,
            high=high,
            n=n,
            breach=breach,
            sentence=_sentence(name, self.window, value, expected, limits, which),
        )


@dataclass(frozen=True)
class _WinsorisedMean:
    """Winsorised means of a measure: films beyond the quantiles of the baseline count as there.

    Attributes:
        low: lower bins count as this one.
        high: higher bins count as this one.
        sd: standard deviation of the baseline's films on the scale of the bins; at least one bin.
        whole: mean of the baseline.
    """

    name: str
    low: int
    high: int
    sd: float
    whole: ChartPoint

    @classmethod
    def of(cls, name: str, baseline: NightProfile) -> "_WinsorisedMean | None":
        """Return it for a baseline; None if the baseline lacks the measure."""
        lowest, (films,) = aligned(name, baseline)
        if not films.sum():
            return None
        share = np.cumsum(films) / films.sum()
        low, high = (lowest + int(np.searchsorted(share, end)) for end in _WINSOR_QUANTILES)
        scale = SCALES[name]
        middles = scale.middle(np.clip(np.arange(lowest, lowest + len(films)), low, high))
        mean = float(np.average(middles, weights=films))
        sd = max(scale.width, float(np.sqrt(np.average((middles - mean) ** 2, weights=films))))
        return cls(name, low, high, sd, ChartPoint(mean, sd / float(np.sqrt(films.sum()))))

    def mean(self, profile: NightProfile) -> ChartPoint | None:
        """Return the mean of a night; None if the night lacks the measure."""
        lowest, (films,) = aligned(self.name, profile)
        if not films.sum():
            return None
        bins = np.clip(np.arange(lowest, lowest + len(films)), self.low - 1, self.high + 1)
        mean = float(np.average(SCALES[self.name].middle(bins), weights=films))
        return ChartPoint(mean, self.sd / float(np.sqrt(films.sum())))


def _sentence(
    name: str,
    window: str,
    value: float,
    expected: float | None,
    limits: tuple[float | None, float],
    which: str | None,
) -> str:
    what = NAMES[name] if which is None else f"{NAMES[name]} {which or 'unknown'}"
    when = window if window == TONIGHT else f"in the {window}"
    low, high = limits
    if expected is None:
        return f"{what} is {value:.3g} {when}; up to {high:.3g} can be chance."
    return (
        f"{what} is {value:.3g} {when}; it was {expected:.3g} in the nights before, and "
        f"{low or 0:.3g} to {high:.3g} can be chance."
    )
