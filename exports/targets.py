"""Export targets: the file formats and precisions that a model can be converted to."""

from dataclasses import dataclass
from typing import Final

from exports.errors import ExportError

ONNX: Final = "onnx"
LITERT: Final = "litert"

#: File of the lung network in a bundle, by runtime.
LUNGS: Final = {ONNX: "lungs.onnx", LITERT: "lungs.tflite"}

FLOAT32: Final = "float32"
INT8: Final = "int8"


@dataclass(frozen=True)
class Target:
    """A file format with its precision.

    Attributes:
        name: name in options and in the report.
        file: file name in the bundle.
        runtime: runtime that loads the file, :data:`ONNX` or :data:`LITERT`.
        tolerance: maximum difference of a calibrated probability from Keras. None for targets with
            8 bits, which cannot reproduce the figures: only their decisions are compared.
        drift: maximum difference between two devices that run the same file.
    """

    name: str
    file: str
    runtime: str
    tolerance: float | None
    drift: float = 1e-4

    @property
    def has_8_bits(self) -> bool:
        """Whether the weights are rounded to 8 bits, which requires films for calibration."""
        return self.tolerance is None

    @property
    def precision(self) -> str:
        """Type of most computations: :data:`FLOAT32` or :data:`INT8`."""
        return INT8 if self.name.endswith(INT8) else FLOAT32


#: All targets, the most exact of each runtime first; the first in a bundle is its default.
TARGETS: Final = {
    target.name: target
    for target in (
        Target("onnx", "model.onnx", ONNX, 1e-4),
        Target("onnx-int8", "model-int8.onnx", ONNX, None, 0.02),
        Target("tflite-float32", "model-float32.tflite", LITERT, 1e-4),
        Target("tflite-float16", "model-float16.tflite", LITERT, 1e-2),
        Target("tflite-int8", "model-int8.tflite", LITERT, None, 0.02),
    )
}

#: Maximum share of films whose decision a conversion may change; one film is always allowed.
FLIPS: Final = 0.005


def target(name: str) -> Target:
    """Return the target named `name`.

    Raises:
        ExportError: if it does not exist.
    """
    try:
        return TARGETS[name]
    except KeyError as error:
        known = ", ".join(TARGETS)
        raise ExportError(f"there is no target {name!r}; the targets are {known}") from error
