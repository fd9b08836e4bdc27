"""Train the network that segments the lung fields of a film, and run it on training films.

The network is a small U-Net (Ronneberger et al., MICCAI 2015). It is trained on films with manually
drawn masks, augmented strongly so that it also works on films of other hospitals, and on pictures
without lungs, whose target is an empty mask.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from PIL import Image, ImageDraw, ImageFilter

from screening.errors import NotAFilm, TrainingDataError, UnreadableFilm
from screening.imaging.raster import decode_raster
from screening.model.card import sha256_of
from screening.model.lungs import SIDE, LungCard, clean, lung_input
from screening.model.preprocess import Preprocessing
from screening.training.augment import (
    LIGHT_VIEWS,
    LUNG_VIEWS,
    change_look,
    geometry,
    lend_exposure,
    moved,
)
from screening.training.data.dataset import read_grey
from screening.training.data.manifest import compiled_pattern, patient_of
from screening.training.fit import TOO_LATE, compute_in_order
from screening.training.fit_image_gate import FRONTAL, read_examples
from screening.training.quantisation_ready import fold
from screening.training.serialise import save_network

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]

#: The lung network shipped with the package.
SHIPPED_LUNGS: Final = Path(__file__).parent / "lungs.keras"

#: Suffix of the file with the figures of a lung network.
_FIGURES: Final = ".json"

#: Name of the network's output.
LUNGS: Final = "lungs"

#: Size at which films are augmented, before they are reduced to 128 pixels.
_FULL: Final = Preprocessing(rows=224, columns=224)

#: Share of pictures without lungs in every batch.
_NEGATIVES: Final = 0.125

#: Share of films that are only moved a little, so that the network also sees nearly unchanged
#: films; and probability of simulated gas below the diaphragm, which looks like lung.
_LIGHT: Final = 0.25
_BUBBLES: Final = 0.2

#: Number of batches that are prepared ahead of the network.
_AHEAD: Final = 6

#: Steps between two progress lines.
_REPORTED: Final = 100

_CONVOLUTION: Final[dict[str, Any]] = {"padding": "same", "use_bias": False}


@dataclass(frozen=True)
class LungRecipe:
    """Settings of one training of the lung network.

    Attributes:
        steps: number of training batches.
        batch: films and negative pictures in one step.
        learning_rate: peak value; it falls to zero as a half cosine.
        averaging: decay per step of the moving average of the weights.
        held_out: share of the patients that the network is evaluated on.
        seed: the same seed gives the same split and the same films in the same order.
    """

    steps: int = 5000
    batch: int = 16
    learning_rate: float = 3e-3
    averaging: float = 0.995
    held_out: float = 0.15
    seed: int = 1


@dataclass(frozen=True, eq=False)
class MaskedFilms:
    """Films with manually drawn lung masks.

    Attributes:
        names: file names without their suffix.
        patients: patient of each film; films of one patient are held out together.
        greys: shape (n, 224, 224), 0..255.
        masks: shape (n, 224, 224).
    """

    names: list[str]
    patients: list[str]
    greys: Bytes
    masks: Masks

    def chosen(self, indices: npt.NDArray[np.int64]) -> "MaskedFilms":
        """The films at these indices."""
        return MaskedFilms(
            [self.names[i] for i in indices],
            [self.patients[i] for i in indices],
            self.greys[indices],
            self.masks[indices],
        )

    def sha256(self) -> str:
        """One hash of all films and masks, independent of the file names."""
        pairs = zip(self.greys, self.masks, strict=True)
        digests = sorted(hashlib.sha256(g.tobytes() + m.tobytes()).hexdigest() for g, m in pairs)
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_masked_films(
    films: Path, masks: Path, patient_pattern: str, pool: Executor
) -> MaskedFilms:
    """Pair films and masks by their file names without the suffix.

    Args:
        films: folder of films, with or without sub-folders.
        masks: folder of PNG masks; lung is where a mask is not black.
        patient_pattern: a regular expression whose first group is the patient in a file name.

    Raises:
        TrainingDataError: if a mask has no film, a file cannot be read, or there are no masks.
    """
    pattern = compiled_pattern(patient_pattern)
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(films.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            by_stem.setdefault(path.stem, []).append(path)
    files = sorted(path for path in masks.rglob("*.png") if path.is_file())
    if not files:
        raise TrainingDataError(f"{masks} has no mask; a mask is a PNG file named like its film")
    for path in files:
        if (found := len(by_stem.get(path.stem, ()))) != 1:
            raise TrainingDataError(
                f"{path}: {found} films in {films} have this name, expected exactly one; rename or "
                "remove the mask"
            )
    paths = [by_stem[path.stem][0] for path in files]
    greys = np.stack(list(pool.map(lambda path: _bytes(read_grey(path, _FULL)), paths)))
    drawn = np.stack(list(pool.map(_read_mask, files)))
    patients = [patient_of(path.name, path.name, pattern) for path in paths]
    return MaskedFilms([path.stem for path in files], patients, greys, drawn)


def lung_network() -> keras.Model:
    """Build a U-Net with 16 to 64 channels on four levels, the highest at 64 pixels.

    The input is ``film``, shape (n, 128, 128, 1), from :func:`screening.model.lungs.lung_input`;
    the output is ``lungs``, shape (n, 128, 128, 1): the probability that a pixel is lung. Only the
    last, transposed convolution works at 128 pixels, because a level there would double the time.
    """
    inputs = layers.Input((SIDE, SIDE, 1), name="film")
    half = _conv(_conv(inputs, 16, 5, 2, "down1_1"), 16, 3, 1, "down1_2")
    quarter = _conv(_conv(half, 40, 3, 2, "down2_1"), 40, 3, 1, "down2_2")
    eighth = _conv(_conv(quarter, 64, 3, 2, "down3_1"), 64, 3, 1, "down3_2")
    lowest = _conv(_conv(eighth, 64, 3, 2, "down4_1"), 64, 3, 1, "down4_2")
    x = _up(lowest, eighth, 48, "up3")
    x = _up(x, quarter, 32, "up2")
    x = _up(x, half, 16, "up1")
    x = _conv(x, 16, 3, 1, "last")
    logits = layers.Conv2DTranspose(1, 2, 2, name="logits")(x)
    return keras.Model(inputs, layers.Activation("sigmoid", name=LUNGS)(logits), name="lungs")


def train_lungs(
    films: MaskedFilms, recipe: LungRecipe, pool: Executor, say: Callable[[str], None]
) -> tuple[keras.Model, dict[str, Any]]:
    """Train the lung network.

    Returns:
        The network, ready for deployment, and its figures on patients that it was not trained on.

    Raises:
        TrainingDataError: if there are too few patients to hold some out.
    """
    if not compute_in_order():
        say(TOO_LATE)
    training, held_out = _divided(films, recipe)
    say(f"training on {len(training.names)} films, measuring on {len(held_out.names)}")
    pictures = [example for example in read_examples(_FULL) if example.kind != FRONTAL]
    sources = sorted({example.source for example in pictures})
    # Every fifth source of pictures without lungs is held out.
    kept = set(sources[::5])
    negatives = [_bytes(example.grey) for example in pictures if example.source not in kept]
    keras.utils.set_random_seed(recipe.seed)
    network = lung_network()
    _fit(network, training, np.stack(negatives), recipe, pool, say)
    # Fold a copy without training state: a folded network is not trained further.
    fitted = lung_network()
    fitted.set_weights(network.get_weights())
    network = fold(fitted)
    unseen = [example.grey for example in pictures if example.source in kept]
    figures = measure_lungs(network, held_out) | {
        "training_films": len(training.names),
        "films_sha256": films.sha256(),
        "pictures_without_lungs": _empty_share(network, np.stack(unseen)),
        "parameters": int(network.count_params()),
        "steps": recipe.steps,
    }
    return network, figures


def measure_lungs(network: keras.Model, films: MaskedFilms) -> dict[str, Any]:
    """Dice and Jaccard of the cleaned masks against the drawn ones, over films, at 128 pixels."""
    found = find_lungs(network, films.greys)
    drawn = _small_masks(films.masks)
    both = (found & drawn).sum(axis=(1, 2))
    either = (found | drawn).sum(axis=(1, 2))
    dice = 2 * both / np.maximum(1, both + either)
    return {
        "held_out_films": len(dice),
        "dice": round(float(dice.mean()), 4),
        "dice_5_percent": round(float(np.quantile(dice, 0.05)), 4),
        "dice_least": round(float(dice.min()), 4),
        "jaccard": round(float((both / np.maximum(1, either)).mean()), 4),
    }


def find_lungs(network: keras.Model, greys: Bytes | Floats) -> Masks:
    """The lung fields of films, cleaned as in a screening run.

    Args:
        greys: films, shape (n, rows, columns), 0..255 in bytes or 0..1 in float32.

    Returns:
        Shape (n, 128, 128).
    """
    parts = []
    for start in range(0, len(greys), 64):
        batch = greys[start : start + 64].astype(np.float32)
        if greys.dtype == np.uint8:
            batch /= np.float32(255)
        inputs = np.stack([lung_input(grey) for grey in batch])
        answers = np.asarray(network.predict_on_batch(inputs))[..., 0]
        parts.append(np.stack([clean(answer) for answer in answers]))
    return np.concatenate(parts) if parts else np.empty((0, SIDE, SIDE), bool)


def lung_masks(network: keras.Model, greys: Bytes | Floats) -> Bytes:
    """The lung fields at the films' own size, of the same shape as `greys`, 0 or 255."""
    size = (greys.shape[2], greys.shape[1])
    masks = np.empty(greys.shape, np.uint8)
    for start in range(0, len(greys), 256):
        found = find_lungs(network, greys[start : start + 256])
        for index, mask in enumerate(found, start=start):
            image = Image.fromarray(mask.astype(np.uint8) * 255)
            grown = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
            masks[index] = (grown >= 128).astype(np.uint8) * 255
    return masks


