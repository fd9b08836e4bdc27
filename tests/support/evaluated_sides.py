"""Sides of a split for tests."""

from pathlib import Path

import numpy as np

from screening.training.data.manifest import LabelledFilm
from screening.training.scored_split import ScoredSplit


def films_of(labels, films_a_patient=1):
    return [
        LabelledFilm(Path(f"{k}.png"), f"films/{k}.png", int(label), f"p{k // films_a_patient}")
        for k, label in enumerate(labels)
    ]


def side_of(labels, probabilities, threshold=0.5, name="validation", films_a_patient=1):
    p = np.asarray(probabilities, np.float64)
    return ScoredSplit(name, films_of(labels, films_a_patient), p, p >= threshold)


def random_side(n=200, seed=0, name="validation", threshold=0.5, films_a_patient=1):
    """A side with two thirds pneumonia and an AUROC of about 0.92."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 > 0
    p = np.round(1 / (1 + np.exp(-(2 * labels - 0.7 + rng.normal(0, 1, n)))), 6)
    return side_of(labels, p, threshold, name, films_a_patient)
