"""Test that screening never imports TensorFlow, and that `--help` does not even import pandas."""

import re

from makers import write_film


def imported(stderr: str) -> set[str]:
    """Return the top-level packages in Python's import log."""
    return {
        match[1].partition(".")[0]
        for match in re.finditer(r"^import time:[^|]*\|[^|]*\|\s*(\S+)$", stderr, re.MULTILINE)
    }


def test_help_imports_no_heavy_package(screening):
    packages = imported(screening("--help", PYTHONPROFILEIMPORTTIME="1").stderr)
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


def test_run_never_imports_tensorflow(screening, tmp_path):
    write_film(tmp_path / "films" / "a.png", seed=1)
    result = screening(
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
