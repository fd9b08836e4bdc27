"""Split films into training, validation and test."""

from collections import Counter
from collections.abc import Container, ItemsView, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from screening.errors import TrainingDataError
from screening.results import CLASSES
from screening.training.data.dataset import Collection
from screening.training.data.duplicates import Duplicates, find_duplicates
from screening.training.data.manifest import LabelledFilm

#: Protocols for splitting films.
PROTOCOLS: Final = ("patient", "film", "given")

#: Name of the left-out sources' films on pages and cards.
LEFT_OUT: Final = "left out"

_GIVEN: Final = ("train", "val", "test")


@dataclass(frozen=True)
class Sides:
    """The films of each side, sorted by name; `test` is empty if there is no test side.

    Attributes:
        left_out: films of the sources that the user left out. They are on no side, so a model can
            be evaluated on all of them.
    """

    training: list[LabelledFilm]
    validation: list[LabelledFilm]
    test: list[LabelledFilm]
    left_out: list[LabelledFilm] = field(default_factory=list)

    def items(self) -> ItemsView[str, list[LabelledFilm]]:
        """Name and films of each side, including empty sides but not the left-out films."""
        sides = {"training": self.training, "validation": self.validation, "test": self.test}
        return sides.items()


def split(
    films: Iterable[LabelledFilm],
    protocol: str,
    validation_share: float,
    test_share: float,
    seed: int,
    left_out: Container[str] = (),
) -> Sides:
    """Split films by a protocol.

    ``patient``
        Draws whole patients within each source and class (a patient counts for the class and the
        source of most of their films) until the class has reached its share.
    ``film``
        Draws films within each source and class. Patients may be on several sides, so results are
        better than for new patients.
    ``given``
        Uses the split in the data: folders, or the column ``split``. Nothing is drawn.

    Films that the data mark as ``test`` are the test side under every protocol, and no others are
    added. ``train`` and ``val`` in the data are used only under ``given``.

    Args:
        films: in any order; the order has no influence.
        protocol: one of :data:`PROTOCOLS`.
        validation_share: share of the films for validation, 0 < share < 1.
        test_share: share of the films for the test if the data mark no test films; 0 for none.
        seed: the same seed and the same films give the same sides. The split of a source does not
            depend on the other sources.
        left_out: sources whose films are put on no side.

    Raises:
        TrainingDataError: if a patient is in two given splits (except under ``film``), if a film
            has no split under ``given``, if a class would be missing on a side, or if the shares
            leave nothing for training.
        ValueError: if the protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r}, expected {', '.join(PROTOCOLS)}")
    films = sorted(films, key=lambda film: film.name)
    excluded = [film for film in films if film.source in left_out]
    films = [film for film in films if film.source not in left_out]
    if protocol == "given":
        sides = _as_given(films)
    else:
        sides = _drawn(films, protocol, validation_share, test_share, seed)
    sides = replace(sides, left_out=excluded)
    for name, side in sides.items():
        for label, finding in enumerate(CLASSES):
            if not any(film.label == label for film in side) and (side or name != "test"):
                raise TrainingDataError(
                    f"the {name} set has no {finding} film; add films or patients"
                    + (", or choose --protocol patient" if protocol == "given" else "")
                    + (", or leave out fewer sources" if excluded else "")
                )
    return sides


def divide(
    collection: Collection,
    protocol: str,
    validation_share: float,
    test_share: float,
    seed: int,
    left_out: Container[str] = (),
) -> tuple[Sides, Duplicates]:
    """:func:`split` films so that no copies are on two sides; also return the copies."""
    duplicates = find_duplicates(collection.greys, collection.sha256)
    films = joined(collection.films, duplicates.pairs)
    sides = split(films, protocol, validation_share, test_share, seed, left_out)
    return sides, duplicates


def joined(films: Iterable[LabelledFilm], pairs: Iterable[tuple[int, int]]) -> list[LabelledFilm]:
    """Merge the patients of each pair, transitively.

    Args:
        pairs: indices of films that show the same patient, such as copies of one film.
    """
    films = list(films)
    name_of = {film.patient: film.patient for film in films}
    members = {film.patient: [film.patient] for film in films}
    for pair in pairs:
        kept, *merged = sorted({name_of[films[index].patient] for index in pair})
        for name in merged:
            # The name that sorts first is used for all, whatever the order of the pairs.
            members[kept] += members[name]
            name_of |= dict.fromkeys(members[name], kept)
    return [replace(film, patient=name_of[film.patient]) for film in films]


def _as_given(films: list[LabelledFilm]) -> Sides:
    without = [film.name for film in films if not film.split]
    if without:
        raise TrainingDataError(
            f"--protocol given: {len(without)} films have no split, such as {without[0]}; put "
            "them in train, val or test, fill in the column split, or choose --protocol patient"
        )
    _refuse_divided_patients(films, frozenset(_GIVEN))
    return Sides(*([film for film in films if film.split == name] for name in _GIVEN))


def _drawn(
    films: list[LabelledFilm], protocol: str, validation_share: float, test_share: float, seed: int
) -> Sides:
    if validation_share + test_share >= 1:
        raise TrainingDataError(
            f"validation {validation_share:g} and test {test_share:g} leave no film for training"
        )
    if protocol == "patient":
        _refuse_divided_patients(films, frozenset({"test"}))
    given = [film for film in films if film.split == "test"]
    films = [film for film in films if film.split != "test"]
    groups: dict[str, list[LabelledFilm]] = {}
    for film in films:
        groups.setdefault(film.patient if protocol == "patient" else film.name, []).append(film)
    # Validation is drawn first, so that it is the same with and without a test side.
    shares = {"validation": validation_share, "test": 0 if given else test_share}
    side_of = {
        film.name: side
        for group, side in _draw(groups, shares, seed).items()
        for film in groups[group]
    }
    return Sides(
        training=[film for film in films if film.name not in side_of],
        validation=[film for film in films if side_of.get(film.name) == "validation"],
        test=given or [film for film in films if side_of.get(film.name) == "test"],
    )


def _draw(
    groups: dict[str, list[LabelledFilm]], shares: dict[str, float], seed: int
) -> dict[str, str]:
    """The side of each group that was drawn, within each source and class."""
    by_source: dict[str, dict[str, list[LabelledFilm]]] = {}
    for name, own in groups.items():
        by_source.setdefault(_main_source(own), {})[name] = own
    side_of: dict[str, str] = {}
    for own_groups in by_source.values():
        # Each source starts with the same seed, so its split does not depend on other sources.
        side_of |= _draw_source(own_groups, shares, np.random.default_rng(seed))
    return side_of


def _draw_source(
    groups: dict[str, list[LabelledFilm]], shares: dict[str, float], rng: np.random.Generator
) -> dict[str, str]:
    side_of: dict[str, str] = {}
    for label in range(len(CLASSES)):
        names = [name for name, own in groups.items() if _majority(own) == label]
        films = sum(len(groups[name]) for name in names)
        order = iter(rng.permutation(len(names)))
        for side, share in shares.items():
            taken = 0
            while taken < share * films and (index := next(order, None)) is not None:
                side_of[names[index]] = side
                taken += len(groups[names[index]])
    return side_of


def _refuse_divided_patients(films: list[LabelledFilm], parts: frozenset[str]) -> None:
    """Refuse a patient in two parts of the data; all splits not in `parts` count as one part."""
    films_of: dict[str, dict[str, str]] = {}
    for film in films:
        films_of.setdefault(film.patient, {}).setdefault(
            film.split if film.split in parts else "", film.name
        )
    shared = {patient: own for patient, own in films_of.items() if len(own) > 1}
    if shared:
        named = "; ".join(
            f"{patient} ({' and '.join(own.values())})" for patient, own in list(shared.items())[:3]
        )
        raise TrainingDataError(
            f"{len(shared)} patients have films, or copies of one film, in more than one given split: "
            f"{named}. Correct the manifest, or remove the copies; if patients were guessed wrongly from "
            "file names, give --patient-pattern; or choose --protocol film"
        )


def _majority(films: list[LabelledFilm]) -> int:
    return int(np.bincount([film.label for film in films]).argmax())


def _main_source(films: list[LabelledFilm]) -> str:
    """The source of most films; copies of a film may merge patients of two sources."""
    counts = Counter(film.source for film in films)
    return min(counts, key=lambda source: (-counts[source], source))
