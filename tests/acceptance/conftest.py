"""Fixtures that run the installed command as a user would."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from makers import COMMAND
from tiny_model import write_bundle

Screening = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """An environment with its own queue and key."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCREENING")}
    # No other program is writing the films, so there is nothing to wait for.
    settled = {"SCREENING_RUN_SETTLE": "0", "SCREENING_SUBMIT_SETTLE": "0"}
    return kept | settled | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}


@pytest.fixture(scope="session")
def screening(environment) -> Screening:
    """Run `screening` with these arguments and return the result."""

    def run(*arguments: object, code: int = 0, **extra: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [COMMAND, *map(str, arguments)],
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert "Traceback" not in result.stderr
        assert result.returncode == code, result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def bright_bundle(tmp_path_factory) -> Path:
    """A bundle that predicts pneumonia for bright films and has no image gate."""
    return write_bundle(tmp_path_factory.mktemp("bright") / "bundle").path
