"""Describe the films of a training, before anything is fitted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from screening.results import CLASSES
from screening.training.data.dataset import Collection, labels_of
from screening.training.data.duplicates import DuplicatePair, Duplicates
from screening.training.data.manifest import RELIABLE, LabelledFilm
from screening.training.data.split import LEFT_OUT, Sides

#: The data report warns if the AUROC of a file's shape or size alone is above this.
BETRAYED: Final = 0.7

#: The data report warns if the AUROC of the source or the view alone is above this. The limit is
#: lower because so few values cannot rank films: with 70 % AP in one class and 40 % in the other
#: the AUROC is 0.65.
TELLING: Final = 0.6

#: Groups of patients by number of films: label, fewest, most.
_GROUPS: Final = (("1", 1, 1), ("2", 2, 2), ("3-5", 3, 5), ("6-10", 6, 10), (">10", 11, 2**31))

_QUANTILES: Final = {"min": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "max": 1.0}

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassLeak:
    """How well one number about a file separates the classes by itself.

    Attributes:
        auroc: 0.5 (not at all) to 1.
        higher: the class with higher values; empty if neither.
    """

    auroc: float
    higher: str


@dataclass(frozen=True)
class Twins:
    """Two copies of one film.

    Attributes:
        films: their names.
        likeness: correlation of their details, 1 for the same bytes.
        same_class: True if both have the same label.
        same_patient: True if the data name the same patient for both.
        same_side: True if both are on the same side.
    """

    films: tuple[str, str]
    likeness: float
    same_class: bool
    same_patient: bool
    same_side: bool


@dataclass(frozen=True)
class Stratum:
    """The films of one source and view.

    Attributes:
        films: number of films by class.
        weak: number of films whose label has a confidence below
            :data:`screening.training.data.manifest.RELIABLE`.
    """

    source: str
    view: str
    films: dict[str, int]
    weak: int


@dataclass(frozen=True)
class DatasetReport:
    """The contents of the data report.

    Patients are counted as the data name them: copies of one film under two patients are two
    patients here, though one for the split.

    Attributes:
        films: number of readable films.
        patients: number of their patients.
        sides: numbers of films and of patients by side and class, including left-out films if there
            are any.
        strata: the films by source and view, sorted.
        one_class: the only class of a source, by source, for training sources with one class.
        source_auroc: how well the source alone separates the classes, 0.5 to 1.
        view_auroc: the same for the view alone, by source with both classes.
        films_per_patient: number of patients by number of films.
        most_films: maximum number of films of one patient.
        unnamed: films without a known patient; each counts as its own patient.
        of_both_classes: patients with films of both classes.
        torn: patients with films on more than one side.
        exact: films that are the same file.
        near: copies of one film in different files.
        sizes: by class, quantiles of the rows, columns, and columns per row of the original films.
        betrayals: by property of the file, how well it separates the classes.
        kinds: number of films by file format and class.
        same_names: films with the same file name as a film in another folder.
        unreadable: name and reason of films that were left out.
    """

    films: int
    patients: int
    sides: dict[str, dict[str, dict[str, int]]]
    strata: tuple[Stratum, ...]
    one_class: dict[str, str]
    source_auroc: float
    view_auroc: dict[str, float]
    films_per_patient: dict[str, int]
    most_films: int
    unnamed: int
    of_both_classes: int
    torn: int
    exact: tuple[Twins, ...]
    near: tuple[Twins, ...]
    sizes: dict[str, dict[str, dict[str, float]]]
    betrayals: dict[str, ClassLeak]
    kinds: dict[str, dict[str, int]]
    same_names: int
    unreadable: tuple[dict[str, str], ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for readers of the figures, in sentences."""
        return tuple(_warnings(self))

    def as_dict(self) -> dict[str, Any]:
        """The contents of ``data.json``."""
        return {**asdict(self), "warnings": list(self.warnings)}


