"""Test drift alarms on streams of real films: changes are detected soon, with few false alarms."""

import pytest

from benchmarks.drift import (
    CHANGES,
    FRONTAL,
    PICTURES,
    SOON,
    STREAMS,
    Stream,
    alarms,
    found,
    rows_of,
)
from exports.bundle import SHIPPED, Bundle
from makers import PICTURES as FOLDER
from screening.results import CLASSES

FILMS = 200
SEEDS = range(5)
CHANGED = ("exposure x 0.9", "gamma 0.8")
NO_CHEST = 100


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(SHIPPED)


@pytest.fixture(scope="module")
def pools(bundle, real_films):
    """Rows of some films of each class, unchanged and changed, and of other images."""
    pools = {}
    for finding in CLASSES:
        paths = sorted((real_films / finding).iterdir())
        chosen = paths[:: max(1, len(paths) // FILMS)]
        pools[finding] = rows_of(bundle, chosen)
        for name in CHANGED:
            pools[f"{finding}, {name}"] = rows_of(bundle, chosen, CHANGES[name])
    shown = [path for path in sorted(FOLDER.glob("*.jpg")) if not path.stem.startswith(FRONTAL)]
    pools[PICTURES] = rows_of(bundle, shown[:: len(shown) // NO_CHEST])
    return pools


def test_unchanged_stream_raises_at_most_one_alarm(pools, bundle):
    numbers = [
        sum(map(bool, alarms(pools, bundle.card.reference, Stream(), seed))) for seed in SEEDS
    ]
    assert max(numbers) <= 1


@pytest.mark.parametrize("name", [*CHANGED, "prevalence 10 -> 20 %", "a tenth no chest films"])
def test_change_is_detected_within_three_nights(pools, bundle, name):
    runs = [found(pools, bundle.card.reference, STREAMS[name], seed) for seed in SEEDS]
    assert all(len(nights) == SOON for nights in runs)
    # In one of forty runs, three nights with twice as much pneumonia cannot be told from chance.
    assert sum(any(nights) for nights in runs) >= len(runs) - ("prevalence" in name)
