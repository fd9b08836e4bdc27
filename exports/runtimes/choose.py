"""Which of a bundle's models a night runs: the one asked for, or the quickest on this machine."""

import time
from pathlib import Path
from typing import Final

import numpy as np

from exports.errors import BundleError
from exports.runtimes.load import is_installed, load_target
from exports.targets import TARGETS, Target
from screening.predictor import Predictor

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
