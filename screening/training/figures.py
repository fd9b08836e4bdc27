"""Pictures for the model card."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from screening.decision import Floats
from screening.training.checkpoint import History
from screening.training.films import Labels

mpl.use("Agg")


def draw_figures(
    folder: Path, history: History, labels: Labels, probabilities: Floats, threshold: float
) -> None:
    """Write ``learning.png``, ``roc.png``, ``precision_recall.png`` and ``scores.png``."""
    folder.mkdir(exist_ok=True)
    _learning(history).savefig(folder / "learning.png", dpi=120)
    _roc(labels, probabilities, threshold).savefig(folder / "roc.png", dpi=120)
    _precision_recall(labels, probabilities).savefig(folder / "precision_recall.png", dpi=120)
    _scores(labels, probabilities, threshold).savefig(folder / "scores.png", dpi=120)


def _learning(history: History) -> Figure:
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["loss"] for row in history], label="training (augmented)")
    left.plot(epochs, [row["val_loss"] for row in history], label="validation")
    left.set(xlabel="epoch", ylabel="cross-entropy")
    left.legend()
    right.plot(epochs, [row["val_auroc"] for row in history], label="AUROC")
    right.plot(epochs, [row["val_accuracy"] for row in history], label="accuracy at 0.5")
    right.set(xlabel="epoch", ylabel="validation")
    right.legend()
    return figure


def _roc(labels: Labels, probabilities: Floats, threshold: float) -> Figure:
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    fpr, tpr, _ = roc_curve(labels, probabilities)
    called = probabilities >= threshold
    axes.plot(fpr, tpr)
    axes.plot(called[labels == 0].mean(), called[labels == 1].mean(), "o", label="operating point")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, validation films")
    axes.legend(loc="lower right")
    return figure


def _precision_recall(labels: Labels, probabilities: Floats) -> Figure:
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    axes.plot(recall, precision)
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02), title="Validation films")
    return figure


def _scores(labels: Labels, probabilities: Floats, threshold: float) -> Figure:
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(0, 1, 41).tolist()
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        axes.hist(probabilities[labels == label], bins, alpha=0.6, label=name)
    axes.axvline(threshold, color="black", linestyle="--", label="threshold")
    axes.set(xlabel="calibrated P(pneumonia)", ylabel="films", yscale="log")
    axes.legend()
    return figure
