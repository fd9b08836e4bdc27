"""Lung networks in Keras that are made in no time."""

import keras
import numpy as np

#: What is darker than the film's mean is lung.
DARK = -8.0


def lung_network(steep=DARK, channels=8):
    """A network of two layers that tells dark from bright, with so many channels between them."""
    film = keras.layers.Input((128, 128, 1), name="film")
    spread = keras.layers.Conv2D(channels, 3, padding="same", name="spread")
    odds = keras.layers.Conv2D(1, 1, name="odds")
    out = keras.layers.Activation("sigmoid", name="lungs")(odds(spread(film)))
    network = keras.Model(film, out)
    kernel = np.zeros((3, 3, 1, channels), np.float32)
    kernel[1, 1] = 1
    spread.set_weights([kernel, np.zeros(channels, np.float32)])
    share = np.full((1, 1, channels, 1), steep / channels, np.float32)
    odds.set_weights([share, np.zeros(1, np.float32)])
    return network
