"""The shipped bundle on 64-bit Arm, emulated, beside the same program on this machine.

``make emulate`` also screens films in floats there, and 200 real ones: see CONTRIBUTING.
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

GOLDEN = Path(__file__).parents[1] / "screening" / "pixels" / "golden"
SUFFIXES = {".bmp", ".dcm", ".jpg", ".png", ".tif"}

#: The irreversible wavelet is computed in floats, which each architecture rounds in its own way.
ROUNDED = {"ht203-g12.dcm", "j2k-ict-rgb.dcm", "j2k-lossy-g12.dcm"}

# Grey values and tensor of each film, by the packed program.
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
    """The same statuses and reasons, and probabilities as near as the target is exact."""
    assert rows.keys() == others.keys()
    pairs = [(row, others[film]) for film, row in rows.items()]
    for row, other in pairs:
        code, other_code = (each.reason.partition(":")[0] for each in (row, other))
        assert (row.film, row.status, code) == (other.film, other.status, other_code)
    scored = [(row, other) for row, other in pairs if row.probability is not None]
    largest = max(abs(row.probability - other.probability) for row, other in scored)
    flips = sum(row.prediction != other.prediction for row, other in scored)
    equal = sum(row.tensor_sha256 == other.tensor_sha256 for row, other in scored)
    print(
        f"{target.name}: {len(scored)} films scored, largest difference {largest:.2g}, "
        f"{flips} decisions differ, {equal} tensors are equal bit for bit"
    )
    # Integers round to the next step where floats round to the next bit.
    assert largest <= target.drift
    assert flips <= FLIPS * len(scored)


def test_the_selftest_is_right_in_every_runtime_of_an_early_processor(arm):
    # Without a name QEMU has all that later ones have learned; so it screens the films below.
    said = arm.run(SHIPPED / PROGRAM, "selftest", QEMU_CPU="cortex-a53")
    for target in targets_of(SHIPPED):
        assert f"{target.name}: right, largest difference" in said


def test_tensorflow_cannot_be_imported_there(arm):
    find = "from importlib.util import find_spec; print(find_spec(%r) is not None)"
    found = {name: arm.run("-c", find % name).strip() for name in ("numpy", "tensorflow")}
    assert found == {"numpy": "True", "tensorflow": "False"}


@pytest.fixture(scope="module")
def decoded(arm, here):
    """What the packed program makes of every golden film there and here: grey values, tensors."""
    paths = [path for path in sorted(GOLDEN.iterdir()) if path.suffix in SUFFIXES]
    assert len(paths) > 100
    for machine in (arm, here):
        machine.run("-c", DECODE, SHIPPED / PROGRAM, machine.home, *paths)
    return [path.name for path in paths]


def test_every_golden_film_decodes_to_the_same_grey_values(arm, here, decoded):
    with np.load(arm.home / "grey.npz") as there, np.load(here.home / "grey.npz") as expected:
        for film in decoded:
            # At most one step of eight bits.
            most = 1 / 255 if film in ROUNDED else 0
            np.testing.assert_allclose(there[film], expected[film], 0, most, err_msg=film)


def test_every_tensor_is_the_same_but_for_the_last_bit(arm, here, decoded):
    """Arm multiplies and adds in one rounding, and so resamples to the last bit but one."""
    with np.load(arm.home / "tensors.npz") as there, np.load(here.home / "tensors.npz") as expected:
        for film in set(decoded) - ROUNDED:
            np.testing.assert_allclose(there[film], expected[film], 0, 5e-7, err_msg=film)


# QEMU computes floats one by one, for minutes, and takes half a minute for the other integers; of the
# selftest there are four films.
QUICKEST = "onnx-int8"

# Half precision is slowest; a processor without it computes in float32.
HALF = {"tflite-float16": {"QEMU_CPU": "cortex-a72"}}


@EVERY_TARGET
def test_films_are_screened_there_as_here(request, arm, here, films, target):
    if target.name != QUICKEST and not request.config.getoption("--long"):
        pytest.skip("takes minutes: make emulate")
    rows = arm.screen(films, target, **HALF.get(target.name, {}))
    others = here.screen(films, target)
    assert {film: row.status for film, row in rows.items()} == EXPECTED
    compare(target, rows, others)
    assert rows[EXACT].tensor_sha256 == others[EXACT].tensor_sha256


@pytest.fixture(scope="module")
def many(real_films, request, tmp_path_factory):
    """A folder with 100 real films of each class, evenly spread."""
    if not request.config.getoption("--long"):
        pytest.skip("takes minutes: make emulate")
    folder = tmp_path_factory.mktemp("many")
    for label in ("NORMAL", "PNEUMONIA"):
        paths = sorted((real_films / label).iterdir())
        for index in np.linspace(0, len(paths) - 1, 100).astype(int):
            shutil.copyfile(paths[index], folder / paths[index].name)
    return folder


@EVERY_TARGET
def test_real_films_are_screened_there_as_here(arm, here, many, target):
    rows = arm.screen(many, target)
    assert len(rows) == 200
    compare(target, rows, here.screen(many, target))
