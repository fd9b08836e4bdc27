"""Baseline that screens a folder with plain Keras: ``python keras_folder.py MODEL FOLDER OUT``.

It follows the documentation of ``image_dataset_from_directory`` and ``predict``: batches of 32,
decoded and resized in parallel by ``tf.data``, read ahead by ``prefetch``. MODEL is a folder
written by ``screening train``; FOLDER contains PNG or JPEG films; OUT is a CSV with one film and
its probability per line.
"""

import csv
import json
import sys
from pathlib import Path

import keras
import tensorflow as tf


def main() -> None:
    """Write the probabilities of the films in a folder."""
    model, folder, out = map(Path, sys.argv[1:])
    preprocessing = json.loads((model / "card.json").read_text())["preprocessing"]
    scale, offset = preprocessing["scale"] / 255, preprocessing["offset"]
    network = keras.saving.load_model(model / "model.keras")
    classifier = keras.Model(network.input, network.output["score"])
    films = keras.utils.image_dataset_from_directory(
        folder,
        labels=None,
        color_mode="grayscale",
        batch_size=32,
        image_size=(preprocessing["rows"], preprocessing["columns"]),
        shuffle=False,
    )
    tensors = films.map(lambda film: film * scale + offset, tf.data.AUTOTUNE)
    scores = classifier.predict(tensors.prefetch(tf.data.AUTOTUNE), verbose=0)
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(zip(films.file_paths, scores[:, 1], strict=True))


if __name__ == "__main__":
    main()
