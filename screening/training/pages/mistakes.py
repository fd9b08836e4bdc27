"""The films a model was most confidently wrong about, as a picture for its card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from screening.report.pages.drawing import drawn, printable
from screening.training.measure.evaluation import Evaluated

_EACH: Final = 4
_TITLES: Final = ("Pneumonia called normal", "Normal called pneumonia")
# Images side by side, and the letters that fit below one.
_IMAGES: Final = 4
_NAME: Final = 26
# Inches.
_WIDTH: Final = 7.6
_ROW: Final = 2.3
_HEADING: Final = 0.3


@dataclass(frozen=True)
class Mistakes:
    """Indices into a side's films, the most confident mistake first.

    Attributes:
        missed: pneumonia called normal.
        false_alarms: normal called pneumonia.
    """

    missed: tuple[int, ...]
    false_alarms: tuple[int, ...]

    @property
    def indices(self) -> tuple[int, ...]:
        """All of them, the missed ones first: the order in which pictures are given."""
        return self.missed + self.false_alarms


def worst_mistakes(side: Evaluated, each: int = _EACH) -> Mistakes:
    """At most `each` mistakes of both kinds; of equally bad ones the first by film."""
    missed = np.flatnonzero(side.positive & ~side.called)
    alarms = np.flatnonzero(~side.positive & side.called)
    p = side.probabilities
    return Mistakes(
        tuple(missed[np.argsort(p[missed], kind="stable")][:each].tolist()),
        tuple(alarms[np.argsort(-p[alarms], kind="stable")][:each].tolist()),
    )


def draw_mistakes(
    folder: Path,
    side: Evaluated,
    mistakes: Mistakes,
    greys: Sequence[npt.ArrayLike],
    overlays: Sequence[npt.ArrayLike] | None = None,
) -> None:
    """``mistakes_SIDE.png``: each film, with its probability and name below; nothing without any.

    Args:
        greys: the films in the order of ``mistakes.indices``, shape (rows, columns): 0..1 in
            floating point, or 0..255 in uint8.
        overlays: where the network saw pneumonia, to be drawn beside each film: arrays of shape
            (rows, columns, 3), likewise, or Pillow images; of any size.
    """
    if not mistakes.indices:
        return
    films = dict(zip(mistakes.indices, greys, strict=True))
    beside = {} if overlays is None else dict(zip(mistakes.indices, overlays, strict=True))
    kinds = [
        (title, chosen)
        for title, chosen in zip(_TITLES, (mistakes.missed, mistakes.false_alarms), strict=True)
        if chosen
    ]
    across = _IMAGES // 2 if beside else _IMAGES
    rows = [-(-len(chosen) // across) for _title, chosen in kinds]
    height = sum(rows) * _ROW + len(rows) * _HEADING
    with drawn(folder / f"mistakes_{side.name}.png", _WIDTH, height) as figure:
        parts = figure.subfigures(
            len(kinds), 1, squeeze=False, height_ratios=[n * _ROW + _HEADING for n in rows]
        )
        for part, (title, chosen), number in zip(parts[:, 0], kinds, rows, strict=True):
            part.suptitle(title, fontsize="medium", fontweight="bold")
            cells = iter(part.subplots(number, _IMAGES, squeeze=False).flat)
            for index in chosen:
                _show(next(cells), films[index], _caption(side, index))
                if beside:
                    _show(next(cells), beside[index], "evidence for pneumonia")
            for empty in cells:
                empty.set_axis_off()


def _caption(side: Evaluated, index: int) -> str:
    name = side.films[index].name.rpartition("/")[2]
    return f"P = {side.probabilities[index]:.3f}\n{printable(name, _NAME)}"


def _show(axes: Axes, picture: npt.ArrayLike, caption: str) -> None:
    values = np.asarray(picture)
    highest = 255 if values.dtype == np.uint8 else 1
    axes.imshow(values, cmap="gray", vmin=0, vmax=highest)
    axes.set_anchor("N")
    axes.set_xlabel(caption, fontsize="small", parse_math=False)
    axes.set_xticks(())
    axes.set_yticks(())
    axes.spines[:].set_visible(False)
