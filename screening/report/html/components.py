"""Shared parts of all pages: rendering, formatting of values, tables of thresholds."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from screening.files import display_name
from screening.report.operating_points import CHOSEN, STEP

#: Shown for a missing value.
DASH: Final = "\N{EN DASH}"

# A path may have 4,096 characters, each of which may take six in HTML.
_LONGEST: Final = 160


def shown(text: str, longest: int = _LONGEST) -> str:
    """Return external text without invisible characters, cut in the middle if it is too long."""
    text = display_name(text)
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}\N{HORIZONTAL ELLIPSIS}{text[-(longest // 2) :]}"


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with `digits` decimals."""
    return DASH if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """Format a whole number with thousands separators."""
    return DASH if value is None else f"{value:,.0f}"


def counted(value: int, one: str, many: str = "") -> str:
    """Format a number with its noun: ``1 film``, ``2,000 films``."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def between(low: float | None, high: float | None, digits: int = 3) -> str:
    """Format an interval; empty if there is none."""
    if low is None or high is None:
        return ""
    return f"{low:.{digits}f}{DASH}{high:.{digits}f}"


_SHARED: Final = "screening.report.html"


def render(template: str, package: str = _SHARED, **values: Any) -> str:
    """Render a template from the folder ``templates`` of a package.

    Every value is escaped. Templates extend ``base.html.j2`` and may use the macros of
    ``parts.html.j2``, whatever package they are in; the filter ``image`` turns the path of a
    PNG into a data URI.

    Raises:
        jinja2.UndefinedError: if the template uses a value that was not given.
    """
    return _environment(package).get_template(template).render(**values)


def image(path: Path) -> str:
    """Return a PNG as a data URI, so that the page can be mailed and archived as one file.

    Raises:
        OSError: if it cannot be read.
    """
    return data_uri(path.read_bytes(), "png")


def data_uri(picture: bytes, kind: str) -> str:
    """Return the bytes of a picture as a data URI; `kind` is ``png`` or ``jpeg``."""
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _SHARED))]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["image"] = image
    return environment


_SHARES: Final = ("sensitivity", "specificity", "ppv", "npv")


def point_rows(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows for the macro ``point_table``: the marked ones, and all of them.

    Args:
        points: from :meth:`~screening.report.operating_points.ThresholdRow.as_dict`; missing values
            are shown as a dash.
    """
    rows = [_row(point) for point in points]
    projected = [point["projected"] for point in points if point.get("projected")]
    return {
        "named": [row for row in rows if row["marks"]],
        "all": rows,
        "prevalence": f"{projected[0]['prevalence']:.1%}" if projected else None,
    }


def _row(point: Mapping[str, Any]) -> dict[str, Any]:
    marks = [mark for mark in point.get("marks", ()) if mark != STEP]
    projected = point.get("projected") or {}
    return {
        "threshold": f"{point['threshold']:.6g}",
        "marks": ["in use" if mark == CHOSEN else mark for mark in marks],
        "chosen": CHOSEN in marks,
        "shares": [_share(point.get(key)) for key in _SHARES],
        "referrals": number(point.get("referrals"), 1),
        "counts": [count(point.get(key)) for key in ("tp", "fp", "tn", "fn")],
        "projected": [
            number(projected.get("ppv")),
            number(projected.get("npv")),
            number(projected.get("referrals"), 1),
        ],
    }


def _share(figure: Any) -> tuple[str, str]:
    """Format a value and its interval; a card may hold only the value."""
    if not isinstance(figure, Mapping):
        return number(figure), ""
    return number(figure.get("value")), between(figure.get("ci_low"), figure.get("ci_high"))


#: Colours that colour-blind readers can tell apart (Okabe and Ito, 2008).
BLUE: Final = "#0072b2"
VERMILION: Final = "#d55e00"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
GREY: Final = "#5f6770"

# Any: the key type of rcParams is a Literal of 300 names.
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
    """Yield a figure, `width` by `height` inches, to draw on; save it as `path` on exit.

    The user's own ``matplotlibrc`` has no effect, and the same drawing gives the same bytes.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height))
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})


def drawable(name: str, longest: int = 40) -> str:
    """Return a name that the font can draw: no line breaks, unknown characters as boxes.

    A long name is cut in the middle. For texts drawn with ``parse_math=False``, because a file name
    may contain dollar signs.
    """
    known = _letters()
    text = "".join(letter if ord(letter) in known else "\N{WHITE SQUARE}" for letter in name)
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[-half:]}"


@cache
def _letters() -> frozenset[int]:
    """Return the code points that matplotlib's own font can draw, without control characters."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    return frozenset(code for code in font.get_charmap() if code >= 32 and code != 127)
