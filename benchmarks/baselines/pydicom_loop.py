"""Baseline with pydicom and Keras: ``python pydicom_loop.py MODEL FOLDER OUT CALL``.

It follows the documentation of pydicom on display values: modality LUT, VOI LUT, MONOCHROME1
inverted; without a window, the grey values between two percentiles. Films are processed singly.
CALL is the way to run the model: ``predict``, the most common one; ``call``, which Keras recommends
for a few films; or ``predict_on_batch``, the fastest for a single film. JPEG 2000 is decoded by the
first plug-in that pydicom finds, Pillow's; ``pylibjpeg-openjpeg`` is not faster. MODEL is a folder
written by ``screening train``; OUT is a CSV with one film and its probability per line.
"""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut


def main() -> None:
    """Write the probabilities of the films in a folder."""
    model, folder, out = map(Path, sys.argv[1:4])
    preprocessing = json.loads((model / "card.json").read_text())["preprocessing"]
    network = keras.saving.load_model(model / "model.keras")
    classifier = keras.Model(network.input, network.output["score"])
    predict: dict[str, Callable[[Any], Any]] = {
        "predict": lambda films: classifier.predict(films, verbose=0),
        "call": lambda films: classifier(films, training=False),
        "predict_on_batch": classifier.predict_on_batch,
    }
    ask = predict[sys.argv[4]]
    size = (preprocessing["columns"], preprocessing["rows"])
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for path in sorted(folder.rglob("*.dcm")):
            grey = Image.fromarray(_grey(dcmread(path))).resize(size, Image.Resampling.BILINEAR)
            tensor = np.asarray(grey, np.float32) / 255 * preprocessing["scale"]
            tensor += preprocessing["offset"]
            score = ask(tensor[np.newaxis, ..., np.newaxis])
            writer.writerow([path, float(score[0, 1])])


def _grey(dataset: Dataset) -> Any:
    """Compute 8-bit display values as a viewer does."""
    values = apply_modality_lut(dataset.pixel_array, dataset)
    if "WindowWidth" in dataset:
        values = apply_voi_lut(values, dataset)
        low, high = values.min(), values.max()
    else:
        low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / max(high - low, 1), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    return (grey * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
