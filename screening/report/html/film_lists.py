"""Build the lists of films with their pictures: called, near the threshold, refused, failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from screening.inference.heatmap import strip_rows
from screening.inference.report_images import HEATMAPS, THUMBNAILS
from screening.report.html.components import data_uri, number, shown
from screening.report.html.contents import Contents
from screening.results import DUPLICATES, FAILURES, REFUSALS, Row, Status

#: Most pictures on one page.
_MOST: Final = 200

#: Pixels of the longer side of a heat map on the page, and the JPEG quality at which it takes about
#: 6 kB.
_LONGEST: Final = 192
_QUALITY: Final = 75


class Album:
    """Pictures of a report for its page, up to a maximum number.

    Args:
        report: the folder that contains them.
    """

    def __init__(self, report: Path) -> None:
        self._report = report
        self._left = _MOST

    def picture(self, place: str) -> str:
        """Return a thumbnail as a data URI; empty if there is none or the page has enough."""
        path = self._take(THUMBNAILS, place)
        return data_uri(path.read_bytes(), "jpeg") if path else ""

    def heat_map(self, place: str, *, lungs: bool = False) -> str:
        """Return a heat map as a data URI, smaller and without its scale.

        Empty if there is none, if it is damaged, or if the page has enough pictures.

        Args:
            lungs: whether the heat map has a line about the lungs below the scale.
        """
        path = self._take(HEATMAPS, place)
        if path is None:
            return ""
        below = strip_rows(lungs=lungs)
        try:
            with Image.open(path) as sheet:
                film = sheet.crop((0, 0, sheet.width, sheet.height - below)).convert("RGB")
        except (OSError, SyntaxError):
            # Pillow raises these for a damaged file; write the report without the picture.
            return ""
        film.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        film.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        return data_uri(buffer.getvalue(), "jpeg")

    def _take(self, kind: str, place: str) -> Path | None:
        path = self._report / kind / Path(place).name
        # An evaluation of a report has its rows but not its pictures.
        if not place or not self._left or not path.is_file():
            return None
        self._left -= 1
        return path


#: Most films in the work list, in the list near the threshold, and in each list of reasons.
WORK: Final = 200
NEAR: Final = 40
REASONS: Final = 100

#: The odds of a film near the threshold differ from the threshold's by at most this factor.
FACTOR: Final = 3.0

_SENTENCES: Final = REFUSALS | FAILURES | DUPLICATES


@dataclass(frozen=True)
class Entry:
    """A film in a list.

    Attributes:
        rank: position in the list, from 1.
        patient: the first characters of the patient's hash.
        about: view, sex and age band, as far as they are known.
        thumbnail: data URI; empty if there is none.
        heatmap: data URI; empty if there is none.
    """

    rank: int
    film: str
    probability: str
    finding: str
    label: str
    patient: str
    about: str
    warnings: str
    thumbnail: str = ""
    heatmap: str = ""


@dataclass(frozen=True)
class Reasons:
    """Films with the same code of a reason.

    Attributes:
        films: names and reasons of the first films, in the order of the report.
    """

    code: str
    sentence: str
    number: int
    films: Sequence[tuple[str, str]]


def work_list(contents: Contents, album: Album) -> list[Entry]:
    """List films called pneumonia, by descending probability."""
    return [_entry(rank, row, album, 4) for rank, row in enumerate(contents.called[:WORK], 1)]


def near_threshold(contents: Contents, album: Album) -> tuple[list[Entry], int, str]:
    """List films whose odds are close to those of the threshold, the nearest first.

    Returns:
        At most 40 films, the number of all such films, and the range of probabilities.
    """
    if contents.threshold is None:
        return [], 0, ""
    low, high = _around(contents.threshold)
    near = [row for row in contents.answered if low <= (row.probability or 0) <= high]
    near.sort(key=lambda row: (abs((row.probability or 0) - (contents.threshold or 0)), row.film))
    entries = [_entry(rank, row, album, 6) for rank, row in enumerate(near[:NEAR], 1)]
    return entries, len(near), f"{low:.4g} to {high:.4g}"


def reasons(contents: Contents, status: Status) -> list[Reasons]:
    """Group films of a status by the code of their reason, the most frequent first."""
    by_code: dict[str, list[Row]] = {}
    for row in contents.rows:
        if row.status is status:
            by_code.setdefault(row.reason_code, []).append(row)
    return [
        Reasons(
            code=shown(code, 40),
            sentence=_SENTENCES.get(code, ""),
            number=len(films),
            films=[
                (shown(row.film), shown(row.reason.sentence if row.reason else "", 300))
                for row in films[:REASONS]
            ],
        )
        for code, films in sorted(by_code.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]


def _entry(rank: int, row: Row, album: Album, digits: int) -> Entry:
    about = (row.view, {"M": "male", "F": "female"}.get(row.sex, row.sex), row.age_band)
    return Entry(
        rank=rank,
        film=shown(row.film),
        probability=number(row.probability, digits),
        finding=row.prediction,
        label=row.label,
        patient=shown(row.patient[:12]),
        about=", ".join(shown(part, 20) for part in about if part),
        warnings=shown("; ".join(map(str, row.warnings)), 300),
        thumbnail=album.picture(row.thumbnail),
        heatmap=album.heat_map(row.heatmap, lungs=row.lung_area is not None),
    )


def _around(threshold: float) -> tuple[float, float]:
    """Return the probabilities whose odds are :data:`FACTOR` times below and above those of it."""
    if not 0 < threshold < 1:
        return threshold, threshold
    odds = threshold / (1 - threshold)
    return odds / (odds + FACTOR), odds * FACTOR / (odds * FACTOR + 1)
