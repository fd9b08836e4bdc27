"""What the files of a report and their columns mean, in short."""

from pathlib import Path
from typing import Final

from screening.row import COLUMNS

_FILES: Final = {
    "predictions.csv": "One line for each file of the folder: what was read, what the model says, and why not.",
    "summary.csv": "Counts and, with labels, metrics with 95 % intervals; for all films and by subset.",
    "operating_points.csv": "What each threshold would mean on the labelled films.",
    "labels.csv": "Lines of the labels file that were not used, and why.",
    "drift.csv": "The night beside what was expected of it.",
    "profile.json": "The night in figures, by which later nights are compared.",
    "audit.csv": "What happened, when and by whom: a chain of hashes that ends with those of all other files.",
    "heatmaps": "Where the model sees pneumonia, one PNG for each scored film; a line around the lungs, if they were looked for.",
    "thumbnails": "Each scored film as the model saw it, small; with the same line.",
    "figures": "The figures of this page.",
}
#: Written after the page.
_LATER: Final = ("audit.csv", "figures")

#: By column of ``predictions.csv``.
MEANINGS: Final = {
    "film": "path in the folder that was screened",
    "sha256": "hash of the file",
    "status": "scored, refused, failed or duplicate",
    "reason": "a code and a sentence, for every status but scored",
    "probability": "calibrated probability of pneumonia, 0 to 1",
    "prediction": "NORMAL or PNEUMONIA: whether the probability reaches the threshold",
    "threshold": "from which probability on a film is called pneumonia",
    "label": "what the labels file says",
    "outcome": "TP, FP, TN or FN: prediction against label",
    "patient": "keyed hash of the patient's identifier",
    "view": "view position of the header, such as PA",
    "modality": "modality of the header, such as DX",
    "model": "architecture and version",
    "model_sha256": "hash of the bundle",
    "screened_at": "when, in UTC",
    "seconds": "what the film cost",
    "runtime": "what ran the model",
    "instance": "keyed hash of the SOP Instance UID",
    "study": "keyed hash of the Study Instance UID",
    "sex": "of the header",
    "age_band": "from the age in the header",
    "manufacturer": "of the scanner",
    "warnings": "what a reader of the probability should know",
    "tensor_sha256": "hash of what the model was shown",
    "frontal": "how much the picture looks like a frontal chest film, 0 to 1",
    "domain_distance": "how unlike the training films it is; beyond 1 there is a warning",
    "heatmap": "path of the heat map",
    "grey_mean": "mean of the grey values that the model was shown",
    "grey_sd": "their standard deviation",
    "black": "share of black pixels",
    "white": "share of white pixels",
    "sharpness": "mean change from a pixel to its neighbours",
    "thumbnail": "path of the thumbnail",
    "lung_evidence": "share of the evidence for pneumonia that lies inside the lungs, 0 to 1",
    "lung_area": "share of the film that is lung, 0 to 1",
    "decoding": "full, or what brought a large film down sooner, and by how much",
}


def files(report: Path) -> list[tuple[str, str]]:
    """The files and folders of a report with what is in them."""
    return [
        (name, about)
        for name, about in _FILES.items()
        if name in _LATER or (report / name).exists()
    ]


def columns() -> list[tuple[str, str]]:
    """The columns of ``predictions.csv`` with what they mean."""
    return [(name, MEANINGS[name]) for name in COLUMNS]
