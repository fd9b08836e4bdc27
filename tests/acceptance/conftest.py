"""The installed command, as a user would start it."""

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
    """An environment whose queue and key are nobody else's."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCREENING")}
    # The films were written just now, and nobody writes more.
    settled = {"SCREENING_RUN_SETTLE": "0", "SCREENING_SUBMIT_SETTLE": "0"}
    return kept | settled | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}


@pytest.fixture(scope="session")
def screening(environment) -> Screening:
    """Run `screening` with these arguments and return what came of it."""

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
    """A bundle that calls bright films pneumonia, and recognises nothing."""
    return write_bundle(tmp_path_factory.mktemp("bright") / "bundle").path
