"""How a network is fitted: every number that changes the result, in one record."""

from dataclasses import dataclass, field
from typing import Final

from screening.training.networks import DEFAULT


@dataclass(frozen=True)
class Recipe:
    """Settings of one training; stored in the model card.

    Attributes:
        architecture: one of :data:`screening.training.networks.ARCHITECTURES`.
        epochs: passes over the training films; the last one's averaged weights are the model.
        learning_rate: at its highest, after the first epoch; it falls to zero as a half cosine.
        multipliers: factor on the learning rate by layer-name prefix.
        averaging: decay of the exponential moving average of the weights, a batch.
        validation_share: share of the films held out, by patient.
        target_sensitivity: the threshold is the highest that reaches it on validation.
    """

    architecture: str = DEFAULT
    epochs: int = 12
    batch: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    averaging: float = 0.99
    multipliers: dict[str, float] = field(default_factory=dict)
    pretrained: bool = True
    validation_share: float = 0.15
    target_sensitivity: float = 0.95
    seed: int = 1


_LITE0_MULTIPLIERS: Final = (
    {"stem": 0.1}
    | {f"block{index}_": 0.1 for index in range(5)}
    | {f"block{index}_": 0.4 for index in range(5, 11)}
    | {"score": 4.0}
)


def default_recipe(architecture: str) -> Recipe:
    """The settings that are used unless the user asks for others."""
    if architecture == DEFAULT:
        return Recipe(multipliers=dict(_LITE0_MULTIPLIERS))
    return Recipe(
        architecture=architecture,
        epochs=13,
        learning_rate=1e-4,
        label_smoothing=0.0,
        pretrained=False,
    )
