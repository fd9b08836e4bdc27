"""From a MODEL to a BUNDLE: convert, reopen, compare, and only then write."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from exports import documents
from exports.bundle import Bundle, seal
from exports.convert.convert import convert, converters
from exports.convert.keras import KerasPredictor
from exports.errors import ExportError
from exports.parity import PARITY, Parity, compare, predicted, write_parity
from exports.runtimes.load import load_target
from exports.selftest import write_selftest
from exports.targets import Target
from screening.card import WEIGHTS, Card, sha256_of
from screening.errors import NotAFilm, UnreadableFilm
from screening.films import discover, film_path
from screening.pixels.readers import open_film
from screening.preprocess import Preprocessing, Tensor
from screening.training.data.manifest import read_manifest
from screening.whole import whole

#: Fewer films cannot show that decisions stay the same.
FEWEST_FILMS: Final = 200
_MOST_FILMS: Final = 600


def export(
    model: Path,
    bundle: Path,
    films: Path | None,
    targets: Sequence[Target],
    say: Callable[[str], None],
) -> Bundle:
    """Convert the model in `model`, compare on real films, and write `bundle`.

    Args:
        films: a folder of films or a manifest; by default what the model was trained on.
        targets: what to convert to.
        say: told what is being done.

    Raises:
        ExportError: if the model or the films cannot be used, or a conversion changes decisions;
            no bundle is left then.
    """
    card = Card.read(model)
    if sha256_of(model / WEIGHTS) != card.weights_sha256:
        raise ExportError(f"{model / WEIGHTS} does not have the hash in its card")
    original = KerasPredictor(model / WEIGHTS)
    hashes, tensors = _read_films(films or _training_films(card, model), card.preprocessing)
    say(f"comparing on {len(tensors)} films")
    expected = predicted(original, tensors)
    try:
        with whole(bundle) as aside:
            parities = []
            for target in targets:
                convert(original.network, target, aside)
                given = predicted(load_target(aside, target), tensors)
                parity = compare(target, expected, given, card)
                parities.append(parity)
                say(
                    f"{target.name}: largest difference {parity.largest:.2g}, "
                    f"{parity.flips} of {len(tensors)} decisions differ"
                )
            _refuse_breaches(parities)
            write_parity(aside / PARITY, hashes, parities)
            bundled = _bundled(card, parities)
            bundled.write(aside)
            write_selftest(aside, bundled, original)
            documents.write_documents(aside, bundled, targets)
            seal(aside)
    except OSError as error:
        raise ExportError(f"the bundle {bundle} cannot be written: {error.strerror}") from error
    return Bundle.open(bundle)


def _refuse_breaches(parities: Sequence[Parity]) -> None:
    breaches = [f"{parity.target.name}: {parity.breach}" for parity in parities if parity.breach]
    if breaches:
        raise ExportError("no bundle was written; " + "; ".join(breaches))


def _bundled(card: Card, parities: Sequence[Parity]) -> Card:
    """The card as it travels: without the path of the training films."""
    training = {name: value for name, value in card.training.items() if name != "data"}
    exports = {
        "command": "screening export MODEL --out BUNDLE"
        + "".join(f" --target {parity.target.name}" for parity in parities),
        "targets": {parity.target.name: parity.as_dict() for parity in parities},
        "software": converters(),
    }
    return replace(card, training=training, exports=exports)


def _training_films(card: Card, model: Path) -> Path:
    data = Path(card.training.get("data", ""))
    if not card.training.get("data") or not data.exists():
        raise ExportError(
            f"the training films of {model} are not at {data}; name a folder of films with --films"
        )
    return data


def _film_paths(data: Path) -> list[Path]:
    """The films of a folder, or those that a manifest names."""
    if data.is_file():
        return [film.path for film in read_manifest(data)]
    return [film_path(data, found.film) for found in discover(data) if found.is_file]


def _read_films(films: Path, preprocessing: Preprocessing) -> tuple[list[str], list[Tensor]]:
    """Hashes and tensors of films spread evenly over a folder or manifest."""
    paths = _film_paths(films)
    step = max(1, len(paths) // _MOST_FILMS)
    hashes, tensors = [], []
    for path in paths[::step]:
        data = path.read_bytes()
        try:
            grey, _warnings = open_film(data, path.name).decode()
        except (NotAFilm, UnreadableFilm):
            continue
        hashes.append(hashlib.sha256(data).hexdigest())
        tensors.append(preprocessing.tensor(grey))
    if len(tensors) < FEWEST_FILMS:
        raise ExportError(
            f"{films} has {len(tensors)} readable films, at least {FEWEST_FILMS} are needed "
            "to compare decisions; name more with --films"
        )
    return hashes, tensors
