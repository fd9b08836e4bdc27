"""Tests of the selection of the real films that an export compares on."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from exports.errors import ExportError
from exports.samples import FEWEST, UNLABELLED, Films
from makers import encoded, grey_film, write_film
from screening.errors import TrainingDataError
from screening.imaging.readers import open_film
from screening.results import CLASSES, NORMAL
from trained_folder import Collection, labels_of, name_of, sha256, write_list, write_small

#: Minimum number of films in most tests; the real limits are tested separately.
FEW = 10


@pytest.fixture(autouse=True)
def few_are_enough(request, monkeypatch):
    if "real_limits" not in request.fixturenames:
        monkeypatch.setattr("exports.samples.FEWEST", FEW)


@pytest.fixture
def real_limits():
    """Use the real minimum number of films."""


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path)


def test_validation_films_are_used_for_comparison(collection):
    collection.add("training", 10, 10)
    names = collection.add("validation", 6, 7)
    collection.add("test", 10, 10)
    films = collection.compared()
    assert collection.names(films) == sorted(names)
    assert list(films.labels) == labels_of(sorted(names))
    assert films.tensors.shape == (13, 32, 32, 1)
    assert films.tensors.dtype == np.float32


def test_films_are_read_as_in_a_run(collection):
    collection.add("validation", 6, 6)
    path = write_film(collection.data / name_of(NORMAL, 900), seed=3, brightness=0.7)
    write_list(collection.model / "validation.csv", [name_of(NORMAL, 900)])
    films = collection.compared()
    assert films.sha256[0] == sha256(path)
    preprocessing = collection.card.preprocessing
    night = open_film(path.read_bytes(), path.name).decoded(preprocessing.side)
    assert night.decoding == "mean/2"
    expected = preprocessing.normalise(preprocessing.shown(night))
    np.testing.assert_array_equal(films.tensors[0], expected)


def test_too_few_validation_films_are_topped_up_with_test_films(collection):
    collection.add("training", 10, 10)
    validation = collection.add("validation", 2, 2)
    test = collection.add("test", 10, 10)
    names = collection.names(collection.compared())
    assert len(names) == FEW
    assert sorted(names[:4]) == sorted(validation)
    assert set(names[4:]) < set(test)
    assert set(labels_of(names[4:])) == {0, 1}


def test_too_few_test_films_are_topped_up_with_training_films(collection):
    training = collection.add("training", 10, 10)
    validation = collection.add("validation", 2, 2)
    test = collection.add("test", 1, 1)
    names = collection.names(collection.compared())
    assert len(names) == FEW
    assert set(names[:4]) == set(validation)
    assert set(names[4:6]) == set(test)
    assert set(names[6:]) < set(training)
    assert set(labels_of(names[6:])) == {0, 1}


def test_without_held_out_lists_any_films_are_used(collection):
    names = collection.add("training", 10, 10)
    assert set(collection.names(collection.compared())) < set(names)


def test_200_films_are_enough_and_199_are_not(collection, real_limits):
    collection.add("training", 50, 49)
    collection.add("validation", 50, 50)
    with pytest.raises(ExportError, match="has 199 readable films, but at least 200 are needed"):
        collection.compared()
    collection.add("training", 1, 0)
    assert len(collection.compared().sha256) == FEWEST == 200


def test_very_many_films_are_sampled_evenly(collection, monkeypatch):
    monkeypatch.setattr("exports.samples._MOST", 12)
    names = sorted(collection.add("validation", 30, 30))
    chosen = [names.index(name) for name in collection.names(collection.compared())]
    assert len(chosen) == 12
    assert (chosen[0], chosen[-1]) == (0, 59)
    assert set(np.diff(chosen)) <= {5, 6}
    # Films of any folder are sampled in the same way.
    films = collection.compared(films=collection.data)
    assert [names.index(name) for name in collection.names(films)] == chosen


def test_at_most_a_thousand_films_are_used(collection, real_limits, monkeypatch):
    # The films are not read.
    monkeypatch.setattr("exports.samples._read", lambda films, _preprocessing: iter(films))
    monkeypatch.setattr("exports.samples._films", list)
    first = collection.add("validation", 1, 1)
    names = [name_of(NORMAL, 9000 + number) for number in range(1200)]
    for name in names:
        (collection.data / name).write_bytes(b"")
    write_list(collection.model / "validation.csv", [*first, *names])
    assert len(collection.compared()) == 1000


def test_other_films_can_be_given(collection, tmp_path):
    collection.add("validation", 10, 10)
    elsewhere = Collection.__new__(Collection)
    elsewhere.data = tmp_path / "elsewhere"
    names = [name_of(label, number) for label in CLASSES for number in range(6)]
    for name in names:
        write_small(elsewhere.data / name)
    films = collection.compared(films=elsewhere.data)
    assert elsewhere.names(films) == sorted(names)
    assert list(films.labels) == labels_of(sorted(names))
    assert films.patients == 12


def test_other_films_do_not_require_the_training_films(collection, tmp_path):
    shutil.rmtree(collection.data, ignore_errors=True)
    for number in range(FEW):
        write_small(tmp_path / "elsewhere" / f"{number}.png")
    assert len(collection.compared(films=tmp_path / "elsewhere").sha256) == FEW


def test_films_of_a_folder_without_classes_have_no_label(collection, tmp_path):
    folder = tmp_path / "night"
    for number in range(FEW):
        write_small(folder / f"ward{number % 2}" / f"film{number}")
    films = collection.compared(films=folder)
    assert list(films.labels) == [UNLABELLED] * FEW
    # Their patients are unknown, too.
    assert films.patients is None
    assert films.as_dict()["patients"] is None
    paths = sorted(folder.rglob("film*"))
    assert films.sha256 == [sha256(path) for path in paths]


def test_films_of_a_folder_with_one_class_have_no_label(collection, tmp_path):
    for number in range(FEW):
        write_small(tmp_path / "night" / NORMAL / f"{number}.png")
    films = collection.compared(films=tmp_path / "night")
    assert set(films.labels) == {UNLABELLED}


def test_films_of_a_manifest_have_its_labels_and_patients(collection, tmp_path):
    lines = ["film,label,patient"]
    for number in range(12):
        write_small(tmp_path / "films" / f"{number:02}.png")
        lines.append(f"films/{number:02}.png,{number % 3 // 2},patient{number // 3}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    films = collection.compared(films=tmp_path / "manifest.csv")
    assert list(films.labels) == [0, 0, 1] * 4
    assert films.patients == 4


def test_patients_are_counted_by_the_pattern_of_the_card(tmp_path):
    collection = Collection(tmp_path)
    collection.add("validation", 3, 3, films=3)
    assert collection.compared().patients == 6
    training = collection.card.training | {"patient_pattern": "^(IM|person)"}
    collection.card = replace(collection.card, training=training)
    assert collection.compared().patients == 2


@pytest.mark.parametrize(
    "content", [b"", b"no film", encoded(grey_film(0))[:300]], ids=["empty", "text", "cut off"]
)
def test_unreadable_files_are_skipped(collection, content, tmp_path):
    names = collection.add("validation", 8, 8)
    (collection.data / names[3]).write_bytes(content)
    assert set(collection.names(collection.compared())) == set(names) - {names[3]}
    for number in range(FEW):
        write_small(tmp_path / "night" / f"{number}.png")
    (tmp_path / "night" / "thumbs.png").write_bytes(content)
    films = collection.compared(films=tmp_path / "night")
    assert len(films.sha256) == len(films.tensors) == len(films.labels) == FEW


def test_too_few_films_error_names_the_folder_and_the_option(collection, tmp_path):
    collection.add("validation", 2, 2)
    with pytest.raises(ExportError) as raised:
        collection.compared()
    for words in (str(collection.data), "has 4 readable films", f"at least {FEW}", "--films"):
        assert words in str(raised.value)
    write_small(tmp_path / "night" / "film")
    (tmp_path / "night" / "other").write_bytes(b"no film")
    with pytest.raises(ExportError) as raised:
        collection.compared(films=tmp_path / "night")
    for words in (str(tmp_path / "night"), "has 1 readable films", "--films"):
        assert words in str(raised.value)


def test_empty_folder_has_too_few_films(collection, tmp_path):
    (tmp_path / "night").mkdir()
    with pytest.raises(ExportError, match="has 0 readable films"):
        collection.compared(films=tmp_path / "night")


def test_missing_films_error_names_the_path(collection, tmp_path):
    with pytest.raises((ExportError, TrainingDataError), match=f"{tmp_path / 'nowhere'} is"):
        collection.compared(films=tmp_path / "nowhere")


@pytest.mark.parametrize("choose", ["compared", "calibrated"])
@pytest.mark.parametrize("known", [True, False], ids=["moved", "not recorded"])
def test_missing_training_films_error_names_both_options(collection, choose, known):
    collection.add("validation", 10, 10)
    if known:
        collection.data.rename(collection.data.with_name("archive"))
    else:
        collection.card = replace(collection.card, training={})
    with pytest.raises(ExportError) as raised:
        getattr(collection, choose)()
    for words in (str(collection.model), "--training-films", "--films"):
        assert words in str(raised.value)
    if known:
        assert str(collection.data) in str(raised.value)


@pytest.mark.parametrize("choose", ["compared", "calibrated"])
def test_moved_training_films_can_be_given(collection, choose):
    collection.add("training", 10, 10)
    validation = collection.add("validation", 10, 10)
    before = getattr(collection, choose)()
    moved = collection.data.with_name("archive")
    collection.data.rename(moved)
    after = getattr(collection, choose)(training=[moved])
    assert after.sha256 == before.sha256
    held_out = {sha256(moved / name) for name in validation}
    assert set(after.sha256).isdisjoint(held_out) is (choose == "calibrated")


@pytest.fixture
def several(tmp_path):
    """A model trained with three DATA, one of which was left out."""
    collection = Collection(tmp_path)
    for source, number in (("left", 20), ("one", 10), ("two", 10)):
        names = [f"{NORMAL}/{source}{n}.png" for n in range(number)]
        if source != "two":
            names += [f"PNEUMONIA/{source}{n}.jpg" for n in range(number)]
        for name in names:
            write_small(collection.data / source / name)
    held_out = [f"{source}/{NORMAL}/{source}{n}.png" for source in ("one", "two") for n in range(6)]
    write_list(collection.model / "validation.csv", held_out)
    training = {
        "data": [str(collection.data / source) for source in ("left", "one", "two")],
        "data_names": ["left", "one", "two"],
        "left_out": ["left"],
    }
    collection.card = replace(collection.card, training=training)
    return collection


@pytest.mark.parametrize("moved", [False, True])
def test_films_of_several_data_are_found(several, moved):
    places = ()
    if moved:
        places = [
            (several.data / name).rename(several.data / f"moved {name}")
            for name in ("left", "one", "two")
        ]
    compared = several.names(several.compared(training=places))
    assert len(compared) == 12
    assert all(NORMAL in name for name in compared)
    calibrated = several.names(several.calibrated(training=places))
    assert len(calibrated) == 18
    assert not any("left" in name for name in calibrated)
    assert not {*calibrated} & {*compared}


def test_all_moved_data_must_be_given(several):
    with pytest.raises(ExportError, match=r"trained with 3 DATA: left, one, two; give --training"):
        several.compared(training=[several.data / "one"])


def test_more_data_than_in_the_training_are_refused(collection):
    with pytest.raises(ExportError, match=r"was trained with 1 DATA: .*data; give"):
        collection.compared(training=[collection.data, collection.model])


def test_missing_data_error_names_each_path(several):
    for name in ("one", "two"):
        (several.data / name).rename(several.data / f"moved {name}")
    with pytest.raises(ExportError, match=r"not at .*/one and .*/two; .*--training-films"):
        several.compared()


def films(sha256, patients=3):
    return Films(sha256, np.zeros(len(sha256)), np.zeros((len(sha256), 2, 2, 1)), patients)


def test_card_records_counts_and_one_hash_over_all_films():
    recorded = films(["b" * 64, "a" * 64]).as_dict()
    assert recorded == {
        "films": 2,
        "patients": 3,
        "sha256": hashlib.sha256(f"{'a' * 64}\n{'b' * 64}".encode()).hexdigest(),
    }
    json.dumps(recorded)


def test_hash_depends_on_every_film_but_not_on_their_order():
    hashes = [letter * 64 for letter in "abcd"]
    recorded = films(hashes).as_dict()
    assert films(hashes[::-1]).as_dict() == recorded
    for others in (hashes[1:], [*hashes, hashes[0]], [*hashes[1:], "e" * 64]):
        assert films(others).as_dict()["sha256"] != recorded["sha256"]


def test_unreadable_film_is_replaced_by_another(collection):
    training = collection.add("training", 20, 20)
    collection.add("validation", 2, 2)
    chosen = collection.names(collection.compared())
    damaged = next(name for name in chosen if name in training)
    (collection.data / damaged).write_bytes(b"no film")
    assert len(collection.compared().sha256) == FEW


def test_film_with_a_read_error_is_skipped(collection, monkeypatch):
    names = collection.add("validation", 8, 8)
    broken = collection.data / names[3]
    read_bytes = type(broken).read_bytes

    def read(path):
        if path == broken:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(type(broken), "read_bytes", read)
    assert len(collection.compared().sha256) == 15
