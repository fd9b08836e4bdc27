"""Training settings: every number that changes the result, in one record."""

from dataclasses import dataclass, field, replace
from typing import Final

from screening.model.preprocess import Preprocessing
from screening.training.networks import DEFAULT, PREPROCESSING

#: Augmentations: ``hospitals`` and ``contrast`` imitate films of other hospitals, for a network to
#: be used elsewhere; ``geometry`` only moves films, for a network compared on its own films.
HOSPITALS: Final = "hospitals"
CONTRAST: Final = "contrast"
GEOMETRY: Final = "geometry"

#: Precisions that layers may compute in.
FLOAT32: Final = "float32"
BFLOAT16: Final = "bfloat16"


@dataclass(frozen=True)
class Recipe:
    """Settings of one training; stored in the model card.

    Attributes:
        architecture: one of :data:`screening.training.networks.ARCHITECTURES`.
        epochs: passes over the training films; the averaged weights after the last one are the
            model.
        balanced: a pass has all films of the smaller class and as many of the larger one, drawn
            again for each pass; if there are several sources or views, each of these counts the
            same, too. Otherwise a pass has all films, weighted so that both classes count the same.
        size: rows and columns of the network's input, in pixels.
        films_per_epoch: maximum number of films in a balanced pass, which has at most twice those
            of the smaller class; 0 for no other limit.
        most_repeats: maximum number of times that a film of a rare source and view is drawn in one
            pass, on average.
        augmentation: ``hospitals``, ``contrast`` or ``geometry``.
        flip: share of the augmented films that are mirrored.
        exchange: share of the augmented films in which everything outside the lungs is replaced by
            that of another film.
        outside_evidence: weight of the penalty on evidence, for or against pneumonia, in cells of
            the map that lie outside the lungs; 0 for none.
        learning_rate: peak value, reached after the first epoch; it falls to zero as a half cosine.
        multipliers: factor on the learning rate by layer-name prefix. Layers with 0 are frozen,
            which halves the time of a step if these are the first layers.
        averaging: decay per batch of the exponential moving average of the weights.
        precision: what layers compute in while training. bfloat16 halves the time of large
            convolutions on processors that support it; the finished network is float32.
        protocol: how films are divided, see :mod:`screening.training.data.split`.
        test_share: share of the films that is used for the final figures only.
        validation_share: share of the films for calibration and the operating point.
        rule: chooses the threshold, see :mod:`screening.training.calibrate`.
        target: sensitivity or specificity that the rule reaches on validation.
        normals_called: maximum share of the reliable normal films that may be called pneumonia, in
            each view of the sources without pneumonia; the threshold is raised to meet it.
        calibrated_prevalence: share of pneumonia for which calibrated probabilities hold, above 0
            and below 1; None for that of the validation films.
    """

    architecture: str = DEFAULT
    epochs: int = 12
    batch: int = 32
    balanced: bool = True
    size: int = 224
    films_per_epoch: int = 0
    most_repeats: int = 6
    augmentation: str = HOSPITALS
    flip: float = 0.0
    exchange: float = 0.0
    outside_evidence: float = 0.0
    learning_rate: float = 5e-4
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    averaging: float = 0.99
    multipliers: dict[str, float] = field(default_factory=dict)
    pretrained: bool = True
    precision: str = FLOAT32
    protocol: str = "patient"
    test_share: float = 0.15
    validation_share: float = 0.15
    rule: str = "target-sensitivity"
    target: float = 0.95
    normals_called: float = 0.03
    calibrated_prevalence: float | None = 0.5
    seed: int = 1

    @property
    def needs_lungs(self) -> bool:
        """True if the training needs the lung fields of its films."""
        return self.exchange > 0 or self.outside_evidence > 0


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """The preprocessing that the recipe's network expects, at the recipe's size."""
    own = PREPROCESSING[recipe.architecture]
    return replace(own, rows=recipe.size, columns=recipe.size)


#: Early layers are nearly right after pretraining and need small steps.
_LITE0_MULTIPLIERS: Final = (
    {"stem": 0.1}
    | {f"block{index}_": 0.1 for index in range(5)}
    | {f"block{index}_": 0.4 for index in range(5, 11)}
    | {"logits": 4.0}
)


def default_recipe(architecture: str) -> Recipe:
    """The default settings of an architecture."""
    if architecture == DEFAULT:
        return Recipe(
            epochs=24,
            films_per_epoch=2560,
            augmentation=CONTRAST,
            flip=0.5,
            exchange=0.6,
            outside_evidence=0.1,
            learning_rate=1.5e-3,
            multipliers=dict(_LITE0_MULTIPLIERS),
        )
    if architecture == "small":
        return Recipe(architecture=architecture, epochs=40, learning_rate=2e-3, pretrained=False)
    return Recipe(
        architecture=architecture,
        epochs=13,
        batch=16,
        balanced=False,
        augmentation=GEOMETRY,
        learning_rate=1.5e-4,
        label_smoothing=0.0,
        pretrained=False,
        calibrated_prevalence=None,
    )
