"""Baseline model: logistic regression on ImageNet features that are not trained.

A trained model has to be better than this baseline. The controls use it because it takes seconds.
"""

from functools import cache
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from screening.training.fit import predict
from screening.training.imagenet import load_imagenet_weights
from screening.training.networks import DEFAULT, PREPROCESSING, build

Floats = npt.NDArray[np.float64]

#: Inverse strength of the ridge on standardised features.
_C: Final = 0.01


def imagenet_features(films: npt.NDArray[np.uint8]) -> Floats:
    """Compute means over the film of the last stages of EfficientNet-Lite0, shape (n, 2624).

    Args:
        films: films at the size of the default model, shape (n, rows, columns), 0..255.
    """
    return predict(_network(), PREPROCESSING[DEFAULT], films, "features").astype(np.float64)


@cache
def _network() -> keras.Model:
    network = build(DEFAULT, PREPROCESSING[DEFAULT].shape)
    load_imagenet_weights(network)
    head = keras.layers.GlobalAveragePooling2D()(network.get_layer("head_relu").output)
    features = keras.layers.Concatenate()([network.output["embedding"], head])
    return keras.Model(network.input, {"features": features})


def logistic_regression() -> Any:
    """Create a logistic regression on standardised features; both classes have equal weight."""
    ridge = LogisticRegression(C=_C, max_iter=2000, class_weight="balanced")
    return make_pipeline(StandardScaler(), ridge)
