"""Test that screening never imports TensorFlow, and that `--help` does not even import pandas."""

import re
import subprocess
import sys

import pytest

from makers import write_film


def imported(stderr: str) -> set[str]:
    """Return the top-level packages in Python's import log."""
    return {
        match[1].partition(".")[0]
        for match in re.finditer(r"^import time:[^|]*\|[^|]*\|\s*(\S+)$", stderr, re.MULTILINE)
    }


def test_help_imports_no_heavy_package(installed):
    packages = imported(installed("--help", PYTHONPROFILEIMPORTTIME="1").stderr)
    assert "click" in packages
    assert not packages & {
        "tensorflow",
        "keras",
        "pandas",
        "matplotlib",
        "scipy",
        "sklearn",
        "onnx",
        "dask",
        "distributed",
    }


@pytest.mark.parametrize(
    ("module", "later"),
    [
        # DICOM is decoded in a child process, and statistics are needed only for the report.
        ("jobs.cli.bootstrap", {"pydicom", "pandas", "matplotlib", "scipy"}),
        ("exports.edge.program", {"pydicom", "imagecodecs", "sqlalchemy", "click"}),
    ],
)
def test_start_imports_only_what_it_needs(module, later):
    code = f"import sys, {module}; print(*sys.modules, sep=chr(10))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {name.partition(".")[0] for name in loaded} & later


def test_run_never_imports_tensorflow(installed, tmp_path):
    write_film(tmp_path / "films" / "a.png", seed=1)
    result = installed(
        "run", tmp_path / "films", "--out", tmp_path / "report", PYTHONPROFILEIMPORTTIME="1"
    )
    packages = imported(result.stderr)
    assert {"onnxruntime", "pandas", "matplotlib"} <= packages
    assert not packages & {
        "tensorflow",
        "keras",
        "tf2onnx",
        "onnx",
        "sklearn",
        "dask",
        "distributed",
    }
    assert (tmp_path / "report" / "report.html").exists()
