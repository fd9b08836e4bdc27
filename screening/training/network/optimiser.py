"""AdamW with a learning rate of its own for each depth of a pretrained network."""

from collections.abc import Mapping
from typing import Any

import keras


def factor_of(multipliers: Mapping[str, float], name: str) -> float:
    """Factor of a layer, or of a variable by its path: that of the first prefix, or else 1."""
    return next((factor for prefix, factor in multipliers.items() if name.startswith(prefix)), 1.0)


@keras.saving.register_keras_serializable("screening")
class LayerwiseAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # Keras has no types
    """AdamW (Loshchilov and Hutter, ICLR 2019) whose step is scaled by layer.

    Early layers of a pretrained network are nearly right and move little; the new classifier is
    random and moves most.

    Args:
        multipliers: layer-name prefix to factor; the first that matches counts, others get 1.
    """

    def __init__(self, multipliers: dict[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.multipliers = multipliers or {}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        super().update_step(gradient, variable, learning_rate * self._factor(variable))

    def get_config(self) -> dict[str, Any]:
        """What is needed to build the same optimiser again."""
        return {**super().get_config(), "multipliers": self.multipliers}

    def _factor(self, variable: Any) -> float:
        # TensorFlow hands over its own variable; the index leads back to the one with a path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        return factor_of(self.multipliers, path)
