"""Load a model of a bundle in its runtime, or the fastest model on this machine."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from exports.errors import BundleError, RuntimeMissing
from exports.targets import LITERT, LUNGS, ONNX, TARGETS, Target
from screening.errors import FileUnavailable
from screening.model.card import Card
from screening.model.lung_reading import LungReader
from screening.model.lungs import LungCard, LungNetwork
from screening.model.predictor import Predictor

_MODULES: Final = {ONNX: "onnxruntime", LITERT: "ai_edge_litert"}
_PACKAGES: Final = {ONNX: "onnxruntime", LITERT: "ai-edge-litert"}


def load(bundle: Path, runtime: str = ONNX, heatmaps: bool = False) -> Predictor:
    """Load the most exact model of the bundle for `runtime`.

    Args:
        heatmaps: whether the model must give class activation maps.

    Raises:
        BundleError: if the bundle has no model for this runtime, or the model gives no maps.
        RuntimeMissing: if the runtime is not installed.
    """
    for target in TARGETS.values():
        if target.runtime == runtime and (bundle / target.file).exists():
            predictor = load_target(bundle, target)
            if heatmaps:
                check_map(predictor, bundle)
            return predictor
    raise BundleError(f"{bundle} has no model for the runtime {runtime}")


def check_map(predictor: Predictor, bundle: Path) -> None:
    """Check that a model of the bundle gives class activation maps.

    Raises:
        BundleError: if it does not.
    """
    if not predictor.has_map:
        raise BundleError(
            f"the bundle {bundle} has no class activation map; run without --heatmaps"
        )


def is_installed(runtime: str) -> bool:
    """Whether `runtime` can be imported."""
    return find_spec(_MODULES[runtime]) is not None


def load_target(bundle: Path, target: Target, threads: int | None = None) -> Predictor:
    """Load one model of a folder.

    Args:
        threads: number of CPU threads; by default one per core for ONNX Runtime and one for LiteRT.

    Raises:
        BundleError: if the runtime cannot read the file.
        RuntimeMissing: if the runtime is not installed.
    """
    if not is_installed(target.runtime):
        package = _PACKAGES[target.runtime]
        raise RuntimeMissing(
            f"the target {target.name} needs {package}; run: pip install {package}"
        )
    path = bundle / target.file
    with _loading(path):
        if target.runtime == ONNX:
            from exports.runtimes.onnx import OnnxPredictor

            return OnnxPredictor(path, target.name, threads or 0)
        from exports.runtimes.litert import LiteRTPredictor

        return LiteRTPredictor(path, target.name, threads or 1)


def load_lungs(
    bundle: Path, card: Card, runtime: str, refused: Sequence[str] = (), threads: int = 1
) -> LungReader | None:
    """Load the lung reader; None if the bundle has no lung network for this runtime.

    Args:
        runtime: runtime of the model, which must be installed.
        refused: image quality codes for which a film is refused.
        threads: number of CPU threads.

    Raises:
        BundleError: if the runtime cannot read the file, or `refused` is not empty and the bundle
            has no lung network for this runtime.
    """
    check_lungs(bundle, runtime, refused)
    path = bundle / LUNGS[runtime]
    if not path.exists():
        return None
    return LungReader(
        load_lung_network(path, runtime, threads), card.lungs or LungCard(), tuple(refused)
    )


def load_lung_network(path: Path, runtime: str, threads: int = 1) -> LungNetwork:
    """Load the lung network in a file.

    Raises:
        BundleError: if the runtime cannot read the file.
    """
    with _loading(path):
        if runtime == ONNX:
            from exports.runtimes.onnx import OnnxLungs

            return OnnxLungs(path, threads)
        from exports.runtimes.litert import LiteRTLungs

        return LiteRTLungs(path, threads)


def check_lungs(bundle: Path, runtime: str, refused: Sequence[str]) -> None:
    """Check that the bundle has a lung network if films are to be refused by image quality.

    Raises:
        BundleError: if it has none for `runtime` and `refused` is not empty.
    """
    if refused and not (bundle / LUNGS[runtime]).exists():
        raise BundleError(
            f"the bundle {bundle} has no lung network for the runtime {runtime}; run without --refuse"
        )


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileUnavailable(f"{path} cannot be loaded: {error}") from error
    # ONNX Runtime's errors derive directly from Exception; LiteRT raises ValueError and others.
    except Exception as error:
        raise BundleError(f"{path} cannot be loaded: {error}") from error


#: Selects the fastest installed runtime.
AUTO: Final = "auto"

#: Number of films scored to measure a model: first to warm up, then timed.
_WARM: Final = 4
_MEASURED: Final = 24


def choose(bundle: Path, runtime: str, precision: str) -> Target:
    """Choose the most exact model of the bundle with a given runtime and precision.

    Args:
        runtime: a runtime, or :data:`AUTO` for any.

    Raises:
        BundleError: if the bundle has no such model.
    """
    held = [target for target in TARGETS.values() if (bundle / target.file).exists()]
    for target in held:
        if target.precision == precision and runtime in (AUTO, target.runtime):
            return target
    names = ", ".join(target.name for target in held) or "none"
    wanted = "" if runtime == AUTO else f" for the runtime {runtime}"
    raise BundleError(f"{bundle} has no {precision} model{wanted}; its models: {names}")


def quickest(
    bundle: Path, precision: str, shape: tuple[int, int, int]
) -> tuple[Target, Predictor, dict[str, str]]:
    """Measure the models of the bundle and load the fastest on this machine.

    Each model runs on one CPU thread, as in a job.

    Args:
        precision: precision of the measured models.
        shape: shape of one input tensor.

    Returns:
        The target, its loaded model, and milliseconds per film by target, the fastest first.

    Raises:
        BundleError: if the bundle has no model of that precision for an installed runtime.
    """
    candidates = []
    for runtime in dict.fromkeys(target.runtime for target in TARGETS.values()):
        try:
            target = choose(bundle, runtime, precision)
        except BundleError:
            continue
        if is_installed(runtime):
            predictor = load_target(bundle, target, threads=1)
            candidates.append((_seconds(predictor, shape), target, predictor))
    if not candidates:
        # Raises an error that names the models of the bundle or the missing runtime.
        load_target(bundle, choose(bundle, AUTO, precision))
    candidates.sort(key=lambda candidate: candidate[0])
    measured = {target.name: f"{1e3 * spent:.1f}" for spent, target, _ in candidates}
    _spent, target, predictor = candidates[0]
    return target, predictor, measured


def _seconds(predictor: Predictor, shape: tuple[int, int, int]) -> float:
    """CPU seconds per film, which other load on the machine affects less than wall time."""
    film = np.random.default_rng(0).uniform(-1, 1, (1, *shape)).astype(np.float32)
    for _ in range(_WARM):
        predictor.predict(film)
    began = time.process_time()
    for _ in range(_MEASURED):
        predictor.predict(film)
    return (time.process_time() - began) / _MEASURED
