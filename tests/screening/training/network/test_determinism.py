import subprocess
import sys

_FIT = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from screening.preprocess import Preprocessing
from screening.training.network.fit import FilmSet, fit
from screening.training.network.recipe import Recipe

class Silent:
    def say(self, line): print(line)
    def batch(self, *_): pass
    def epoch(self, row): pass

rng = np.random.default_rng(0)
labels = np.arange(64) % 2
films = rng.integers(0, 256, (64, 160, 160)).astype(np.uint8)
validation = FilmSet(films[:8].astype(np.float32) / np.float32(255), labels[:8])
with ThreadPoolExecutor(2) as pool:
    network, _history = fit(
        Recipe(epochs=2, batch=16, pretrained=False), Preprocessing(160, 160, 1),
        FilmSet(films, labels), validation, Path(sys.argv[1]), "data", pool, Silent(),
    )
print(hashlib.sha256(b"".join(w.tobytes() for w in network.get_weights())).hexdigest())
"""


def test_two_processes_fit_the_same_network_to_the_last_bit(tmp_path):
    """At the same time, so that they disturb each other: order of events must not matter."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _FIT, str(tmp_path / name)], stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    printed = [run.communicate()[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all(len(words) == 1 for words in printed)
    assert printed[0] == printed[1]
