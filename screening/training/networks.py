"""Network architectures in backend-neutral Keras, and their optimiser.

Every network takes normalised tensors, shape (n, rows, columns, channels), and has the outputs
``score`` (softmax, shape (n, 2)) and ``embedding``. A network that ends in global pooling also has
``map``, shape (n, rows', columns', 2): the logits of each cell. The softmax is taken of their mean
over the film. The map is the class activation map of Zhou et al. (CVPR 2016), so a heat map needs
no gradients.

Networks contain no preprocessing layers: Keras's image layers ask for training mode, and that leaks
into BatchNorm when a model is exported.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import keras
from keras import layers

from screening.model.preprocess import Preprocessing
from screening.results import CLASSES

DEFAULT: Final = "efficientnet-lite0"

#: (repeats, kernel, stride, expansion, filters) of the seven stages of EfficientNet-B0
#: (Tan and Le, ICML 2019, table 1); Lite0 keeps them, with a fixed stem and head.
_LITE0_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

#: The stage whose first block halves the feature map for the last time.
_LAST_STRIDE: Final = 6

#: Pixels of the film per cell of the default network's map.
MAP_STRIDE: Final = 16

#: Stages that form the embedding: means over the film, and for the first stage over its thirds.
#: These stages show the content and the origin of a picture better than the head, which was fitted
#: to separate two classes. The means over thirds show the orientation.
_EMBEDDED_STAGES: Final = (4, 5, 6, 7)

#: (filters, convolutions) of the five stages of the small CNN; the first halves the film.
_SMALL_STAGES: Final = ((16, 1), (32, 2), (64, 2), (96, 1), (128, 1))

#: Stages of the small CNN that form the embedding.
_EMBEDDED_SMALL_STAGES: Final = (3, 4, 5)

#: (convolutions, filters) of the five blocks of the reference CNN.
_REFERENCE_BLOCKS: Final = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

#: Blocks of the reference CNN that form the embedding.
_EMBEDDED_BLOCKS: Final = (4, 5)

#: In sixteen layers without a norm a signal keeps its variance only with the initial weights that
#: ReLU needs (He et al., ICCV 2015).
_RELU: Final[dict[str, Any]] = {"activation": "relu", "kernel_initializer": "he_normal"}


def efficientnet_lite0(shape: tuple[int, int, int], map_stride: int = MAP_STRIDE) -> keras.Model:
    """EfficientNet-Lite0: ReLU6 instead of swish and no squeeze-excite, made for quantisation.

    Args:
        map_stride: pixels of the film per cell of the map, 32 as published or 16. With 16 the
            last stride is omitted, so that the map has four times as many cells.
    """
    if map_stride not in {16, 32}:
        raise ValueError(f"the map has {map_stride} pixels per cell, expected 16 or 32")
    inputs = layers.Input(shape, name="film")
    x = _conv_bn(inputs, 32, 3, 2, "stem")
    block, embedded = 0, []
    for stage, (repeats, kernel, stride, expansion, filters) in enumerate(_LITE0_STAGES, start=1):
        if stage == _LAST_STRIDE and map_stride == 16:
            stride = 1  # noqa: PLW2901  # the published stride belongs to the published map
        for repeat in range(repeats):
            x = _mbconv(x, kernel, stride if repeat == 0 else 1, expansion, filters, block)
            block += 1
        if stage in _EMBEDDED_STAGES:
            embedded.append(x)
    x = _conv_bn(x, 1280, 1, 1, "head")
    return keras.Model(inputs, _mapped(x) | _embedding(embedded), name=DEFAULT)


def small_cnn(shape: tuple[int, int, int]) -> keras.Model:
    """A CNN to train from scratch in minutes: seven convolutions, 240,000 parameters."""
    inputs = layers.Input(shape, name="film")
    x: Any = inputs
    embedded = []
    for stage, (filters, convolutions) in enumerate(_SMALL_STAGES, start=1):
        for index in range(1, convolutions + 1):
            x = _conv_bn(x, filters, 3, 2 if index == 1 else 1, f"stage{stage}_{index}")
        if stage in _EMBEDDED_SMALL_STAGES:
            embedded.append(x)
    return keras.Model(inputs, _mapped(x) | _embedding(embedded), name="small")


def reference_cnn(shape: tuple[int, int, int]) -> keras.Model:
    """The reference CNN: 13 convolutions, 3 dense layers; 21,154,050 parameters at 224x224x3."""
    inputs = layers.Input(shape, name="film")
    x: Any = inputs
    embedded = []
    for block, (convolutions, filters) in enumerate(_REFERENCE_BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            name = f"block{block}_conv{index}"
            x = layers.Conv2D(filters, 3, padding="same", name=name, **_RELU)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        if block in _EMBEDDED_BLOCKS:
            embedded.append(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, name="dense1", **_RELU)(x)
    x = layers.Dense(64, name="dense2", **_RELU)(x)
    score = layers.Dense(len(CLASSES), activation="softmax", name="score", dtype="float32")(x)
    return keras.Model(inputs, {"score": score} | _embedding(embedded), name="reference")


_BUILDERS: Final[dict[str, Callable[[tuple[int, int, int]], keras.Model]]] = {
    DEFAULT: efficientnet_lite0,
    "small": small_cnn,
    "reference": reference_cnn,
}

#: Input that each architecture expects. Lite0's ImageNet weights expect (v - 127) / 128 for
#: v in 0..255; the reference CNN was specified for v / 255 in three channels.
PREPROCESSING: Final = {
    DEFAULT: Preprocessing(channels=1, scale=255 / 128, offset=-127 / 128),
    "small": Preprocessing(channels=1, scale=2.0, offset=-1.0),
    "reference": Preprocessing(channels=3),
}

ARCHITECTURES: Final = tuple(_BUILDERS)


def build(architecture: str, shape: tuple[int, int, int]) -> keras.Model:
    """Build a network with random weights for tensors of `shape`."""
    return _BUILDERS[architecture](shape)


def _mapped(x: Any) -> dict[str, Any]:
    """Score and map from the last feature map.

    This is pooling, dropout and a dense layer in another order: dropping a whole channel drops its
    mean, and the mean of a linear map is the mean of its cells.
    """
    x = layers.SpatialDropout2D(0.2, name="dropout")(x)
    cells = layers.Conv2D(len(CLASSES), 1, name="logits")(x)
    # Full precision even if the network is fitted in half precision: the losses depend on it.
    pooled = layers.GlobalAveragePooling2D(name="logits_pool", dtype="float32")(cells)
    # ONNX outputs are named after their layers.
    return {
        "score": layers.Softmax(name="score", dtype="float32")(pooled),
        "map": layers.Identity(name="map")(cells),
    }


def _embedding(maps: list[Any]) -> dict[str, Any]:
    """Means of feature maps over the film, of the first map over its thirds."""
    first, *others = maps
    parts = [layers.Flatten(name="embedding_thirds")(_thirds(first))]
    for number, x in enumerate(others, start=2):
        parts.append(layers.GlobalAveragePooling2D(name=f"embedding_mean{number}")(x))
    return {"embedding": layers.Concatenate(name="embedding")(parts)}


def _thirds(x: Any) -> Any:
    """Means over three by three parts of the film, which overlap if its side requires it."""
    sides = x.shape[1:3]
    strides = [max(1, side // 3) for side in sides]
    sizes = [max(1, side - 2 * stride) for side, stride in zip(sides, strides, strict=True)]
    return layers.AveragePooling2D(sizes, strides, name="embedding_pool")(x)


def _conv_bn(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(
        x
    )
    return _relu6(_bn(x, name), name)


def _mbconv(x: Any, kernel: int, stride: int, expansion: int, filters: int, index: int) -> Any:
    """Mobile inverted bottleneck (Sandler et al., CVPR 2018)."""
    name, skip = f"block{index}", x
    if expansion != 1:
        x = _conv_bn(x, int(x.shape[-1]) * expansion, 1, 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _relu6(_bn(x, f"{name}_depthwise"), f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}_project_conv")(x)
    x = _bn(x, f"{name}_project")
    return layers.Add(name=f"{name}_add")([x, skip]) if x.shape == skip.shape else x


def _bn(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def factor_of(multipliers: Mapping[str, float], name: str) -> float:
    """Factor of the first prefix that matches a layer name or a variable path, else 1."""
    return next((factor for prefix, factor in multipliers.items() if name.startswith(prefix)), 1.0)


@keras.saving.register_keras_serializable("screening")
class LayerwiseAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # Keras has no types
    """AdamW (Loshchilov and Hutter, ICLR 2019) with a step size scaled by layer.

    Early layers of a pretrained network are nearly right and move little; the new classifier is
    random and moves most.

    Args:
        multipliers: factor by layer-name prefix; the first match counts, other layers get 1.
    """

    def __init__(self, multipliers: dict[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.multipliers = multipliers or {}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        super().update_step(gradient, variable, learning_rate * self._factor(variable))

    def get_config(self) -> dict[str, Any]:
        """The arguments needed to build the same optimiser."""
        return {**super().get_config(), "multipliers": self.multipliers}

    def _factor(self, variable: Any) -> float:
        # TensorFlow passes its own variable; the index leads back to the one with a path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        return factor_of(self.multipliers, path)
