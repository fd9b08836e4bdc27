"""Measure how soon drift detection finds a change, and how often it raises a false alarm.

``python benchmarks/drift.py BUNDLE --data FOLDER --adults FOLDER --cache ROWS.json``: films that
the model of the bundle was not trained on are scored once, unchanged and changed. Runs of 100 films
are then drawn from their rows many times.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from exports.bundle import Bundle
from exports.runtimes.load import load
from screening.files import discover, found_at
from screening.imaging.film import Grey
from screening.inference.pipeline import Screener, Seen
from screening.inference.reader import Reader
from screening.model.drift_baseline import DriftBaseline
from screening.privacy import PatientKey
from screening.report.drift.drift_csv import breaches
from screening.report.drift.model_comparison import control
from screening.report.drift.profile import NightProfile
from screening.results import CLASSES, NORMAL, PNEUMONIA, Row
from screening.training import fit_image_gate
from screening.training.data.dataset import read_collection
from screening.training.data.manifest import LabelledFilm, read_manifest
from screening.training.data.split import divide
from screening.training.fit_image_gate import FRONTAL

_BATCH: Final = 32

Pools = dict[str, list[Row]]

#: Changes of a stream by name, as functions from grey values 0..1 to grey values 0..1.
CHANGES: Final[dict[str, Callable[[Grey], Grey]]] = {
    "exposure x 0.9": lambda grey: grey * 0.9,
    "exposure x 0.8": lambda grey: grey * 0.8,
    "exposure x 1.2": lambda grey: np.minimum(grey * 1.2, 1),
    "gamma 0.8": lambda grey: grey**0.8,
    "gamma 1.25": lambda grey: grey**1.25,
}

#: Films per run, runs of an unchanged stream, and runs within which a change must be found.
FILMS: Final = 100
NIGHTS: Final = 20
SOON: Final = 3

#: Share of films with pneumonia.
PREVALENCE: Final = 0.1

ADULTS: Final = "adults"
PICTURES: Final = "pictures"


@dataclass(frozen=True)
class Stream:
    """A stream of films from which runs are drawn.

    Attributes:
        change: change of all films; empty for none.
        prevalence: share of films with pneumonia.
        swing: standard deviation of `prevalence` between runs.
        others: pool that replaces a share of the films; empty for none.
        share: share of films taken from `others`.
    """

    change: str = ""
    prevalence: float = PREVALENCE
    swing: float = 0.0
    others: str = ""
    share: float = 0.0

    def night(self, pools: Pools, rng: np.random.Generator) -> NightProfile:
        """Draw a run of :data:`FILMS` films, each at most once."""
        prevalence = min(max(self.prevalence + self.swing * rng.standard_normal(), 0), 1)
        others = rng.binomial(FILMS, self.share)
        positive = rng.binomial(FILMS - others, prevalence)
        suffix = f", {self.change}" if self.change else ""
        wanted = {
            f"{PNEUMONIA}{suffix}": positive,
            f"{NORMAL}{suffix}": FILMS - others - positive,
            self.others: others,
        }
        return NightProfile.of(
            pools[name][at]
            for name, number in wanted.items()
            if number
            for at in rng.choice(len(pools[name]), number, replace=False)
        )


#: Changed streams by name; each follows an unchanged stream.
STREAMS: Final = {
    **{name: Stream(change=name) for name in CHANGES},
    "prevalence 10 -> 20 %": Stream(prevalence=0.2),
    "a fifth adult films": Stream(others=ADULTS, share=0.2),
    "a tenth no chest films": Stream(others=PICTURES, share=0.1),
}


def main() -> None:
    """Score the films unless they are cached, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adults", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--streams", type=int, default=200)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    if not arguments.cache.exists():
        rows = score(bundle, arguments.data, arguments.adults)
        kept = {name: [row.as_dict() for row in pool] for name, pool in rows.items()}
        arguments.cache.write_text(json.dumps(kept), encoding="utf-8")
    kept = json.loads(arguments.cache.read_text(encoding="utf-8"))
    pools = {name: [Row.from_dict(row) for row in pool] for name, pool in kept.items()}
    reference = bundle.card.reference
    print("| 20 nights | no alarm | one | more | told by |\n| --- | --- | --- | --- | --- |")
    for name, swing in {
        "unchanged": 0.0,
        "pneumonia in 10 % of the films, give or take 3 points a night": 0.03,
    }.items():
        _say_alarms(name, pools, reference, Stream(swing=swing), arguments.streams)
    print("| change | 1 night | 2 | 3 | told by |\n| --- | --- | --- | --- | --- |")
    for name, stream in STREAMS.items():
        _say_found(name, pools, reference, stream, arguments.streams)