def save_lungs(network: keras.Model, figures: dict[str, Any], path: Path) -> None:
    """Write the network as a reproducible file, and its figures next to it."""
    save_network(network, path)
    text = json.dumps(figures, indent=2)
    path.with_suffix(_FIGURES).write_text(text + "\n", encoding="utf-8")


def lung_card(path: Path) -> LungCard:
    """The card entry for the lung network in a file: its hash, and its figures if they exist.

    Raises:
        TrainingDataError: if the figures cannot be read.
    """
    figures_path = path.with_suffix(_FIGURES)
    try:
        figures = (
            json.loads(figures_path.read_text(encoding="utf-8")) if figures_path.exists() else {}
        )
    except (OSError, ValueError) as error:
        raise TrainingDataError(f"{figures_path} cannot be read: {error}") from error
    return LungCard(sha256_of(path), figures=figures)


def load_lungs(path: Path) -> keras.Model:
    """Read a lung network.

    Raises:
        TrainingDataError: if the file is not a lung network.
    """
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many exception types
        raise TrainingDataError(f"{path} cannot be read as a lung network: {error}") from error
    if network.input_shape[1:] != (SIDE, SIDE, 1) or network.output_shape[1:] != (SIDE, SIDE, 1):
        raise TrainingDataError(
            f"{path} is not a lung network: it maps {network.input_shape} to {network.output_shape}; "
            "`screening train-lungs` makes one"
        )
    return network


