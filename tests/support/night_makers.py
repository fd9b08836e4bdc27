"""Generate nights of synthetic films."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from screening.model.drift_baseline import INPUTS, DriftBaseline, Spread, histogram, rising
from screening.report.drift.profile import NightProfile
from screening.results import Reason, Row, Status


def night(seed: int, films: int = 100, positive: float = 0.1, **changes: object) -> NightProfile:
    """Return a night of a site.

    `changes` apply to each film: field values, or functions of its number and row.
    """
    return NightProfile.of(rows(seed, films, positive, **changes))


def rows(seed: int, films: int = 100, positive: float = 0.1, **changes: object) -> list[Row]:
    """Return the rows of such a night."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(films):
        ill = rng.random() < positive
        row = Row(
            film=f"{number}.png",
            status=Status.SCORED,
            probability=float(rng.beta(9, 1) if ill else rng.beta(1, 9)),
            prediction="PNEUMONIA" if ill else "NORMAL",
            model_sha256="f" * 64,
            screened_at=f"2026-11-{1 + seed % 28:02}T21:30:05.123+00:00",
            view=str(rng.choice(["PA", "AP"], p=[0.8, 0.2])),
            manufacturer=str(rng.choice(["Acme", "Röntgen AG"], p=[0.7, 0.3])),
            domain_distance=float(rng.lognormal(-0.5, 0.15)),
            grey_mean=float(np.clip(rng.normal(0.5, 0.07), 0, 1)),
            grey_sd=float(np.clip(rng.normal(0.22, 0.03), 0, 1)),
            black=float(np.clip(rng.exponential(0.05), 0, 1)),
            white=float(np.clip(rng.exponential(0.001), 0, 1)),
            sharpness=float(rng.lognormal(-3.8, 0.2)),
        )
        made.append(replace(row, **_of(number, row, changes)))
    return made


def refused(number: int, row: Row, every: int) -> dict[str, object]:
    """Return changes that refuse every `every`-th film as not a chest film."""
    if number % every:
        return {}
    return {
        "status": Status.REFUSED,
        "reason": Reason("not_frontal_chest"),
        "probability": None,
        "prediction": "",
    } | dict.fromkeys(("domain_distance", "grey_mean", "grey_sd", "black", "white"))


def _of(number: int, row: Row, changes: dict[str, object]) -> dict[str, object]:
    values = dict(changes)
    every = values.pop("refuse_every", 0)
    made = {
        name: value(number, row) if callable(value) else value for name, value in values.items()
    }
    return made | (refused(number, row, int(str(every))) if every else {})


def nights(number: int, first: int = 1000, **changes: object) -> list[NightProfile]:
    """Return nights that differ only by chance, oldest first."""
    return [night(first + seed, **changes) for seed in range(number)]  # type: ignore[arg-type]


def reference(films: Sequence[Row]) -> DriftBaseline:
    """Return the drift baseline that the card of a model trained on these films would have."""
    p = np.array([row.probability for row in films if row.probability is not None])
    columns = ("grey_mean", "grey_sd", "black", "white", "sharpness")
    return DriftBaseline(
        n=len(films),
        refused=len(films) - len(p),
        called=sum(row.prediction == "PNEUMONIA" for row in films),
        warnings={"out_of_domain": 0, "inverted": 0, "rotated": 0},
        histogram=histogram(p),
        probabilities=rising(p),
        distance=_spread(films, "domain_distance"),
        inputs={name: _spread(films, column) for name, column in zip(INPUTS, columns, strict=True)},
        embedding_mean=np.zeros(2, np.float32),
        embedding_covariance=np.eye(2, dtype=np.float32),
    )


def _spread(films: Sequence[Row], column: str) -> Spread:
    return Spread.of(np.array([getattr(row, column) for row in films], np.float64))
