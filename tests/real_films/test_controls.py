"""Controls on real films: whether anything but the lungs separates the classes.

Slow: ``SCREENING_FILMS=FOLDER make test-long``. The figures are printed with ``-rP``.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.frozen_features import imagenet_features, logistic_regression
from screening.model.preprocess import Preprocessing
from screening.training.data.dataset import Collection, read_collection
from screening.training.data.manifest import read_manifest
from screening.training.data.split import split

PERMUTATIONS = 20


@pytest.fixture(scope="module")
def collection(real_films: Path, request: pytest.FixtureRequest) -> Collection:
    if not request.config.getoption("--long"):
        pytest.skip("takes minutes: make test-long")
    with ThreadPoolExecutor(2) as pool:
        return read_collection(read_manifest(real_films), Preprocessing(), pool)


@pytest.fixture(scope="module")
def labels(collection: Collection) -> npt.NDArray[np.int64]:
    return np.array([film.label for film in collection.films])


@pytest.fixture(scope="module")
def halves(collection: Collection) -> list[npt.NDArray[np.int64]]:
    """Indices for fitting and for measuring; no patient is in both."""
    sides = split(collection.films, "patient", 0.3, 0, 1)
    return [collection.indices(sides.training), collection.indices(sides.validation)]


def auroc(features, labels, halves):
    fitted_on, measured_on = halves
    head = logistic_regression().fit(features[fitted_on], labels[fitted_on])
    return float(roc_auc_score(labels[measured_on], head.decision_function(features[measured_on])))


@pytest.fixture(scope="module")
def features(collection):
    return imagenet_features(collection.greys)


def test_labels_permuted_by_patient_cannot_be_learnt(collection, labels, halves, features):
    """A leak of patients between the sides would give an AUROC above chance."""
    patients, patient = np.unique([film.patient for film in collection.films], return_inverse=True)
    of_patient = np.array([labels[patient == index].max() for index in range(len(patients))])
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(PERMUTATIONS):
        permuted = rng.permutation(of_patient)[patient]
        reached.append(auroc(features, permuted, halves))
    print(
        f"labels permuted by patient: {np.mean(reached):.3f}, {min(reached):.3f} to {max(reached):.3f}"
    )
    assert abs(np.mean(reached) - 0.5) < 0.03
    assert auroc(features, labels, halves) > 0.95


def test_films_with_shuffled_pixels_are_classified_worse(collection, labels, halves, features):
    """Only the histogram is left: exposure and processing, which differ between the classes."""
    rng = np.random.default_rng(0)
    shuffled = collection.greys.reshape(len(labels), -1)
    shuffled = rng.permuted(shuffled, axis=1).reshape(collection.greys.shape)
    betrayed = auroc(imagenet_features(shuffled), labels, halves)
    whole = auroc(features, labels, halves)
    print(f"pixels shuffled within each film: {betrayed:.3f}; the films themselves: {whole:.3f}")
    assert betrayed < whole - 0.02
