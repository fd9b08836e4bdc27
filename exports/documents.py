"""Write the program, its requirements and the README of a bundle."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import exports
import screening
from exports.bundle import seal
from exports.selftest import targets_of
from exports.targets import LUNGS, ONNX, Target
from screening.model.card import Card

PROGRAM: Final = "screen.pyz"

# The program contains only the code from film to row. Code that needs pandas, SciPy or TensorFlow
# is left out.
_LEFT_OUT: Final = (
    "training",
    "report",
    "convert",
    "export.py",
    "samples.py",
    "parity.py",
    "lung_parity.py",
    "documents.py",
)

_README: Final = """\
# {model}

A model that reads frontal chest films for pneumonia, and the program that runs it. Research software:
not a medical device, not for diagnosis.

On a device with Python 3.11 or later (a 64-bit system):

    pip install -r requirements.txt
    python screen.pyz selftest
    python screen.pyz FOLDER --out REPORT
    python screen.pyz FOLDER --out REPORT --watch
    python screen.pyz FILM

- `selftest` checks the hash of every file, and that the models give the right answers on this device.
- The next command screens the films in FOLDER and writes `predictions.csv` and `audit.csv`. After a power
  loss, run the same command again to continue from the last film.
- With `--watch`, it also screens each new film in FOLDER, prints its row as one line of JSON, and writes
  the report when you stop it (Ctrl-C).
- The last command prints the row of one film as JSON.

| file | target | largest difference | different decisions |
| --- | --- | --- | --- |
{files}

`--target NAME` selects one of these models. The default is the most exact model for the installed runtime.
The difference is that of the probability from the original network, on {films} films.

| file | contents |
| --- | --- |
| `card.json` | architecture, preprocessing, calibration, threshold, figures on validation, training data |
{lungs}| `parity.csv` | answers of each model and of the original network for each film (named by its hash) |
| `selftest/` | synthetic films and the answers that the models must give |
| `SHA256SUMS` | hash of every file; check with `sha256sum -c SHA256SUMS` |

Threshold {threshold}: {rule}.

Made by:

    {train}
    {export}
"""


def write_documents(folder: Path, card: Card, targets: Sequence[Target]) -> None:
    """Write ``screen.pyz``, ``requirements.txt`` and ``README.md`` into a bundle."""
    _write_program(folder / PROGRAM)
    # LiteRT is the smaller runtime, so devices get it if the bundle has a model for it.
    litert = any(target.runtime != ONNX for target in targets)
    runtime = "ai-edge-litert>=2" if litert else "onnxruntime>=1.20"
    needs = ["numpy>=2", "pillow>=12", "pydicom>=3.0", "imagecodecs>=2026.3", runtime]
    (folder / "requirements.txt").write_text("\n".join(needs) + "\n", encoding="utf-8")
    compared = card.exports.get("targets", {})
    files = "\n".join(_line(target, compared.get(target.name, {})) for target in targets)
    text = _README.format(
        model=card.model,
        files=files,
        lungs=_lungs(folder),
        films=next((figures["films"] for figures in compared.values()), "no"),
        threshold=card.operating_point.threshold,
        rule=card.operating_point.rule,
        train=card.training.get("command", ""),
        export=card.exports.get("command", ""),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _line(target: Target, figures: dict[str, Any]) -> str:
    largest, flips = figures.get("largest_difference", ""), figures.get("flips", "")
    return f"| `{target.file}` | {target.name} | {largest} | {flips} |"


def _lungs(folder: Path) -> str:
    """Return the README line on the lung network; empty if the bundle has none."""
    files = ", ".join(f"`{file}`" for file in LUNGS.values() if (folder / file).exists())
    return (
        f"| {files} | the network that finds the lungs, one file for each runtime |\n"
        if files
        else ""
    )


def refresh(bundle: Path) -> None:
    """Rewrite the program and documents of a bundle from the current code, and seal it again.

    The models stay unchanged.
    """
    write_documents(bundle, Card.read(bundle), targets_of(bundle))
    seal(bundle)


def _write_program(program: Path) -> None:
    """Pack the TensorFlow-free part of this code, so that no second implementation is needed.

    The program is a zip application (PEP 441). Names are sorted and times omitted, so that the same
    code gives the same archive and the same bundle hash.
    """
    files = {"__main__.py": b"from exports.edge.program import main\n\nmain()\n"}
    for package in (screening, exports):
        root = Path(package.__path__[0])
        for source in root.rglob("*.py"):
            inner = source.relative_to(root)
            if not set(inner.parts) & set(_LEFT_OUT):
                files[f"{root.name}/{inner.as_posix()}"] = source.read_bytes()
    with program.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w") as archive:
            for name in sorted(files):
                archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    refresh(Path(sys.argv[1]))
