"""Make image gates for tests."""

from typing import Any

import numpy as np

from screening.model.image_gate import ImageGate


def make_recogniser(features: int = 6, deepest: int = 4, **changes: Any) -> ImageGate:
    """Make a gate whose heads read its first features and whose density is a Gaussian of width 1.

    The output of the frontal head is the logistic function of feature 0; the score of orientation
    i is feature i. The density has the last `deepest` features and two components.
    """
    components = np.linalg.qr(np.random.default_rng(0).normal(size=(deepest, 2)))[0].T
    values: dict[str, Any] = {
        "mean": np.zeros(features, np.float32),
        "scale": np.ones(features, np.float32),
        "frontal": np.eye(1, features + 1, dtype=np.float32)[0],
        "frontal_threshold": 0.75,
        "orientation": np.eye(5, features + 1, dtype=np.float32),
        "orientation_threshold": 0.9,
        "components": components.astype(np.float32),
        "variances": np.ones(2, np.float32),
        "residual": 1.0,
        "limit": 1000.0,
        "fitted_on": {"own_films": 3, "negatives_by_kind": {"photo": "2 of 2"}},
    }
    return ImageGate(**values | changes)
