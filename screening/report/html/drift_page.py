"""Write ``drift.html``: the nights of a site as control charts."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from screening.model.calibration import Floats
from screening.report.drift.drift_csv import FEWEST, NAMES
from screening.report.drift.night_comparison import BASELINE, FEWEST_FILMS, FEWEST_NIGHTS, MIXES
from screening.report.drift.series import NightResult
from screening.report.html.components import BLUE, GREY, VERMILION, drawn, render

PAGE: Final = "drift.html"

# With more nights than this, charts have a line without markers.
_MARKED: Final = 60


def write_page(folder: Path, nights: Sequence[NightResult]) -> None:
    """Write ``drift.html`` into `folder`: one file that contains all its pictures.

    Args:
        nights: oldest first.
    """
    with TemporaryDirectory() as pictures:
        figures = []
        for measure in NAMES:
            path = Path(pictures) / f"{measure}.png"
            if _draw(path, measure, nights):
                figures.append((measure, path, _described(measure, nights)))
        page = render(
            "drift.html.j2",
            nights=nights,
            names=NAMES,
            figures=figures,
            breached=[night for night in nights if night.breaches],
            films=sum(night.profile.offered for night in nights),
            model=next((n.profile.model_sha256 for n in nights if n.profile.model_sha256), ""),
            baseline=BASELINE,
            fewest=FEWEST,
            fewest_nights=FEWEST_NIGHTS,
            fewest_films=FEWEST_FILMS,
        )
    (folder / PAGE).write_text(page, encoding="utf-8")


def _value(night: NightResult, measure: str) -> float | None:
    """Return the value that was compared, or the night's own if there was nothing to compare."""
    line = night.line(measure)
    return night.values.get(measure) if line is None else line.value


def _draw(path: Path, measure: str, nights: Sequence[NightResult]) -> bool:
    """Draw a control chart; return False if no night has the measure."""
    values = _floats(_value(night, measure) for night in nights)
    if np.isnan(values).all():
        return False
    lines = [night.line(measure) for night in nights]
    low, high, expected = (
        _floats(None if line is None else getattr(line, name) for line in lines)
        for name in ("low", "high", "expected")
    )
    breached = np.array([any(b.measure == measure for b in night.breaches) for night in nights])
    at = np.arange(len(nights))
    with drawn(path, 4.8, 2.9) as sheet:
        axes = sheet.subplots()
        known = ~np.isnan(high)
        axes.fill_between(
            at, np.nan_to_num(low), high, where=known, step="mid", color=GREY, alpha=0.18, lw=0
        )
        axes.step(at, expected, where="mid", color=GREY, lw=1, ls="--")
        axes.plot(
            at, values, color=BLUE, marker="o" if len(nights) <= _MARKED else "", ms=4, lw=1.2
        )
        axes.plot(
            at[breached], values[breached], color=VERMILION, marker="D", ms=7, ls="", zorder=3
        )
        axes.set_title(_title(measure), fontsize="small")
        _dates(axes, nights)
    return True


def _title(measure: str) -> str:
    name = NAMES[measure].removeprefix("The ")
    # The compared class of a mix may differ from night to night.
    moved = " that changed most" if measure in MIXES else ""
    return name[0].upper() + name[1:] + moved


def _dates(axes: Axes, nights: Sequence[NightResult]) -> None:
    axes.set_xlim(-0.5, len(nights) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    days = [_day(night) for night in nights]
    axes.xaxis.set_major_formatter(
        lambda at, _position: days[int(at)] if 0 <= at < len(days) and at == int(at) else ""
    )


def _day(night: NightResult) -> str:
    at = night.profile.at
    return f"{datetime.fromisoformat(at):%d %b}" if at else "?"


def _described(measure: str, nights: Sequence[NightResult]) -> str:
    """Describe a chart for readers who cannot see it."""
    known = [value for night in nights if (value := _value(night, measure)) is not None]
    beyond = [
        night.name for night in nights if any(line.measure == measure for line in night.breaches)
    ]
    what = f"{NAMES[measure]} in {len(nights)} nights: {min(known):.3g} to {max(known):.3g}"
    return f"{what}; beyond its limits in {', '.join(beyond)}" if beyond else f"{what}; no breach"


def _floats(values: Iterable[float | None]) -> Floats:
    """Convert values to floats; missing ones become NaN, a gap in the line."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
