"""Fixtures and hooks for all tests."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from makers import COMMAND, BrightnessPredictor, make_card
from screening.inference.pipeline import Screener
from screening.inference.reader import Reader
from screening.privacy import PatientKey


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="long suites at full length")


def pytest_configure() -> None:
    """Restore Ctrl-C: background processes of a shell and their children ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def key() -> PatientKey:
    return PatientKey(b"k" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for films."""
    place = tmp_path / "films"
    place.mkdir()
    return place


@pytest.fixture
def screener(folder: Path, key: PatientKey) -> Screener:
    """A screener of `folder` that predicts by brightness."""
    card = make_card()
    return Screener(Reader(folder, card.preprocessing), card, "f" * 64, BrightnessPredictor(), key)


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """An environment with its own queue and key."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCREENING")}
    # No other program is writing the films, so there is nothing to wait for.
    settled = {"SCREENING_RUN_SETTLE": "0", "SCREENING_SUBMIT_SETTLE": "0"}
    return kept | settled | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}


@pytest.fixture(scope="session")
def screening(environment) -> Callable[..., Result]:
    """Run `screening` with these arguments in this process and return the result.

    This saves the imports of a process: a second or two for a report.
    """
    from jobs.cli.main import cli

    def run(*arguments: object, code: int = 0, **extra: str) -> Result:
        others = dict.fromkeys(name for name in os.environ if name.startswith("SCREENING"))
        handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        result = CliRunner().invoke(
            cli, [str(word) for word in arguments], env=others | environment | extra
        )
        for each, handler in handlers.items():
            signal.signal(each, handler)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def installed(environment) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command `screening` with these arguments and return the result."""

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
    # Only few tests need ONNX, whose import takes half a second.
    from tiny_model import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bright") / "bundle").path


@pytest.fixture(scope="session")
def make_certificates() -> Callable[[Path], Path]:
    """Make certificates for a Dask cluster in a new folder, with the documented script."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")

    def made(folder: Path) -> Path:
        script = Path(__file__).parents[1] / "docker" / "cluster" / "certificates.sh"
        subprocess.run([script, folder], check=True, capture_output=True)
        return folder

    return made


@pytest.fixture(scope="session")
def certificates(
    make_certificates: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Certificates of one cluster."""
    return make_certificates(tmp_path_factory.mktemp("tls") / "made")


@pytest.fixture(scope="session")
def real_films() -> Path:
    """Real films, if the machine has some: see CONTRIBUTING."""
    place = os.environ.get("SCREENING_FILMS")
    if not place:
        pytest.skip("SCREENING_FILMS names no folder of real films")
    return Path(place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI, count a skip because of a missing Python package as a failure."""
    report: pytest.TestReport = yield
    if os.environ.get("CI") and report.skipped and "could not import" in str(report.longrepr):
        report.outcome = "failed"
    return report
