"""Films as the lists of the page: called, near the threshold, refused, failed, copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from screening.reasons import DUPLICATES, FAILURES, REFUSALS
from screening.report.pages.album import Album
from screening.report.pages.contents import Contents
from screening.report.pages.words import number, shown
from screening.row import Row, Status

#: Films in the work list, in the list of those near the threshold, and in each list of reasons.
WORK: Final = 200
NEAR: Final = 40
REASONS: Final = 100

#: The odds of a film near the threshold differ from the threshold's by at most this factor.
FACTOR: Final = 3.0

# Without the other film's name the sentence on copies has no end.
_SENTENCES: Final = (
    REFUSALS | FAILURES | DUPLICATES | {"same_bytes": f"{DUPLICATES['same_bytes']} another"}
)


@dataclass(frozen=True)
class Entry:
    """A film in a list.

    Attributes:
        rank: place in the list, from 1.
        patient: the first letters of its hash.
        about: view, sex and age band, as far as they are known.
        thumbnail: data URI; empty if there is none, likewise `heatmap`.
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
    """Films with the same code.

    Attributes:
        films: name and reason of the first of them, in the order of the report.
    """

    code: str
    sentence: str
    number: int
    films: Sequence[tuple[str, str]]


def work_list(contents: Contents, album: Album) -> list[Entry]:
    """Films called pneumonia, the highest probability first."""
    return [_entry(rank, row, album, 4) for rank, row in enumerate(contents.called[:WORK], 1)]


def near_threshold(contents: Contents, album: Album) -> tuple[list[Entry], int, str]:
    """Films whose odds are close to those of the threshold, the nearest first.

    Returns:
        At most 40 of them, how many there are, and between which probabilities they lie.
    """
    if contents.threshold is None:
        return [], 0, ""
    low, high = _around(contents.threshold)
    near = [row for row in contents.answered if low <= (row.probability or 0) <= high]
    near.sort(key=lambda row: (abs((row.probability or 0) - (contents.threshold or 0)), row.film))
    entries = [_entry(rank, row, album, 6) for rank, row in enumerate(near[:NEAR], 1)]
    return entries, len(near), f"{low:.4g} to {high:.4g}"


def reasons(contents: Contents, status: Status) -> list[Reasons]:
    """Films of a status by the code of their reason, the most frequent first."""
    by_code: dict[str, list[Row]] = {}
    for row in contents.rows:
        if row.status is status:
            by_code.setdefault(row.reason.partition(":")[0], []).append(row)
    return [
        Reasons(
            code=shown(code, 40),
            sentence=_SENTENCES.get(code, ""),
            number=len(films),
            films=[
                (shown(row.film), shown(row.reason.partition(":")[2].strip(), 300))
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
        warnings=shown(row.warnings, 300),
        thumbnail=album.picture(row.thumbnail),
        heatmap=album.heat_map(row.heatmap, lungs=row.lung_area is not None),
    )


def _around(threshold: float) -> tuple[float, float]:
    """Probabilities whose odds are :data:`FACTOR` times lower and higher than the threshold's."""
    if not 0 < threshold < 1:
        return threshold, threshold
    odds = threshold / (1 - threshold)
    return odds / (odds + FACTOR), odds * FACTOR / (odds * FACTOR + 1)
