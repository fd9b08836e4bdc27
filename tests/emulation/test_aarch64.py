"""Test the shipped bundle on emulated 64-bit Arm against the same program on this machine.

``make emulate`` also screens films with the floating-point models there, and 200 real films: see
CONTRIBUTING.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from emulation.arm64 import emulated
from emulation.debian import Unavailable
from emulation.folder import EXACT, EXPECTED, write_folder
from emulation.machine import Machine
from exports.bundle import SHIPPED
from exports.documents import PROGRAM
from exports.selftest import targets_of
from exports.targets import FLIPS

GOLDEN = Path(__file__).parents[1] / "support" / "golden"
SUFFIXES = {".bmp", ".dcm", ".jpg", ".png", ".tif"}

#: The irreversible wavelet is computed in floats, which each architecture rounds differently.
ROUNDED = {"ht203-g12.dcm", "j2k-ict-rgb.dcm", "j2k-lossy-g12.dcm"}

# Grey values and tensor of each film, computed by the packed program.
DECODE = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from screening.model.card import Card
from screening.imaging.readers import open_film
card = Card.read(Path(sys.argv[1]).parent)
films = [Path(name) for name in sys.argv[3:]]
grey = {film.name: open_film(film.read_bytes(), film.name).decode()[0] for film in films}
tensors = {name: card.preprocessing.tensor(values) for name, values in grey.items()}
np.savez(sys.argv[2] + "/grey.npz", **grey)
np.savez(sys.argv[2] + "/tensors.npz", **tensors)
"""

EVERY_TARGET = pytest.mark.parametrize("target", targets_of(SHIPPED), ids=lambda each: each.name)


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    try:
        return Machine(emulated(), tmp_path_factory.mktemp("arm"))
    except Unavailable as error:
        pytest.skip(f"no emulated Arm: {error}")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return Machine.here(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_folder(folder)
    return folder


def compare(target, rows, others):
    """Check equal statuses and reasons, and probabilities within the tolerance of the target."""
    assert rows.keys() == others.keys()
    pairs = [(row, others[film]) for film, row in rows.items()]
    for row, other in pairs:
        code, other_code = (each.reason_code for each in (row, other))
        assert (row.film, row.status, code) == (other.film, other.status, other_code)
    scored = [(row, other) for row, other in pairs if row.probability is not None]
    largest = max(abs(row.probability - other.probability) for row, other in scored)
    flips = sum(row.prediction != other.prediction for row, other in scored)
    equal = sum(row.tensor_sha256 == other.tensor_sha256 for row, other in scored)
    print(
        f"{target.name}: {len(scored)} films scored, largest difference {largest:.2g}, "
        f"{flips} decisions differ, {equal} tensors are equal bit for bit"
    )
    # Integers round to the next step, floats to the next bit.
    assert largest <= target.drift
    assert flips <= FLIPS * len(scored)


def test_selftest_passes_in_every_runtime_on_an_early_processor(arm):
    # By default QEMU has all later processor features; the films below are screened with those.
    output = arm.run(SHIPPED / PROGRAM, "selftest", QEMU_CPU="cortex-a53")
    for target in targets_of(SHIPPED):
        assert f"{target.name}: correct, largest difference" in output


def test_tensorflow_is_not_installed_on_arm(arm):
    find = "from importlib.util import find_spec; print(find_spec(%r) is not None)"
    found = {name: arm.run("-c", find % name).strip() for name in ("numpy", "tensorflow")}
    assert found == {"numpy": "True", "tensorflow": "False"}


@pytest.fixture(scope="module")
def decoded(arm, here):
    """Decode all golden films on both machines with the packed program: grey values, tensors."""
    paths = [path for path in sorted(GOLDEN.iterdir()) if path.suffix in SUFFIXES]
    assert len(paths) > 100
    for machine in (arm, here):
        machine.run("-c", DECODE, SHIPPED / PROGRAM, machine.home, *paths)
    return [path.name for path in paths]


def test_golden_films_decode_to_the_same_grey_values(arm, here, decoded):
    with np.load(arm.home / "grey.npz") as there, np.load(here.home / "grey.npz") as expected:
        for film in decoded:
            # At most one step of 8-bit values.
            most = 1 / 255 if film in ROUNDED else 0
            np.testing.assert_allclose(there[film], expected[film], 0, most, err_msg=film)


def test_tensors_agree_up_to_rounding(arm, here, decoded):
    """Arm multiplies and adds with a single rounding, so resampling differs in the last bits."""
    with np.load(arm.home / "tensors.npz") as there, np.load(here.home / "tensors.npz") as expected:
        for film in set(decoded) - ROUNDED:
            np.testing.assert_allclose(there[film], expected[film], 0, 5e-7, err_msg=film)


# QEMU emulates floats one by one, which takes minutes. The other integer models take half a minute.
# The selftest covers four films for each of them.
QUICKEST = "onnx-int8"

# Half precision is slowest; a processor without it computes in float32.
HALF = {"tflite-float16": {"QEMU_CPU": "cortex-a72"}}


@EVERY_TARGET
def test_films_are_screened_alike_on_arm(request, arm, here, films, target):
    if target.name != QUICKEST and not request.config.getoption("--long"):
        pytest.skip("takes minutes: make emulate")
    rows = arm.screen(films, target, **HALF.get(target.name, {}))
    others = here.screen(films, target)
    assert {film: row.status for film, row in rows.items()} == EXPECTED
    compare(target, rows, others)
    assert rows[EXACT].tensor_sha256 == others[EXACT].tensor_sha256


@pytest.fixture(scope="module")
def many(real_films, request, tmp_path_factory):
    """A folder with 100 real films of each class, evenly spaced in the collection."""
    if not request.config.getoption("--long"):
        pytest.skip("takes minutes: make emulate")
    folder = tmp_path_factory.mktemp("many")
    for label in ("NORMAL", "PNEUMONIA"):
        paths = sorted((real_films / label).iterdir())
        for index in np.linspace(0, len(paths) - 1, 100).astype(int):
            shutil.copyfile(paths[index], folder / paths[index].name)
    return folder


@EVERY_TARGET
def test_real_films_are_screened_alike_on_arm(arm, here, many, target):
    rows = arm.screen(many, target)
    assert len(rows) == 200
    compare(target, rows, here.screen(many, target))