def describe_dataset(collection: Collection, sides: Sides, duplicates: Duplicates) -> DatasetReport:
    """Describe the films, before anything is fitted.

    Args:
        collection: all films, with the patients that the data name.
        sides: the same films after the split; their patients may have been merged.
        duplicates: duplicate pairs, by index in `collection`.
    """
    films = collection.films
    named = dict(sides.items()) | {LEFT_OUT: sides.left_out}
    side_of = {film.name: name for name, side in named.items() for film in side}
    learnt = [film for film in films if side_of[film.name] != LEFT_OUT]
    by_patient: dict[str, list[LabelledFilm]] = {}
    for film in films:
        by_patient.setdefault(film.patient, []).append(film)
    names = Counter(PurePosixPath(film.name).name for film in films)
    return DatasetReport(
        films=len(films),
        patients=len(by_patient),
        sides={name: _by_class(films, side_of, name) for name, side in named.items() if side},
        strata=_strata(films),
        one_class=_one_class(learnt),
        source_auroc=_auroc_of_groups(learnt, [film.source for film in learnt]),
        view_auroc=_view_auroc(learnt),
        films_per_patient=_histogram(len(own) for own in by_patient.values()),
        most_films=max(len(own) for own in by_patient.values()),
        unnamed=sum(film.patient == film.name for film in films),
        of_both_classes=sum(len({film.label for film in own}) > 1 for own in by_patient.values()),
        torn=sum(len({side_of[film.name] for film in own}) > 1 for own in by_patient.values()),
        exact=tuple(_twins(pair, films, side_of) for pair in duplicates.exact),
        near=tuple(_twins(pair, films, side_of) for pair in duplicates.near),
        sizes=_sizes(collection),
        betrayals=_betrayals(collection),
        kinds=_kinds(collection),
        same_names=sum(number for number in names.values() if number > 1),
        unreadable=tuple(
            {"film": lost.film.name, "reason": lost.reason} for lost in collection.unreadable
        ),
    )


def _by_class(
    films: list[LabelledFilm], side_of: dict[str, str], side: str
) -> dict[str, dict[str, int]]:
    counts = {}
    for label, finding in enumerate(CLASSES):
        own = [film for film in films if film.label == label and side_of[film.name] == side]
        counts[finding] = {"films": len(own), "patients": len({film.patient for film in own})}
    return counts


def _strata(films: Sequence[LabelledFilm]) -> tuple[Stratum, ...]:
    groups: dict[tuple[str, str], list[LabelledFilm]] = {}
    for film in films:
        groups.setdefault((film.source, film.view), []).append(film)
    return tuple(
        Stratum(
            source,
            view,
            {name: sum(film.label == label for film in own) for label, name in enumerate(CLASSES)},
            sum(film.confidence < RELIABLE for film in own),
        )
        for (source, view), own in sorted(groups.items())
    )


def _by_source(films: Iterable[LabelledFilm]) -> dict[str, list[LabelledFilm]]:
    groups: dict[str, list[LabelledFilm]] = {}
    for film in sorted(films, key=lambda film: film.source):
        groups.setdefault(film.source, []).append(film)
    return groups


def _one_class(films: Sequence[LabelledFilm]) -> dict[str, str]:
    found = {source: {film.label for film in own} for source, own in _by_source(films).items()}
    return {source: CLASSES[min(own)] for source, own in found.items() if len(own) == 1}


def _view_auroc(films: Sequence[LabelledFilm]) -> dict[str, float]:
    return {
        source: _auroc_of_groups(own, [film.view for film in own])
        for source, own in _by_source(films).items()
        if len({film.label for film in own}) > 1 and len({film.view for film in own}) > 1
    }


def _auroc_of_groups(films: Sequence[LabelledFilm], groups: Sequence[str]) -> float:
    """How well the group of a film alone predicts its class, 0.5 to 1, on these same films."""
    labels = np.array([film.label for film in films])
    _names, group = np.unique(groups, return_inverse=True)
    share = np.bincount(group, labels) / np.bincount(group)
    return round(float(roc_auc_score(labels, share[group])), 4)


def _histogram(numbers: Iterable[int]) -> dict[str, int]:
    films = list(numbers)
    return {
        name: sum(fewest <= number <= most for number in films) for name, fewest, most in _GROUPS
    }


