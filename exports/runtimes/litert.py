"""Run TFLite models with LiteRT."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from screening.model.predictor import Prediction


class LiteRTPredictor:
    """A model in LiteRT, on the CPU.

    Args:
        path: a ``.tflite`` file with the outputs ``score``, ``embedding`` and optionally ``map``;
            input and outputs are float32, or integers with a scale and a zero point.
        target: name of the target.
        threads: number of CPU threads.
    """

    def __init__(self, path: Path, target: str, threads: int = 1) -> None:
        self._runners = _Runners(path, threads)
        with self._runners.taken() as runner:
            self._film = runner.get_input_details()["film"]
            self._outputs = runner.get_output_details()
        if lacking := {"score", "embedding"} - self._outputs.keys():
            raise ValueError(f"the output {', '.join(sorted(lacking))} is missing")
        self.has_map = "map" in self._outputs
        self.target = target
        self.runtime = f"{target}/ai-edge-litert {version('ai-edge-litert')}"

    def predict(self, tensors: npt.NDArray[np.float32]) -> Prediction:
        """Scores for `tensors`, shape (n, rows, columns, channels)."""
        with self._runners.taken() as runner:
            given = runner(film=_as_integers(tensors, self._film))
        outputs = {name: _as_floats(values, self._outputs[name]) for name, values in given.items()}
        return Prediction(outputs["score"], outputs["embedding"], outputs.get("map"))


class LiteRTLungs:
    """A lung network in LiteRT, on the CPU; see :class:`~screening.model.lungs.LungNetwork`.

    Args:
        path: ``lungs.tflite``, with one float32 input and one float32 output.
        threads: number of CPU threads.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._runners = _Runners(path, threads)
        with self._runners.taken() as runner:
            (self._input,) = runner.get_input_details()
            (self._output,) = runner.get_output_details()

    def find(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of lung, shape (n, 128, 128), for `inputs`, shape (n, 128, 128, 1)."""
        with self._runners.taken() as runner:
            given = runner(**{self._input: inputs})
        return np.asarray(given[self._output][..., 0])


class _Runners:
    """A pool of interpreters of one file, because an interpreter serves one thread at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = max(1, threads)
        self._lock = threading.Lock()
        self._idle: list[Any] = []

    @contextmanager
    def taken(self) -> Iterator[Any]:
        """Borrow a signature runner that no other thread uses; after an error it is discarded."""
        with self._lock:
            runner = self._idle.pop() if self._idle else self._new()
        yield runner
        self._idle.append(runner)

    def _new(self) -> Any:
        with _greeting_dropped():
            interpreter = Interpreter(str(self._path), num_threads=self._threads)
            interpreter.allocate_tensors()
        return interpreter.get_signature_runner()


@contextmanager
def _greeting_dropped() -> Iterator[None]:
    """Discard the start message that LiteRT writes to standard error; its errors are raised."""
    sys.stderr.flush()
    real, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)


def _as_integers(values: npt.NDArray[np.float32], details: dict[str, Any]) -> npt.NDArray[Any]:
    """Quantise values for an integer tensor; a float tensor takes them unchanged."""
    kind = details["dtype"]
    if kind == np.float32:
        return values
    scale, zero = details["quantization"]
    limits = np.iinfo(kind)
    steps = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
    return np.asarray(steps, kind)


def _as_floats(values: npt.NDArray[Any], details: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Invert :func:`_as_integers`."""
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
