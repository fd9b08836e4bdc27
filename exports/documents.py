"""What lies beside the models in a bundle: the program for the edge, its needs and a page to read."""

import tempfile
import zipapp
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Final

import exports
import screening
from exports.targets import ONNX, Target
from screening.card import Card

PROGRAM: Final = "screen.pyz"

# The program holds what turns a film into a row. What needs pandas, SciPy, TensorFlow or the
# shipped models stays behind.
_LEFT_OUT: Final = (
    "__pycache__",
    "training",
    "report",
    "convert",
    "shipped",
    "export.py",
    "documents.py",
)

_README: Final = """\
# {model}

A model that reads frontal chest films for pneumonia, with the program that runs it. Research
software: not a medical device, not for diagnosis.

On a device with Python 3.11 or later (a 64-bit system):

    pip install -r requirements.txt
    python screen.pyz selftest
    python screen.pyz FOLDER --out REPORT

`selftest` checks every file's hash and that the model gives the right answers on this device.
The second command screens the films in FOLDER and writes `predictions.csv` and `audit.csv`.

| file | what |
| --- | --- |
| `card.json` | architecture, preprocessing, calibration, threshold, figures on validation, training data |
{files}
| `parity.csv` | each conversion beside the original, film by film (films by hash) |
| `selftest/` | made-up films and the answers that must come out |
| `SHA256SUMS` | hash of every file; check with `sha256sum -c SHA256SUMS` |

Threshold {threshold}: {rule}.

Made by:

    {train}
    {export}
"""


def write_documents(folder: Path, card: Card, targets: Sequence[Target]) -> None:
    """Write ``screen.pyz``, ``requirements.txt`` and ``README.md`` into a bundle."""
    _write_program(folder / PROGRAM)
    # LiteRT is the smaller one, so it is what a device gets where the bundle allows it.
    litert = any(target.runtime != ONNX for target in targets)
    runtime = "ai-edge-litert>=2" if litert else "onnxruntime>=1.20"
    needs = ["numpy>=2", "pillow>=12", "pydicom>=3.0", "imagecodecs>=2026.3", runtime]
    (folder / "requirements.txt").write_text("\n".join(needs) + "\n", encoding="utf-8")
    files = "\n".join(f"| `{target.file}` | {target.name} |" for target in targets)
    text = _README.format(
        model=card.model,
        files=files,
        threshold=card.operating_point.threshold,
        rule=card.operating_point.rule,
        train=card.training.get("command", ""),
        export=card.exports.get("command", ""),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _write_program(path: Path) -> None:
    """Pack the TensorFlow-free half of this very code: not a second implementation."""
    with tempfile.TemporaryDirectory() as folder:
        for package in (screening, exports):
            source = Path(package.__path__[0])
            copytree(source, Path(folder, source.name), ignore=ignore_patterns(*_LEFT_OUT))
        zipapp.create_archive(folder, path, "/usr/bin/env python3", "exports.edge:main")
