"""The look that the pictures of a page share."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

#: Colours that stay apart for the colour-blind (Okabe and Ito, 2008).
BLUE: Final = "#0072b2"
VERMILION: Final = "#d55e00"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
GREY: Final = "#5f6770"

# Any: what rcParams takes is a type of 300 names.
_STYLE: Final[Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.dpi": 120,
    "grid.color": "#dde1e6",
    "hatch.linewidth": 0.6,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.dpi": 120,
}


@contextmanager
def drawn(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches to draw on; saved as `path` in the end.

    It looks the same whatever the user's own ``matplotlibrc`` says, and the same drawing gives the
    same bytes.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height))
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})


def printable(name: str, longest: int = 40) -> str:
    """A name as the font can draw it: no line breaks, unknown letters as boxes, cut in its middle.

    For texts drawn with ``parse_math=False``: a file name may hold dollar signs.
    """
    known = _letters()
    text = "".join(letter if ord(letter) in known else "\N{WHITE SQUARE}" for letter in name)
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[-half:]}"


@cache
def _letters() -> frozenset[int]:
    """What matplotlib's own font can draw; control characters are no letters."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    return frozenset(code for code in font.get_charmap() if code >= 32 and code != 127)
