"""What is judged: films, and the patients and studies that they are of."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from screening.findings import PNEUMONIA
from screening.report.metrics import Scored
from screening.row import Row, Status

_COLUMNS: Final = (
    "film",
    "status",
    "probability",
    "prediction",
    "label",
    "outcome",
    "patient",
    "study",
    "view",
    "sex",
    "age_band",
    "manufacturer",
)


class Unit(StrEnum):
    """What is counted as one case."""

    FILM = "film"
    PATIENT = "patient"
    STUDY = "study"


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """What a summary needs of rows, one line a film.

    Beside columns of :class:`Row`: `folder`, the first folder of the film's path (``.`` if it lies in
    none), and `owner`, its patient or, where that is not known, itself.
    """
    films = pd.DataFrame(
        [[getattr(row, name) for name in _COLUMNS] for row in rows], columns=list(_COLUMNS)
    ).astype({"probability": np.float64})
    films["folder"] = [film.partition("/")[0] if "/" in film else "." for film in films.film]
    films["owner"] = films.patient.where(films.patient != "", "film " + films.film)
    return films


def judged(films: pd.DataFrame) -> pd.DataFrame:
    """Films that have a label and an answer."""
    return films[films.outcome != ""]


def unscored(films: pd.DataFrame) -> pd.DataFrame:
    """Films that have a label and no answer, because they were refused or failed."""
    return films[(films.label != "") & films.status.isin([Status.REFUSED, Status.FAILED])]


def cases(films: pd.DataFrame, unit: Unit = Unit.FILM) -> Scored:
    """Judged films, or their patients or studies, as the metrics take them.

    A patient or study has pneumonia if any of its films is labelled so, is called if any of them is
    called, and has the highest of their probabilities. A film whose patient is not known is its own
    patient; one whose study is not known is in no study.

    Args:
        films: from :func:`judged`.
    """
    one = pd.DataFrame(
        {
            "positive": films.label == PNEUMONIA,
            "probability": films.probability,
            "called": films.prediction == PNEUMONIA,
            "owner": films.owner,
        }
    )
    if unit is not Unit.FILM:
        name = films.owner if unit is Unit.PATIENT else films.study
        # The first owner: files of one study that name two patients are of one.
        how = {"positive": "any", "probability": "max", "called": "any", "owner": "first"}
        one = one[name != ""].groupby(name[name != ""], sort=False).agg(how)
    return Scored(
        positive=one.positive.to_numpy(bool),
        probability=one.probability.to_numpy(np.float64),
        called=one.called.to_numpy(bool),
        patient=numbers(one.owner),
    )


def numbers(owners: "pd.Series[str]") -> npt.NDArray[np.int64]:
    """Owners as whole numbers, the same in whatever order the films are."""
    return owners.factorize(sort=True)[0].astype(np.int64)
