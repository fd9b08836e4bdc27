import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from screening.model.card import sha256_of
from screening.model.preprocess import Preprocessing
from screening.training.networks import build
from screening.training.serialise import save_network

# Keras and NumPy 2 do not agree on an argument of __array__ yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

SHAPE = Preprocessing(32, 32, 1).shape

# Another process has different memory addresses, and a second later the date differs.
AGAIN = """
import sys
from pathlib import Path
import keras
from screening.training.serialise import save_network
network = keras.saving.load_model(sys.argv[1], compile=False)
save_network(network, Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    return build("small", SHAPE)


@pytest.mark.parametrize("architecture", ["small", "efficientnet-lite0"])
def test_another_process_writes_the_same_bytes(tmp_path, architecture):
    first, second = tmp_path / "a.keras", tmp_path / "b.keras"
    save_network(build(architecture, SHAPE), first)
    subprocess.run([sys.executable, "-c", AGAIN, str(first), str(second)], check=True)
    assert sha256_of(first) == sha256_of(second)


def test_changed_weights_give_other_bytes(tmp_path, network):
    save_network(network, tmp_path / "a.keras")
    changed = keras.models.clone_model(network)
    weights = network.get_weights()
    weights[0] = weights[0] + np.float32(1e-3)
    changed.set_weights(weights)
    save_network(changed, tmp_path / "b.keras")
    assert sha256_of(tmp_path / "a.keras") != sha256_of(tmp_path / "b.keras")


def test_saved_network_gives_the_same_outputs_when_loaded(tmp_path, network):
    save_network(network, tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras", compile=False)
    films = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    told, expected = again(films), network(films)
    assert np.array_equal(told["score"], expected["score"])
    assert np.array_equal(told["embedding"], expected["embedding"])


def test_file_has_no_dates(tmp_path, network):
    save_network(network, tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
