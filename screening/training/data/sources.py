"""What the sources of films mean for a training: whom to leave out, and which labels to trust."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.errors import TrainingDataError
from screening.findings import CLASSES, POSITIVE
from screening.training.data.manifest import VIEWS, LabelledFilm

#: From this confidence on a label is reliable; the others are weak.
RELIABLE: Final = 0.95

_Indices = npt.NDArray[np.int64]


def reliable(films: Sequence[LabelledFilm]) -> _Indices:
    """Indices of the films that may choose a model or a threshold, shape (k,), ascending.

    These are films with reliable labels, of sources that have such films of both classes here: a
    source of one class would tell how sources differ, not how findings do.
    """
    sure = [index for index, film in enumerate(films) if film.confidence >= RELIABLE]
    classes: dict[str, set[int]] = {}
    for index in sure:
        classes.setdefault(films[index].source, set()).add(films[index].label)
    whole = {source for source, labels in classes.items() if len(labels) == len(CLASSES)}
    return np.array([index for index in sure if films[index].source in whole], np.int64)


def normals_elsewhere(films: Sequence[LabelledFilm]) -> dict[str, _Indices]:
    """Reliable normal films of sources that have no reliable films of both classes here.

    They say nothing of how well findings are told apart, but how often a model calls pneumonia
    where there is none.

    Returns:
        Indices, ascending, by source and view: ``chest, AP``; or ``chest`` where no view is known.
    """
    measured = set(reliable(films).tolist())
    groups: dict[str, list[int]] = {}
    for index, film in enumerate(films):
        if film.confidence >= RELIABLE and film.label != POSITIVE and index not in measured:
            groups.setdefault(", ".join(filter(None, (film.source, film.view))), []).append(index)
    return {name: np.array(groups[name], np.int64) for name in sorted(groups)}


def sources_of(films: Iterable[LabelledFilm]) -> list[str]:
    """The sources of the films, each once, sorted."""
    return sorted({film.source for film in films})


def strata_of(films: Sequence[LabelledFilm]) -> _Indices:
    """The source and view of each film as one number, shape (n,).

    The number is ``source * len(VIEWS) + view`` with indices in :func:`sources_of` and in
    :data:`screening.training.data.manifest.VIEWS`; so a single source without views is all 0.
    """
    sources = {source: index for index, source in enumerate(sources_of(films))}
    return np.array(
        [sources[film.source] * len(VIEWS) + VIEWS.index(film.view) for film in films], np.int64
    )


def confidence_of(films: Sequence[LabelledFilm]) -> npt.NDArray[np.float32]:
    """How likely each label is right, shape (n,), 0.5 to 1."""
    return np.array([film.confidence for film in films], np.float32)


def with_confidence(
    films: Sequence[LabelledFilm], confidence: Mapping[str, float]
) -> list[LabelledFilm]:
    """The films with the confidence that the user gave for their sources.

    Args:
        confidence: by ``SOURCE`` or ``SOURCE/CLASS``, 0.5 to 1; the latter counts where both are
            given.

    Raises:
        TrainingDataError: if a source or a class is unknown, or if the
            manifest of the source has confidences of its own.
    """
    for key in confidence:
        source, _slash, finding = key.partition("/")
        refuse_unknown(films, [source], f"--confidence {key}")
        if _slash and finding not in CLASSES:
            raise TrainingDataError(
                f"--confidence {key}: there is no class {finding}; expected {' or '.join(CLASSES)}"
            )
        if any(film.confidence != 1 for film in films if film.source == source):
            raise TrainingDataError(
                f"--confidence {key}: the manifest of {source} has confidences already; leave out "
                "the option, or remove the column"
            )
    return [replace(film, confidence=_confidence(film, confidence)) for film in films]


def range_of_ages(
    films: Iterable[LabelledFilm], given: Mapping[str, tuple[float, float]]
) -> tuple[float, float] | None:
    """The ages of the youngest and the oldest patient, in years.

    Args:
        given: the same by source, for sources whose films do not say.

    Returns:
        None if there is a source of which neither the films nor `given` say anything.
    """
    known: dict[str, list[float]] = {}
    for film in films:
        ages = known.setdefault(film.source, [*given.get(film.source, ())])
        if film.age is not None:
            ages.append(film.age)
    if not known or not all(known.values()):
        return None
    ages = [age for own in known.values() for age in own]
    return min(ages), max(ages)


def refuse_unknown(films: Iterable[LabelledFilm], names: Iterable[str], option: str) -> None:
    """Refuse names of sources that no film has.

    Args:
        option: what the user wrote, for the message.

    Raises:
        TrainingDataError: naming the sources that there are.
    """
    known = sources_of(films)
    for name in names:
        if name not in known:
            raise TrainingDataError(
                f"{option}: there is no source {name}; the sources are {', '.join(known)}"
            )


def _confidence(film: LabelledFilm, confidence: Mapping[str, float]) -> float:
    of_source = confidence.get(film.source, film.confidence)
    return confidence.get(f"{film.source}/{CLASSES[film.label]}", of_source)
