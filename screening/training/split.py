"""Divide films into training and validation so that no patient is on both sides."""

import numpy as np

from screening.errors import TrainingDataError
from screening.findings import CLASSES
from screening.training.manifest import LabelledFilm


def split_by_patient(
    films: list[LabelledFilm], validation_share: float, seed: int
) -> tuple[list[LabelledFilm], list[LabelledFilm]]:
    """Training and validation films; both hold whole patients, and about the same class mix.

    Films that the data set aside for a test are on neither side, and so is every other film of
    their patients. Patients are drawn within each class (a patient counts for the class of most of their films)
    until the class has given `validation_share` of its films.

    Args:
        validation_share: share of the films that goes to validation, 0 < share < 1.
        seed: the same seed and the same films give the same split.

    Raises:
        TrainingDataError: if a class would be missing on one side.
    """
    set_aside = {film.patient for film in films if film.split == "test"}
    films = [film for film in films if film.patient not in set_aside]
    by_patient: dict[str, list[LabelledFilm]] = {}
    for film in films:
        by_patient.setdefault(film.patient, []).append(film)
    chosen: set[str] = set()
    rng = np.random.default_rng(seed)
    for label in range(len(CLASSES)):
        patients = [p for p, own in by_patient.items() if _majority(own) == label]
        wanted = validation_share * sum(len(by_patient[p]) for p in patients)
        taken = 0
        for index in rng.permutation(len(patients)):
            if taken >= wanted:
                break
            chosen.add(patients[index])
            taken += len(by_patient[patients[index]])
    validation = [film for film in films if film.patient in chosen]
    training = [film for film in films if film.patient not in chosen]
    for name, side in (("training", training), ("validation", validation)):
        for label, finding in enumerate(CLASSES):
            if not any(film.label == label for film in side):
                raise TrainingDataError(
                    f"the {name} set has no {finding} film; add films or patients"
                )
    return training, validation


def _majority(films: list[LabelledFilm]) -> int:
    return int(np.bincount([film.label for film in films]).argmax())
