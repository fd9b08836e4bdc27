"""Synthetic scored films for tests."""

import numpy as np

from screening.report.html.components import BLUE
from screening.report.html.performance_figures import Side
from screening.report.metrics import Scored, performance


def films_of(labels, probabilities, threshold=0.5, films_a_patient=1):
    p = np.asarray(probabilities, np.float64)
    return Scored(np.asarray(labels, bool), p, p >= threshold, np.arange(len(p)) // films_a_patient)


def random_films(n=200, seed=0, threshold=0.5, films_a_patient=1):
    """Return films, two thirds of them pneumonia, with an AUROC of about 0.92."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 > 0
    p = np.round(1 / (1 + np.exp(-(2 * labels - 0.7 + rng.normal(0, 1, n)))), 6)
    return films_of(labels, p, threshold, films_a_patient)


def side_of(films, name="labelled"):
    return Side(name, films, performance(films), {"color": BLUE, "linestyle": "-"})
