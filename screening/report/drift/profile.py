"""Describe the films of a night by counts that can be added over nights."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from screening.errors import ReportError
from screening.results import PNEUMONIA, PREDICTIONS, Row, Status, read_rows

PROFILE: Final = "profile.json"

#: Reasons of refused files that are not pictures, such as a list or a link among the films. They
#: say nothing about the films.
_NO_PICTURE: Final = ("not_image", "not_followed")

#: Number of scanners and views that are counted by name; rarer ones are counted together.
_NAMED: Final = 20
_OTHERS: Final = "others"

_COUNTS: Final = ("statuses", "reasons", "warnings", "views", "scanners")


@dataclass(frozen=True)
class Scale:
    """Bins of equal width for a measure, so that histograms of nights can be added.

    Attributes:
        kind: ``plain``, ``root``, ``log`` or ``logit``: transformation of the measure before
            binning. Roots separate shares close to 0, logarithms suit measures that are never
            below 0, and log odds separate the probabilities of a confident model.
        width: width of a bin.
    """

    kind: str
    width: float

    def bin(self, value: float) -> int:
        """Return the number of the bin that holds a value.

        Logarithms are taken of at least a millionth, log odds at least a millionth from 0 and 1.
        """
        # A value on an edge belongs to the bin above, even if it was rounded down.
        return math.floor(self._forward(value) / self.width + 1e-9)

    def middle(self, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the middles of bins on the transformed scale."""
        return np.asarray((bins + 0.5) * self.width, np.float64)

    def value(self, scaled: float) -> float:
        """Return the measure for a value on the transformed scale."""
        match self.kind:
            case "root":
                return max(scaled, 0.0) ** 2
            case "log":
                return math.exp(scaled)
            case "logit":
                return 1 / (1 + math.exp(-scaled))
        return scaled

    def _forward(self, value: float) -> float:
        match self.kind:
            case "root":
                return math.sqrt(max(value, 0.0))
            case "log":
                return math.log(max(value, _TINY))
            case "logit":
                inside = min(max(value, _TINY), 1 - _TINY)
                return math.log(inside) - math.log1p(-inside)
        return value


_TINY: Final = 1e-6

#: Columns of a row that a profile has histograms of.
SCALES: Final = {
    "probability": Scale("logit", 0.25),
    "domain_distance": Scale("log", 0.02),
    "grey_mean": Scale("plain", 0.005),
    "grey_sd": Scale("plain", 0.0025),
    "black": Scale("root", 0.005),
    "white": Scale("root", 0.005),
    "sharpness": Scale("log", 0.02),
}


