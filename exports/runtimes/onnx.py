"""Run ONNX models with ONNX Runtime."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from screening.inference.costs import give_back
from screening.model.predictor import Prediction

# Read when the library is loaded. Without it a device number and an event store are written into
# the user's cache, and data on a run must not leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # see above

#: Batch size of the network. With more films the feature maps no longer fit into a cache and need
#: more memory.
_TOGETHER: Final = 2

#: Names of the instruction sets in Linux, on x86-64; not used on other architectures.
_VNNI: Final = frozenset({"avx512_vnni", "avx_vnni"})


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor sums 8-bit products without overflow; see proc(5)."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return not _VNNI.isdisjoint(next(flags, ()))


class OnnxPredictor:
    """A model in ONNX Runtime, on the CPU.

    Args:
        path: ``model.onnx``, with the outputs ``score``, ``embedding`` and optionally ``map``.
        target: name of the target.
        threads: number of CPU threads; 0 for one per core.
    """

    def __init__(self, path: Path, target: str, threads: int = 0) -> None:
        self._session = _session(path, threads)
        self._input = self._session.get_inputs()[0].name
        given = {output.name for output in self._session.get_outputs()}
        if lacking := {"score", "embedding"} - given:
            raise ValueError(f"the output {', '.join(sorted(lacking))} is missing")
        self.has_map = "map" in given
        self.target = target
        self.runtime = f"{target}/onnxruntime {version('onnxruntime')}"

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels)."""
        names = ["score", "embedding", *(["map"] if self.has_map else [])]
        parts = [
            self._session.run(names, {self._input: tensors[start : start + _TOGETHER]})
            for start in range(0, len(tensors), _TOGETHER)
        ]
        return Prediction(*map(np.concatenate, zip(*parts, strict=True)))


class OnnxLungs:
    """A lung network in ONNX Runtime, on the CPU; see :class:`~screening.model.lungs.LungNetwork`.

    Args:
        path: ``lungs.onnx``, with one output.
        threads: number of CPU threads; 0 for one per core.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._session = _session(path, threads)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def find(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of lung, shape (n, 128, 128), for `inputs`, shape (n, 128, 128, 1)."""
        parts = [
            self._session.run([self._output], {self._input: inputs[start : start + _TOGETHER]})[0]
            for start in range(0, len(inputs), _TOGETHER)
        ]
        return np.asarray(np.concatenate(parts)[..., 0])


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads would occupy the cores that decode the next films.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not has_vnni():
        # Without these instructions sums of 8-bit products overflow: log odds changed by up to
        # 1.5. Widening the products first takes twice as long and is bit-exact.
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    give_back()  # loading temporarily needs the memory of the model again
    return session
