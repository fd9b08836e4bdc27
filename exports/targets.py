"""What a model can be converted to."""

from dataclasses import dataclass
from typing import Final

from exports.errors import ExportError

ONNX: Final = "onnx"
LITERT: Final = "litert"

#: Files of the lung network in a bundle, by what runs them.
LUNGS: Final = {ONNX: "lungs.onnx", LITERT: "lungs.tflite"}

FLOAT32: Final = "float32"
INT8: Final = "int8"


@dataclass(frozen=True)
class Target:
    """A format with its precision.

    Attributes:
        name: as the user writes it and the report shows it.
        file: in the bundle.
        runtime: what runs it.
        tolerance: largest allowed difference of a calibrated probability from Keras; None where
            decisions alone are held against the original's, because 8 bits cannot hold figures.
        drift: largest allowed difference between two devices that run the same file.
    """

    name: str
    file: str
    runtime: str
    tolerance: float | None
    drift: float = 1e-4

    @property
    def has_8_bits(self) -> bool:
        """True if its weights are settled on 8-bit steps, which takes films to do."""
        return self.tolerance is None

    @property
    def precision(self) -> str:
        """:data:`FLOAT32` or :data:`INT8`: what most of it is computed in."""
        return INT8 if self.name.endswith(INT8) else FLOAT32


#: Those of one runtime from the most exact on: the first that a bundle holds is its default.
TARGETS: Final = {
    target.name: target
    for target in (
        Target("onnx", "model.onnx", ONNX, 1e-4),
        Target("onnx-int8", "model-int8.onnx", ONNX, None, 0.02),
        Target("tflite-float32", "model-float32.tflite", LITERT, 1e-4),
        Target("tflite-float16", "model-float16.tflite", LITERT, 1e-2),
        Target("tflite-dynamic", "model-dynamic.tflite", LITERT, None, 0.02),
        Target("tflite-int8", "model-int8.tflite", LITERT, None, 0.02),
    )
}

#: Share of films whose decision a conversion may change; one film is always allowed to.
FLIPS: Final = 0.005


def target(name: str) -> Target:
    """The target called `name`.

    Raises:
        ExportError: if there is none.
    """
    try:
        return TARGETS[name]
    except KeyError as error:
        known = ", ".join(TARGETS)
        raise ExportError(f"there is no target {name!r}; known are {known}") from error