@dataclass(frozen=True)
class NightProfile:
    """Counts of the films of one or several nights. Duplicates are left out.

    Attributes:
        at: when the last film was screened, UTC, ISO 8601; empty if there was none.
        model_sha256: SHA-256 of the bundle; empty if no film reached it.
        statuses: number of films by status.
        reasons: number of refused and failed films by the code of their reason.
        called: number of scored films called pneumonia.
        warnings: number of scored films by the code of each warning.
        histograms: number of scored films by bin, for each of :data:`SCALES`; empty for a measure
            that the rows lack.
        views: number of scored and refused pictures by view position; "" if the header has none.
        scanners: number of scored and refused pictures by manufacturer; "" if the header has none.
    """

    at: str = ""
    model_sha256: str = ""
    statuses: Mapping[str, int] = field(default_factory=Counter)
    reasons: Mapping[str, int] = field(default_factory=Counter)
    called: int = 0
    warnings: Mapping[str, int] = field(default_factory=Counter)
    histograms: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    views: Mapping[str, int] = field(default_factory=Counter)
    scanners: Mapping[str, int] = field(default_factory=Counter)

    @property
    def scored(self) -> int:
        """Number of films that have a probability."""
        return self.statuses.get(Status.SCORED, 0)

    @property
    def refused(self) -> int:
        """Number of refused pictures, without files that are not pictures."""
        no_picture = sum(self.reasons.get(code, 0) for code in _NO_PICTURE)
        return self.statuses.get(Status.REFUSED, 0) - no_picture

    @property
    def offered(self) -> int:
        """Number of pictures that were scored or refused."""
        return self.scored + self.refused

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Self:
        """Return the profile of the rows of a report."""
        rows = [row for row in rows if row.status is not Status.DUPLICATE]
        scored = [row for row in rows if row.status is Status.SCORED]
        unread = [row for row in rows if row.status is not Status.SCORED]
        codes = {row.film: row.reason_code for row in unread}
        pictures = [
            row
            for row in rows
            if row.status is not Status.FAILED and codes.get(row.film) not in _NO_PICTURE
        ]
        return cls(
            at=max((row.screened_at for row in rows), default=""),
            model_sha256=next((row.model_sha256 for row in rows if row.model_sha256), ""),
            statuses=Counter(row.status.value for row in rows),
            reasons=Counter(codes.values()),
            called=sum(row.prediction == PNEUMONIA for row in scored),
            warnings=Counter(code for row in scored for code in row.warning_codes),
            histograms={name: _histogram(scored, name) for name in SCALES},
            views=_named(row.view for row in pictures),
            scanners=_named(row.manufacturer for row in pictures),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON; histograms as pairs of bin and count."""
        return (
            vars(self)
            | {name: dict(getattr(self, name)) for name in _COUNTS}
            | {"histograms": {name: sorted(bins.items()) for name, bins in self.histograms.items()}}
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a profile from the result of :meth:`as_dict`.

        Raises:
            TypeError: if a field is unknown or of the wrong type.
            ValueError: if a bin is not a pair.
            KeyError: if there are no histograms.
        """
        histograms = {
            name: {int(bin_): int(count) for bin_, count in pairs}
            for name, pairs in values["histograms"].items()
        }
        return cls(**{**values, "histograms": histograms})

    def write(self, folder: Path) -> None:
        """Write ``profile.json`` into a report."""
        text = json.dumps(self.as_dict(), ensure_ascii=True, separators=(",", ":"))
        (folder / PROFILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, report: Path) -> Self:
        """Read the profile of a report; without ``profile.json``, derive it from the rows.

        Raises:
            ReportError: if `report` is not a report or is damaged.
        """
        path = report / PROFILE
        try:
            if not path.exists():
                return cls.of(read_rows(report / PREDICTIONS))
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ReportError(f"{report} is not a report: {error.strerror}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ReportError(f"{path} is damaged: {error}") from error


def merged(profiles: Sequence[NightProfile]) -> NightProfile:
    """Merge nights into one; empty if there are none. The model is the first that is known."""
    return NightProfile(
        at=max((profile.at for profile in profiles), default=""),
        model_sha256=next((each.model_sha256 for each in profiles if each.model_sha256), ""),
        called=sum(profile.called for profile in profiles),
        histograms={
            name: _sum(profile.histograms.get(name, {}) for profile in profiles) for name in SCALES
        },
        **{name: _sum(getattr(profile, name) for profile in profiles) for name in _COUNTS},
    )


def _sum(counts: Iterable[Mapping[Any, int]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for each in counts:
        total.update(each)
    return total


def aligned(
    measure: str, *profiles: NightProfile
) -> tuple[int, tuple[npt.NDArray[np.float64], ...]]:
    """Return histograms of a measure over the same bins: the lowest bin, and counts per profile.

    Counts have the shape (bins,), with at least one bin.
    """
    histograms = [profile.histograms.get(measure, {}) for profile in profiles]
    known = sorted({*(bin_ for histogram in histograms for bin_ in histogram)}) or [0]
    lowest, number = known[0], known[-1] - known[0] + 1
    counts = tuple(np.zeros(number) for _ in histograms)
    for films, histogram in zip(counts, histograms, strict=True):
        for bin_, count in histogram.items():
            films[bin_ - lowest] = count
    return lowest, counts


def _histogram(rows: Iterable[Row], column: str) -> Counter[int]:
    values = (getattr(row, column) for row in rows)
    return Counter(SCALES[column].bin(value) for value in values if value is not None)


def _named(names: Iterable[str]) -> Counter[str]:
    counted = Counter(names)
    kept = Counter(dict(counted.most_common(_NAMED)))
    rest = counted.total() - kept.total()
    return kept + Counter({_OTHERS: rest})
