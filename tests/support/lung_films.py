"""Synthetic films: two bright ellipses as lungs that show the class, on noise, and a marker."""

from dataclasses import replace

import numpy as np

from evaluated_sides import films_of

SIDE = 64


def lung_mask(side=SIDE):
    y, x = np.mgrid[:side, :side] / side
    left = ((x - 0.32) / 0.12) ** 2 + ((y - 0.5) / 0.28) ** 2 < 1
    return left | left[:, ::-1]


def made_films(labels, seed=0, side=SIDE):
    """Films, shape (n, side, side), and masks.

    The left lung of a pneumonia film is brighter than the right one, that of a normal film is
    darker; a pneumonia film has a marker in its top left corner, a normal one in the top right.
    """
    rng = np.random.default_rng(seed)
    mask = lung_mask(side)
    films = rng.normal(0.3, 0.03, (len(labels), side, side)) + 0.3 * mask
    half, corner = side // 2, side // 10
    for film, label in zip(films, labels, strict=True):
        film[:, :half] += (0.1 if label else -0.1) * mask[:, :half]
        left = 2 if label else side - 2 - corner
        film[2 : 2 + corner, left : left + corner] = 0.95
    films = np.clip(films, 0, 1).astype(np.float32)
    return films, np.repeat(mask[np.newaxis], len(labels), axis=0)


def as_scores(odds):
    p = 1 / (1 + np.exp(-np.asarray(odds, np.float64)))
    return np.stack([1 - p, p], axis=1).astype(np.float32)


def inside_only(films):
    """A model that compares the two lungs and ignores everything else."""
    half = films.shape[2] // 2
    mask = lung_mask(films.shape[1])
    left = films[:, :, :half][:, mask[:, :half]].mean(axis=1)
    right = films[:, :, half:][:, mask[:, half:]].mean(axis=1)
    return as_scores(100 * (left - right))


def outside_only(films):
    """A model that compares the two top corners and ignores everything else."""
    corner = films.shape[1] // 5
    left, right = films[:, :corner, :corner], films[:, :corner, -corner:]
    return as_scores(100 * (left.mean(axis=(1, 2)) - right.mean(axis=(1, 2))))


def described(labels, films_a_patient=1, **fields):
    """Labelled films with the same source, view, age, sex or confidence."""
    return [replace(film, **fields) for film in films_of(labels, films_a_patient)]
