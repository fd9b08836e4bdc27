"""Compare a night with the films that its model was evaluated on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from screening.model.drift_baseline import QUANTILES, WARNINGS, DriftBaseline, Spread
from screening.report.drift.control_charts import ChartPoint, ControlLimits, ks, psi, share_of
from screening.report.drift.drift_csv import (
    ALL,
    FEWEST,
    NAMES,
    POSITIVE_RATE,
    REFERENCE,
    TONIGHT,
    Drift,
)
from screening.report.drift.night_comparison import with_last_nights
from screening.report.drift.profile import SCALES, NightProfile, aligned, merged
from screening.results import INPUT_COLUMNS

#: Share of the films by which refusals or a warning must exceed the reference, in addition to not
#: being chance: every site differs a little from the training data, which is not worth reporting
#: every night.
LARGE: Final = 0.05

_line = partial(Drift, against=REFERENCE, window=TONIGHT)


def with_reference(night: NightProfile, reference: DriftBaseline | None) -> Iterator[Drift]:
    """Compare a night with a model's reference.

    The share called pneumonia and the scores are shown but never a breach: how frequent pneumonia
    is in a training collection is its makers' choice. Typical values may lie anywhere in the range
    of the middle nine tenths of the reference's films.
    """
    if reference is None:
        yield _nothing(night, "The model card has no reference to compare with.")
    elif night.offered < FEWEST:
        yield _nothing(night, f"{night.offered} films are too few to compare; {FEWEST} are needed.")
    else:
        yield from _Comparison(night, reference).lines()


def _nothing(night: NightProfile, sentence: str) -> Drift:
    return _line(measure=ALL, n=night.offered, sentence=sentence)


@dataclass(frozen=True)
class _Comparison:
    """A night and the reference of its model."""

    night: NightProfile
    reference: DriftBaseline

    def lines(self) -> Iterator[Drift]:
        """Yield rates, scores and typical values, as far as they are known."""
        night, reference = self.night, self.reference
        yield from self._rate(
            "refusal_rate", night.refused, night.offered, reference.refused, reference.n
        )
        if not night.scored:
            return
        for code in WARNINGS:
            count = night.warnings.get(code, 0)
            yield from self._rate(
                code, count, night.scored, reference.warnings[code], reference.scored
            )
        yield from self._scores()
        yield from self._typical("domain_distance", reference.distance)
        for name, column in INPUT_COLUMNS.items():
            yield from self._typical(column, reference.inputs[name])

    def _rate(self, name: str, k: int, n: int, k0: int, n0: int) -> Iterator[Drift]:
        point = ChartPoint.share(k, n)
        chance = share_of(ControlLimits.around(ChartPoint.share(k0, n0), (), point.error).high)
        high = max(chance, k0 / n0 + LARGE)
        what = f"{NAMES[name]} is {k / n:.3g}; it was {k0 / n0:.3g} for the model's reference films"
        yield _line(
            measure=name,
            value=k / n,
            expected=k0 / n0,
            high=high,
            n=n,
            breach=k / n > high,
            sentence=f"{what}, and up to {high:.3g} is accepted.",
        )

    def _scores(self) -> Iterator[Drift]:
        night, reference = self.night, self.reference
        n = night.scored
        shown = "It depends on how common pneumonia is, so it has no limit."
        yield _line(
            measure=POSITIVE_RATE,
            value=night.called / n,
            expected=reference.positive_rate,
            n=n,
            sentence=f"{NAMES[POSITIVE_RATE]} is {night.called / n:.3g}; it was "
            f"{reference.positive_rate:.3g} for the model's reference films. {shown}",
        )
        scale = SCALES["probability"]
        known = Counter(scale.bin(float(p)) for p in reference.probabilities)
        _lowest, (mine, theirs) = aligned(
            "probability", night, NightProfile(histograms={"probability": known})
        )
        if not mine.sum():
            return
        figures = {"ks": ks(mine, theirs)[0], "psi": psi(mine, theirs)[0]}
        for name, value in figures.items():
            yield _line(
                measure=name,
                value=value,
                n=n,
                sentence=f"{NAMES[name]} from the model's reference films is {value:.3g}. {shown}",
            )

    def _typical(self, name: str, spread: Spread) -> Iterator[Drift]:
        lowest, (films,) = aligned(name, self.night)
        n = int(films.sum())
        if not n:
            return
        scale = SCALES[name]
        at = lowest + int(np.searchsorted(np.cumsum(films), n / 2))
        value = scale.value(float(scale.middle(np.array([at]))[0]))
        low, high = spread.quantiles[0], spread.quantiles[-1]
        # Compare bins, not values: the middle of a bin does not exceed a limit in the same bin.
        breach = not scale.bin(low) <= at <= scale.bin(high)
        yield _line(
            measure=name,
            value=value,
            expected=spread.quantiles[len(QUANTILES) // 2],
            low=low,
            high=high,
            n=n,
            breach=breach,
            sentence=f"{NAMES[name]} (median) is {value:.3g}; for nine of ten of the model's reference "
            f"films it was between {low:.3g} and {high:.3g}.",
        )


def control(
    tonight: NightProfile, earlier: Sequence[NightProfile], reference: DriftBaseline | None
) -> list[Drift]:
    """Compare a night with earlier nights of its site and with its model's reference.

    Args:
        tonight: the night; if it has too few films, it is merged with the nights before.
        earlier: nights of the same site and model, oldest first.
        reference: the reference in the model's card.
    """
    nights = list(map(merged, _together([tonight, *reversed(earlier)])))
    return [*with_last_nights(nights), *with_reference(nights[0], reference)]


def _together(profiles: Iterable[NightProfile]) -> Iterator[list[NightProfile]]:
    """Group neighbours until each group has enough films for a night; the last may have fewer."""
    night: list[NightProfile] = []
    for profile in profiles:
        night.append(profile)
        if sum(each.offered for each in night) >= FEWEST:
            yield night
            night = []
    if night:
        yield night