def alarms(
    pools: Pools, reference: DriftBaseline | None, stream: Stream, seed: int
) -> list[frozenset[str]]:
    """Return the measures beyond a limit in each run of an unchanged stream."""
    rng = np.random.default_rng(seed)
    nights = [stream.night(pools, rng) for _ in range(NIGHTS)]
    return [breached(nights[number], nights[:number], reference) for number in range(len(nights))]


def found(
    pools: Pools, reference: DriftBaseline | None, stream: Stream, seed: int
) -> list[frozenset[str]]:
    """Return the measures beyond a limit in each of the first runs after a change."""
    rng = np.random.default_rng(seed)
    nights = [Stream().night(pools, rng) for _ in range(NIGHTS)]
    seen = []
    for _ in range(SOON):
        tonight = stream.night(pools, rng)
        seen.append(breached(tonight, nights, reference))
        nights.append(tonight)
    return seen


def breached(
    tonight: NightProfile, earlier: list[NightProfile], reference: DriftBaseline | None
) -> frozenset[str]:
    """Return the measures beyond a limit in one run."""
    lines = control(tonight, earlier, reference)
    return frozenset(line.measure for line in breaches(lines))


def _say_alarms(
    name: str, pools: Pools, reference: DriftBaseline | None, stream: Stream, streams: int
) -> None:
    raised = [alarms(pools, reference, stream, seed) for seed in range(streams)]
    numbers = [sum(map(bool, nights)) for nights in raised]
    shares = (
        sum(n == 0 for n in numbers),
        sum(n == 1 for n in numbers),
        sum(n > 1 for n in numbers),
    )
    cells = " | ".join(f"{share / streams:.3f}" for share in shares)
    which = Counter(measure for nights in raised for night in nights for measure in night)
    told = ", ".join(f"{measure} {count}" for measure, count in which.most_common())
    print(f"| {name} | {cells} | {told} |", flush=True)


def _say_found(
    name: str, pools: Pools, reference: DriftBaseline | None, stream: Stream, streams: int
) -> None:
    runs = [found(pools, reference, stream, seed) for seed in range(streams)]
    within = [sum(any(run[: nights + 1]) for run in runs) / streams for nights in range(SOON)]
    which = Counter(measure for run in runs for measure in frozenset().union(*run))
    often = [measure for measure, count in which.most_common() if count >= streams / 2]
    cells = " | ".join(f"{share:.3f}" for share in within)
    print(f"| {name} | {cells} | {', '.join(often)} |", flush=True)


def score(bundle: Bundle, data: Path, adults: Path) -> dict[str, list[Row]]:
    """Score each pool of films: by class, by class and change, adults, and other pictures."""
    unseen = _unseen(bundle, data)
    pools = {}
    for finding, label in zip(CLASSES, range(len(CLASSES)), strict=True):
        films = [film.path for film in unseen if film.label == label]
        pools[finding] = rows_of(bundle, films)
        for name, change in CHANGES.items():
            pools[f"{finding}, {name}"] = rows_of(bundle, films, change)
    names = [found.film for found in discover(adults) if not found.film.endswith(".csv")]
    pools[ADULTS] = rows_of(bundle, [adults / name for name in names])
    folder = Path(fit_image_gate.__file__).with_name("gate_pictures")
    shown = [
        path for path in sorted(folder.glob("*.[jp][pn]g")) if not path.stem.startswith(FRONTAL)
    ]
    pools[PICTURES] = rows_of(bundle, shown)
    return pools


def _unseen(bundle: Bundle, data: Path) -> list[LabelledFilm]:
    """List the validation and test films, split as recorded in the card."""
    training, recipe = bundle.card.training, bundle.card.training["recipe"]
    films = read_manifest(data, training["patient_pattern"])
    with ThreadPoolExecutor() as pool:
        collection = read_collection(films, bundle.card.preprocessing, pool)
    sides, _duplicates = divide(
        collection,
        recipe["protocol"],
        recipe["validation_share"],
        recipe["test_share"],
        recipe["seed"],
    )
    return [*sides.validation, *sides.test]


def rows_of(
    bundle: Bundle, films: Iterable[Path], change: Callable[[Grey], Grey] | None = None
) -> list[Row]:
    """Score films, optionally changed before inference; batches do not share seen files."""
    preprocessing = bundle.card.preprocessing
    predictor, key = load(bundle.path), PatientKey(bytes(32))
    rows: list[Row] = []
    paths = list(films)
    for start in range(0, len(paths), _BATCH):
        read = []
        for path in paths[start : start + _BATCH]:
            reader = Reader(path.parent, preprocessing)
            film = reader.read(found_at(path))
            if change is not None and film.tensor is not None:
                grey = change(preprocessing.grey(film.tensor))
                film = replace(film, tensor=preprocessing.tensor(np.asarray(grey, np.float32)))
            read.append(film)
        screener = Screener(reader, bundle.card, bundle.sha256, predictor, key)
        rows += screener.rows(screener.examiner.examine(read), Seen())
    return rows


if __name__ == "__main__":
    main()
