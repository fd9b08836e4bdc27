"""What a comparison says, in words for a terminal."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from screening.findings import NORMAL, PNEUMONIA
from screening.report.comparison.compare import Comparison
from screening.report.comparison.paired import Contrast
from screening.report.intervals import Booleans

#: Above this p a difference is not told from chance.
_CHANCE: Final = 0.05
_SMALL: Final = 0.001

_CAUTION: Final = (
    "A difference that is not distinguishable from chance is no proof that there is none: "
    "the interval says how large it may be."
)


def words(comparison: Comparison) -> Iterator[str]:
    """Line by line: what was compared, which answers changed, and what the labels say of that."""
    yield from _what(comparison)
    yield from _films(comparison)
    yield from _calls(comparison)
    both = comparison.both
    if not both.labelled.any():
        yield "Without labels nobody can say which of them is right: give --labels."
        return
    figures = comparison.figures
    sick, well = both.labelled & both.positive, both.labelled & ~both.positive
    yield from _side(comparison, sick, PNEUMONIA, figures["sensitivity"], "sensitivity")
    yield from _side(comparison, well, NORMAL, figures["specificity"], "specificity")
    yield _contrast("accuracy", figures["accuracy"])
    yield _contrast("area under the ROC curve", figures["auroc"], digits=4)
    yield _CAUTION


def _what(comparison: Comparison) -> Iterator[str]:
    made_with = comparison.made_with
    for place, side in enumerate("AB"):
        model, sha256, threshold, runtime = (made[place] for made in made_with.values())
        yield f"{side}: {model}, bundle {sha256[:16]}, threshold {threshold}, {runtime}"
    differing = [name for name, (a, b) in made_with.items() if a != b]
    yield f"They differ in: {', '.join(differing) or 'nothing that the reports tell'}."


def _films(comparison: Comparison) -> Iterator[str]:
    only_a = sum(pair.a is not None for pair in comparison.only)
    only_b = len(comparison.only) - only_a
    copies = "" if not any(comparison.copies) else _copies(comparison.copies)
    yield (
        f"Films: {len(comparison.pairs)} in both, {only_a} only in A, {only_b} only in B{copies}."
    )
    for (was, became), number in sorted(comparison.flips.items()):
        if {was, became} != {NORMAL, PNEUMONIA}:
            yield f"A says {was} and B {became} of {_counted(number, 'film')}."


def _copies(copies: tuple[int, int]) -> str:
    return f"; copies left out: {copies[0]} in A, {copies[1]} in B"


def _calls(comparison: Comparison) -> Iterator[str]:
    figures, n = comparison.figures, len(comparison.both.a)
    if not n:
        yield "No film was scored by both."
        return
    called = figures["called"]
    yield (
        f"Of {_counted(n, 'film')} scored by both, B calls "
        f"{_more(comparison.both.called_a, comparison.both.called_b)}: {_chance(called)}."
    )
    same, kappa = figures["agreement"], figures["kappa"]
    agreed = f"They agree on {_number(same.a)} of the films {_interval(same)}"
    if kappa.a is None:
        yield f"{agreed}; Cohen's kappa is undefined, as both call all films alike."
    else:
        yield f"{agreed}; Cohen's kappa is {_number(kappa.a)} {_interval(kappa)}."


def _side(
    comparison: Comparison, which: Booleans, label: str, figure: Contrast, name: str
) -> Iterator[str]:
    """The films with one label: who calls them, and what that means."""
    both = comparison.both
    a, b = both.called_a[which], both.called_b[which]
    if not len(a):
        yield f"No film that both scored is labelled {label}."
        return
    yield f"Of {_counted(len(a), 'film')} labelled {label}, B calls {_more(a, b)}."
    yield f"{'':18}{'B calls':>9}{'B does not':>12}"
    for title, mine in (("A calls", a), ("A does not", ~a)):
        yield f"  {title:16}{np.sum(mine & b):9}{np.sum(mine & ~b):12}"
    yield _contrast(name, figure)


def _contrast(name: str, figure: Contrast, digits: int = 3) -> str:
    if figure.a is None or figure.b is None:
        return f"{name}: undefined for these films."
    return (
        f"{name}: A {figure.a:.{digits}f}, B {figure.b:.{digits}f}, difference "
        f"{figure.b - figure.a:+.{digits}f} {_interval(figure, f'+.{digits}f')}, n = {figure.n}: "
        f"{_chance(figure)}."
    )


def _more(a: Booleans, b: Booleans) -> str:
    """How many films B calls more than A, and which ways they went."""
    gained, lost = int(np.sum(b & ~a)), int(np.sum(a & ~b))
    if not gained and not lost:
        return f"the same {int(a.sum())} as A"
    net = gained - lost
    how = "as many as" if not net else f"{abs(net)} {'more' if net > 0 else 'fewer'} than"
    counts = f"{int(b.sum())} against {int(a.sum())}"
    return f"{how} A ({counts}; {gained} by B alone, {lost} by A alone)"


def _chance(figure: Contrast) -> str:
    if figure.p is None:
        return "a test needs films of several patients"
    if figure.p == 1 and figure.a == figure.b:
        return "no difference"
    verdict = "not distinguishable" if figure.p > _CHANCE else "distinguishable"
    p = f"p = {figure.p:.3f}" if figure.p >= _SMALL else f"p < {_SMALL}"
    return f"{verdict} from chance, {p}"


def _interval(figure: Contrast, form: str = ".3f") -> str:
    if figure.ci_low is None or figure.ci_high is None:
        return "(no interval: one patient)"
    return f"({figure.ci_low:{form}} to {figure.ci_high:{form}})"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
