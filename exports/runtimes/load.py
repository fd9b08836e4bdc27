"""Load one of a bundle's models in the runtime that it was made for."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from exports.errors import BundleError, RuntimeMissing
from exports.targets import LITERT, ONNX, TARGETS, Target
from screening.predictor import Predictor

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
    try:
        if target.runtime == ONNX:
            from exports.runtimes.onnx import OnnxPredictor

            return OnnxPredictor(path, target.name, threads or 0)
        from exports.runtimes.litert import LiteRTPredictor

        return LiteRTPredictor(path, target.name, threads or 1)
    # ONNX Runtime's errors have no root but Exception; LiteRT raises ValueError and others.
    except Exception as error:
        raise BundleError(f"{path} cannot be loaded: {error}") from error
