"""Load a model of a bundle in its runtime, or the fastest one on this machine."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from exports.errors import BundleError, RuntimeMissing
from exports.targets import LITERT, LUNGS, ONNX, TARGETS, Target
from screening.model.card import Card
from screening.model.lung_reading import LungReader
from screening.model.lungs import LungCard, LungNetwork
from screening.model.predictor import Predictor

_MODULES: Final = {ONNX: "onnxruntime", LITERT: "ai_edge_litert"}
_PACKAGES: Final = {ONNX: "onnxruntime", LITERT: "ai-edge-litert"}


def load(bundle: Path, runtime: str = ONNX, heatmaps: bool = False) -> Predictor:
    """The most exact model of the bundle that `runtime` can run.

    Args:
        heatmaps: whether it must give class activation maps.

    Raises:
        BundleError: if the bundle has no model for this runtime, or no map.
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
    """Refuse a model of the bundle that gives no class activation maps.

    Raises:
        BundleError: saying so.
    """
    if not predictor.has_map:
        raise BundleError(
            f"the bundle {bundle} has no class activation map; run without --heatmaps"
        )


def is_installed(runtime: str) -> bool:
    """True if `runtime` can be imported."""
    return find_spec(_MODULES[runtime]) is not None


def load_target(bundle: Path, target: Target, threads: int | None = None) -> Predictor:
    """One model of a folder.

    Args:
        threads: processor threads that run it; by default as many as suit the runtime.

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
    """What finds the lungs of films; None if the bundle has no lung network for this runtime.

    Args:
        runtime: that of the model; it is installed.
        refused: codes of image quality for which a film is refused.
        threads: processor threads that run it.

    Raises:
        BundleError: if the runtime cannot read the file, or films are to be refused by it and it is
            not there.
    """
    check_lungs(bundle, runtime, refused)
    path = bundle / LUNGS[runtime]
    if not path.exists():
        return None
    return LungReader(
        load_lung_network(path, runtime, threads), card.lungs or LungCard(), tuple(refused)
    )


def load_lung_network(path: Path, runtime: str, threads: int = 1) -> LungNetwork:
    """The lung network in a file.

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
    """Refuse a bundle without a lung network if films are to be refused by it.

    Raises:
        BundleError: saying so.
    """
    if refused and not (bundle / LUNGS[runtime]).exists():
        raise BundleError(
            f"the bundle {bundle} has no lung network for the runtime {runtime}; run without --refuse"
        )


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    # ONNX Runtime's errors have no root but Exception; LiteRT raises ValueError and others.
    except Exception as error:
        raise BundleError(f"{path} cannot be loaded: {error}") from error


#: The quickest of all runtimes that are installed.
AUTO: Final = "auto"

#: Films that are scored to measure a model: first to warm up, then against the clock.
_WARM: Final = 4
_MEASURED: Final = 24


def choose(bundle: Path, runtime: str, precision: str) -> Target:
    """The most exact model of the bundle for a runtime, among those of a precision.

    Args:
        runtime: :data:`AUTO` for any.

    Raises:
        BundleError: if it holds none.
    """
    held = [target for target in TARGETS.values() if (bundle / target.file).exists()]
    for target in held:
        if target.precision == precision and runtime in (AUTO, target.runtime):
            return target
    names = ", ".join(target.name for target in held) or "none"
    wanted = "" if runtime == AUTO else f" for the runtime {runtime}"
    raise BundleError(f"{bundle} has no model{wanted} in {precision}; it has {names}")


def quickest(
    bundle: Path, precision: str, shape: tuple[int, int, int]
) -> tuple[Target, Predictor, str]:
    """The model of the bundle that answers soonest here, loaded, and what was measured.

    Each is run on one processor thread, as in a night.

    Args:
        precision: of all that are measured.
        shape: of one input tensor.

    Raises:
        BundleError: if the bundle holds no model of that precision for a runtime that is installed.
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
        # Says what the bundle has, or what is not installed.
        load_target(bundle, choose(bundle, AUTO, precision))
    candidates.sort(key=lambda candidate: candidate[0])
    said = ", ".join(f"{target.name} {1e3 * spent:.1f} ms" for spent, target, _ in candidates)
    _spent, target, predictor = candidates[0]
    return target, predictor, f"a film takes {said}"


def _seconds(predictor: Predictor, shape: tuple[int, int, int]) -> float:
    """Processor seconds for one film: what else the machine does counts less than by the clock."""
    film = np.random.default_rng(0).uniform(-1, 1, (1, *shape)).astype(np.float32)
    for _ in range(_WARM):
        predictor.predict(film)
    began = time.process_time()
    for _ in range(_MEASURED):
        predictor.predict(film)
    return (time.process_time() - began) / _MEASURED