def _conv(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(filters, kernel, stride, name=f"{name}_conv", **_CONVOLUTION)(x)
    x = layers.BatchNormalization(momentum=0.98, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _up(x: Any, skip: Any, filters: int, name: str) -> Any:
    """Reduce channels first: at the lower level the same convolution costs a quarter."""
    x = _conv(x, filters, 1, 1, f"{name}_squeeze")
    x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_upsample")(x)
    x = layers.Concatenate(name=f"{name}_concat")([x, skip])
    return _conv(x, filters, 3, 1, name)


def _loss(drawn: Any, answer: Any) -> Any:
    """Cross-entropy, plus the Dice loss of Milletari et al. (3DV 2016) for films with lungs."""
    ops = keras.ops
    entropy = ops.mean(keras.losses.binary_crossentropy(drawn, answer))
    both = ops.sum(drawn * answer, axis=(1, 2, 3))
    size = ops.sum(drawn + answer, axis=(1, 2, 3))
    has_lungs = ops.cast(ops.sum(drawn, axis=(1, 2, 3)) > 0, "float32")
    dice = 1 - (2 * both + 1) / (size + 1)
    return entropy + ops.sum(has_lungs * dice) / ops.maximum(ops.sum(has_lungs), 1)


def _fit(
    network: keras.Model,
    training: MaskedFilms,
    negatives: Bytes,
    recipe: LungRecipe,
    pool: Executor,
    say: Callable[[str], None],
) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20,
        decay_steps=max(1, recipe.steps - recipe.steps // 20),
        warmup_target=recipe.learning_rate,
        warmup_steps=max(1, recipe.steps // 20),
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=0.01,
        use_ema=True,
        ema_momentum=min(recipe.averaging, max(0.0, 1 - 10 / recipe.steps)),
        ema_overwrite_frequency=None,
    )
    network.compile(optimizer, _loss)
    started, losses = time.perf_counter(), []
    for step, (inputs, drawn) in enumerate(_batches(training, negatives, recipe, pool), start=1):
        losses.append(float(network.train_on_batch(inputs, drawn)))
        if step % _REPORTED == 0 or step == recipe.steps:
            seconds = time.perf_counter() - started
            say(f"step {step}/{recipe.steps}: loss {np.mean(losses):.4f}, {seconds:.0f} s")
            losses = []
    network.optimizer.finalize_variable_values(network.trainable_variables)


def _batches(
    training: MaskedFilms, negatives: Bytes, recipe: LungRecipe, pool: Executor
) -> Iterator[tuple[Floats, Floats]]:
    """Augmented films and masks, computed a few batches ahead."""
    empty = np.zeros(training.masks.shape[1:], bool)
    fewer = round(recipe.batch * _NEGATIVES)

    def begin(step: int) -> list[Any]:
        rng = np.random.default_rng((recipe.seed, step))
        chosen = rng.integers(len(training.greys), size=recipe.batch - fewer)
        without = rng.integers(len(negatives), size=fewer)
        pairs = [(training.greys[i], training.masks[i]) for i in chosen]
        pairs += [(negatives[i], empty) for i in without]
        lenders = training.greys[rng.integers(len(training.greys), size=len(pairs))]
        return [
            pool.submit(_changed, *pair, lender, (recipe.seed, step, place))
            for place, (pair, lender) in enumerate(zip(pairs, lenders, strict=True))
        ]

    pending = deque(begin(step) for step in range(min(_AHEAD, recipe.steps)))
    for step in range(recipe.steps):
        views = [future.result() for future in pending.popleft()]
        if step + _AHEAD < recipe.steps:
            pending.append(begin(step + _AHEAD))
        yield np.stack([view[0] for view in views]), np.stack([view[1] for view in views])


def _changed(
    film: Bytes, mask: Masks, lender: Bytes, seed: tuple[int, int, int]
) -> tuple[Floats, Floats]:
    """Augment a film and its mask; network input and target, shape (128, 128, 1) each."""
    rng = np.random.default_rng(seed)
    is_light = rng.random() < _LIGHT
    if not is_light:
        film = lend_exposure(film, lender, rng)
    if mask.any() and rng.random() < _BUBBLES:
        film = _with_bubble(film, mask, rng)
    image, drawn = Image.fromarray(film), Image.fromarray(mask.astype(np.uint8) * 255)
    place = geometry(image.size, rng, LIGHT_VIEWS if is_light else LUNG_VIEWS)
    image = moved(image, place)
    changed = np.asarray(image) if is_light else change_look(image, rng)
    drawn = moved(drawn, place.on_black())
    if rng.random() < 0.5:
        changed, drawn = changed[:, ::-1], drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    inputs = lung_input(changed.astype(np.float32) / np.float32(255))
    small = drawn.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return inputs, np.asarray(small, np.float32)[..., np.newaxis] / np.float32(255)


def _with_bubble(film: Bytes, mask: Masks, rng: np.random.Generator) -> Bytes:
    """Add gas, as dark as lung, below the diaphragm: in the stomach or the bowel."""
    below, across = np.nonzero(mask)
    width, height = rng.uniform(0.05, 0.16) * mask.shape[1], rng.uniform(0.03, 0.1) * mask.shape[0]
    x, y = rng.choice(across), below.max() + rng.uniform(-0.3, 1.2) * height
    gas = Image.new("L", mask.shape[::-1])
    ImageDraw.Draw(gas).ellipse((x - width, y - height, x + width, y + height), fill=255)
    gas = gas.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))
    share = np.asarray(gas, np.float32) / np.float32(255) * rng.uniform(0.5, 1.0) * ~mask
    grey = np.quantile(film[mask], rng.uniform(0.02, 0.5))
    return np.asarray(film + share * np.minimum(grey - film, 0), np.uint8)


def _divided(films: MaskedFilms, recipe: LungRecipe) -> tuple[MaskedFilms, MaskedFilms]:
    patients = sorted(set(films.patients))
    order = np.random.default_rng(recipe.seed).permutation(len(patients))
    held = {patients[i] for i in order[: round(recipe.held_out * len(patients))]}
    if not held or len(held) == len(patients):
        raise TrainingDataError(
            f"the films are of {len(patients)} patients; more patients are needed, to measure the network"
        )
    is_held = np.array([patient in held for patient in films.patients])
    return films.chosen(np.flatnonzero(~is_held)), films.chosen(np.flatnonzero(is_held))


def _empty_share(network: keras.Model, greys: Floats) -> str:
    """Number of pictures of which less than a hundredth is taken for lung."""
    found = find_lungs(network, greys).mean(axis=(1, 2))
    return f"{int((found < 0.01).sum())} of {len(found)}"


def _small_masks(masks: Masks) -> Masks:
    images = [Image.fromarray(mask.astype(np.uint8) * 255) for mask in masks]
    small = [image.resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) >= 128 for image in small])


def _read_mask(path: Path) -> Masks:
    try:
        grey, _warnings = decode_raster(path.read_bytes())
    except (OSError, NotAFilm, UnreadableFilm) as error:
        raise TrainingDataError(
            f"{path} cannot be read as a mask: {error}; replace or remove it"
        ) from error
    return _FULL.resize(grey) >= 0.5


def _bytes(grey: Floats) -> Bytes:
    return np.rint(grey * 255).astype(np.uint8)