def _twins(pair: DuplicatePair, films: list[LabelledFilm], side_of: dict[str, str]) -> Twins:
    one, other = films[pair.first], films[pair.second]
    return Twins(
        films=(one.name, other.name),
        likeness=pair.likeness,
        same_class=one.label == other.label,
        same_patient=one.patient == other.patient,
        same_side=side_of[one.name] == side_of[other.name],
    )


def _measures(collection: Collection) -> dict[str, _Floats]:
    rows = np.array([source.rows for source in collection.sources], np.float64)
    columns = np.array([source.columns for source in collection.sources], np.float64)
    size = np.array([source.size for source in collection.sources], np.float64)
    return {
        "rows": rows,
        "columns": columns,
        "columns per row": columns / rows,
        "bytes per pixel": size / (rows * columns),
    }


def _sizes(collection: Collection) -> dict[str, dict[str, dict[str, float]]]:
    labels = labels_of(collection.films)
    return {
        finding: {
            what: {
                name: round(float(np.quantile(values[labels == label], share)), 4)
                for name, share in _QUANTILES.items()
            }
            for what, values in _measures(collection).items()
        }
        for label, finding in enumerate(CLASSES)
    }


def _betrayals(collection: Collection) -> dict[str, ClassLeak]:
    labels = labels_of(collection.films)
    found = {}
    for what, values in _measures(collection).items():
        auroc = float(roc_auc_score(labels, values))
        higher = "" if auroc == 0.5 else CLASSES[int(auroc > 0.5)]
        found[what] = ClassLeak(round(max(auroc, 1 - auroc), 4), higher)
    return found


def _kinds(collection: Collection) -> dict[str, dict[str, int]]:
    counts = Counter(
        (source.kind, CLASSES[film.label])
        for film, source in zip(collection.films, collection.sources, strict=True)
    )
    kinds = sorted({kind for kind, _finding in counts})
    return {kind: {finding: counts[kind, finding] for finding in CLASSES} for kind in kinds}


def _warnings(census: DatasetReport) -> Iterable[str]:
    twins = (*census.exact, *census.near)
    if leaks := sum(not pair.same_side for pair in twins):
        yield (
            f"{_count(leaks, 'pair')} of copies on two sides: the model is measured on films that it "
            "was trained on. Split by patient, or remove the copies."
        )
    if census.torn:
        yield (
            f"{_count(census.torn, 'patient')} with films on more than one side: the model is "
            "measured on patients that it was trained on, so its figures are too good for new patients."
        )
    if contradictions := sum(not pair.same_class for pair in census.near):
        yield (
            f"{_count(contradictions, 'pair')} of near duplicates with different labels: one of the "
            "two labels is wrong."
        )
    if census.unnamed == census.films:
        yield (
            "No patient is known, so each film counts as a patient of its own, and a split by patient is "
            "a split by film. To fix this, add a column patient, or use --patient-pattern."
        )
    yield from _source_warnings(census)
    telling = [
        f"{what} {betrayal.auroc:.2f} (more: {betrayal.higher})"
        for what, betrayal in census.betrayals.items()
        if betrayal.auroc > BETRAYED
    ]
    if telling:
        yield (
            "The shape or size of a file alone separates the classes; AUROC: "
            f"{', '.join(telling)}. The model does not see shape and size. But films of the two classes "
            "may have been made or stored in different ways, which the grey values may reveal. Measure "
            "the model on films of other hospitals."
        )
    if census.unreadable:
        yield f"{_count(len(census.unreadable), 'film')} could not be read and were left out."


def _source_warnings(census: DatasetReport) -> Iterable[str]:
    for source, finding in census.one_class.items():
        yield (
            f"Source {source} has only {finding} films: the model may learn the source instead of the "
            "finding."
        )
    if census.source_auroc > TELLING:
        yield (
            f"The source alone separates the classes, AUROC {census.source_auroc:.2f}: the model may "
            "learn the source instead of the finding."
        )
    for source, auroc in census.view_auroc.items():
        if auroc > TELLING:
            yield (
                f"In source {source} the view alone separates the classes, AUROC {auroc:.2f}: the model "
                "may learn the view instead of the finding."
            )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
