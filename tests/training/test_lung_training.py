"""The lung network: its films, training on synthetic films, its file, and the shipped network."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from lung_films import made_films
from makers import encoded, write_film
from screening.errors import TrainingDataError
from screening.model.card import sha256_of
from screening.model.preprocess import Preprocessing
from screening.training import lung_fields
from screening.training.data.manifest import PATIENT_PATTERN
from screening.training.fit_image_gate import FRONTAL, Example, read_examples
from screening.training.lung_fields import (
    SHIPPED_LUNGS,
    LungRecipe,
    MaskedFilms,
    _changed,
    _divided,
    _with_bubble,
    find_lungs,
    load_lungs,
    lung_card,
    lung_masks,
    lung_network,
    measure_lungs,
    read_masked_films,
    save_lungs,
    train_lungs,
)

# Keras and NumPy 2 do not agree on an argument of __array__ yet.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RECIPE = LungRecipe(steps=2, batch=8, held_out=0.25)

FIGURES = {
    *("held_out_films", "dice", "dice_5_percent", "dice_least", "jaccard"),
    *("training_films", "films_sha256", "pictures_without_lungs", "parameters", "steps"),
}


class BrightLungs:
    """A fake lung network that segments everything brighter than the film's mean."""

    def predict_on_batch(self, inputs):
        return 1 / (1 + np.exp(-8 * (np.asarray(inputs) - 0.2)))


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def masked():
    """Twelve films of six patients, two each."""
    greys, masks = made_films([0, 1] * 6, side=224)
    names = [f"person{number // 2}_{number}" for number in range(12)]
    patients = [name.partition("_")[0] for name in names]
    return MaskedFilms(names, patients, np.rint(greys * 255).astype(np.uint8), masks)


@pytest.fixture(scope="module")
def pictures():
    """Ten pictures without lungs, instead of the hundreds in the package."""
    rng = np.random.default_rng(0)
    greys = rng.random((10, 224, 224), np.float32)
    examples = [Example("noise", str(number), grey) for number, grey in enumerate(greys)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lung_fields, "read_examples", lambda _preprocessing: examples)
        yield examples


@pytest.fixture(scope="module")
def trained(masked, pool, pictures):
    said = []
    network, figures = train_lungs(masked, RECIPE, pool, said.append)
    return network, figures, said


def write_pairs(folder, number=3):
    """Write films in sub-folders and masks with the same names."""
    greys, masks = made_films([0] * number, side=64)
    for index in range(number):
        film = folder / "films" / str(index % 2) / f"person{index}_1.png"
        film.parent.mkdir(parents=True, exist_ok=True)
        film.write_bytes(encoded(np.rint(greys[index] * 255).astype(np.uint8)))
        mask = folder / "masks" / f"person{index}_1.png"
        mask.parent.mkdir(exist_ok=True)
        mask.write_bytes(encoded(masks[index].astype(np.uint8) * 255))
    return folder / "films", folder / "masks"


def test_network_is_small_and_gives_a_probability_for_each_pixel():
    network = lung_network()
    assert network.count_params() <= 250_000
    inputs = np.random.default_rng(0).normal(0, 3, (2, 128, 128, 1)).astype(np.float32)
    answers = np.asarray(network.predict_on_batch(inputs))
    assert answers.shape == inputs.shape
    assert 0 <= answers.min() < answers.max() <= 1
    assert network.output_names == ["lungs"]


def test_films_and_masks_are_paired_by_name(tmp_path, pool):
    films, masks = write_pairs(tmp_path)
    write_film(films / "person7_1.png", 7)
    read = read_masked_films(films, masks, PATIENT_PATTERN, pool)
    assert read.names == ["person0_1", "person1_1", "person2_1"]
    assert len({*read.patients}) == 3
    assert read.greys.shape == read.masks.shape == (3, 224, 224)
    assert read.greys.dtype == np.uint8
    expected = made_films([0], side=224)[1][0]
    for grey, mask in zip(read.greys, read.masks, strict=True):
        assert (mask == expected).mean() > 0.98
        assert grey[mask].mean() > grey[~mask].mean() + 50


def test_film_may_have_another_suffix_than_its_mask(tmp_path, pool):
    films, masks = write_pairs(tmp_path, 1)
    path = films / "0" / "person0_1.png"
    with Image.open(path) as film:
        film.save(path.with_suffix(".jpg"))
    path.unlink()
    assert read_masked_films(films, masks, PATIENT_PATTERN, pool).names == ["person0_1"]


def test_hash_of_films_depends_on_pixels_only(masked):
    backwards = masked.chosen(np.arange(12)[::-1])
    renamed = replace(masked, names=["film"] * 12)
    assert masked.sha256() == backwards.sha256() == renamed.sha256()
    other = masked.masks.copy()
    other[3, 0, 0] ^= True
    assert replace(masked, masks=other).sha256() != masked.sha256()


def test_folder_without_masks_is_refused(tmp_path, pool):
    films, masks = write_pairs(tmp_path)
    for path in masks.iterdir():
        path.unlink()
    with pytest.raises(TrainingDataError, match="masks has no mask; a mask is a PNG file named"):
        read_masked_films(films, masks, PATIENT_PATTERN, pool)


@pytest.mark.parametrize("found", [0, 2])
def test_mask_without_exactly_one_film_is_refused(tmp_path, pool, found):
    films, masks = write_pairs(tmp_path)
    path = films / "1" / "person1_1.png"
    if found:
        (films / "person1_1.png").write_bytes(path.read_bytes())
    else:
        path.unlink()
    expected = rf"masks/person1_1\.png: {found} films in .*films have this name, .* rename"
    with pytest.raises(TrainingDataError, match=expected):
        read_masked_films(films, masks, PATIENT_PATTERN, pool)


def test_unreadable_mask_is_an_error_with_its_name(tmp_path, pool):
    films, masks = write_pairs(tmp_path)
    (masks / "person2_1.png").write_bytes(b"no picture")
    with pytest.raises(
        TrainingDataError, match=r"person2_1\.png cannot be read as a mask: .*remove"
    ):
        read_masked_films(films, masks, PATIENT_PATTERN, pool)


def test_unreadable_film_is_an_error_with_its_name(tmp_path, pool):
    films, masks = write_pairs(tmp_path)
    (films / "0" / "person2_1.png").write_bytes(b"no picture")
    with pytest.raises(TrainingDataError, match=r"0/person2_1\.png cannot be used for training"):
        read_masked_films(films, masks, PATIENT_PATTERN, pool)


def test_the_same_whole_patients_are_held_out_every_time(masked):
    training, held_out = _divided(masked, RECIPE)
    assert len(held_out.names) == 4
    assert not {*training.patients} & {*held_out.patients}
    assert sorted(training.names + held_out.names) == sorted(masked.names)
    assert _divided(masked, RECIPE)[1].names == held_out.names
    others = {tuple(_divided(masked, replace(RECIPE, seed=seed))[1].names) for seed in range(9)}
    assert len(others) > 1


def test_too_few_patients_are_refused(masked):
    for few in (masked.chosen(np.arange(2)), masked.chosen(np.arange(4))):
        with pytest.raises(TrainingDataError, match="more patients are needed"):
            _divided(few, replace(RECIPE, held_out=0.15))


def test_augmented_films_move_with_their_masks(masked):
    # The film is bright inside its lungs and black outside.
    film, mask = masked.masks[0].astype(np.uint8) * 200, masked.masks[0]
    for seed in range(20):
        inputs, drawn = _changed(film, mask, masked.greys[1], (1, 0, seed))
        assert inputs.shape == drawn.shape == (128, 128, 1)
        assert inputs.dtype == drawn.dtype == np.float32
        assert 0 <= drawn.min() < drawn.max() == 1
        assert inputs[drawn == 1].mean() > inputs[drawn == 0].mean() + 0.5


def test_picture_without_lungs_has_an_empty_mask(masked):
    empty = np.zeros((224, 224), bool)
    _inputs, drawn = _changed(masked.greys[0], empty, masked.greys[1], (1, 0, 0))
    assert (drawn == 0).all()


def test_gas_is_dark_and_outside_the_lungs(masked):
    mask = masked.masks[0]
    film = np.where(mask, 60, 180).astype(np.uint8)
    for seed in range(20):
        changed = _with_bubble(film, mask, np.random.default_rng(seed))
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(changed[mask], film[mask])
        assert (changed <= film).all()
        rows = np.flatnonzero((changed < film).any(axis=1))
        # Below the middle of the lungs, which is the middle of the film.
        assert not len(rows) or rows.min() > 112


def test_training_returns_all_figures(trained, masked):
    network, figures, said = trained
    assert {*figures} == FIGURES
    assert (figures["training_films"], figures["held_out_films"], figures["steps"]) == (8, 4, 2)
    assert figures["films_sha256"] == masked.sha256()
    assert figures["parameters"] == network.count_params() <= 250_000
    assert 0 <= figures["dice_least"] <= figures["dice_5_percent"] <= figures["dice"] <= 1
    assert figures["jaccard"] <= figures["dice"]
    assert json.loads(json.dumps(figures)) == figures
    # Every fifth source of pictures without lungs is held out.
    assert figures["pictures_without_lungs"].endswith(" of 2")
    assert "training on 8 films, measuring on 4" in said
    assert said[-1].startswith("step 2/2: loss ")


def test_same_seed_gives_the_same_file(trained, masked, pool, tmp_path):
    network, figures, _said = trained
    again, same = train_lungs(masked, RECIPE, pool, lambda _line: None)
    assert same == figures
    for name, each in (("once", network), ("again", again), ("untrained", lung_network())):
        save_lungs(each, figures, tmp_path / f"{name}.keras")
    once, twice, other = (
        sha256_of(tmp_path / f"{name}.keras") for name in ("once", "again", "untrained")
    )
    assert once == twice != other


def test_trained_network_has_no_norms_left(trained):
    network, _figures, _said = trained
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)


def test_network_is_the_same_after_saving_and_loading(trained, masked, tmp_path):
    network, figures, _said = trained
    save_lungs(network, figures, tmp_path / "lungs.keras")
    loaded = load_lungs(tmp_path / "lungs.keras")
    np.testing.assert_array_equal(
        find_lungs(loaded, masked.greys[:3]), find_lungs(network, masked.greys[:3])
    )
    content = (tmp_path / "lungs.keras").read_bytes()
    card = lung_card(tmp_path / "lungs.keras")
    assert card.sha256 == hashlib.sha256(content).hexdigest()
    assert card.figures == figures == json.loads((tmp_path / "lungs.json").read_text())


def test_card_of_a_network_without_figures_has_none(trained, tmp_path):
    save_lungs(trained[0], {}, tmp_path / "lungs.keras")
    (tmp_path / "lungs.json").unlink()
    assert lung_card(tmp_path / "lungs.keras").figures == {}


def test_unreadable_figures_are_an_error_with_their_name(trained, tmp_path):
    save_lungs(trained[0], {}, tmp_path / "lungs.keras")
    (tmp_path / "lungs.json").write_text("{")
    with pytest.raises(TrainingDataError, match=r"lungs\.json cannot be read"):
        lung_card(tmp_path / "lungs.keras")


def other_network(kind):
    inputs = keras.layers.Input((32, 32, 1), name="film")
    pooled = keras.layers.GlobalAveragePooling2D(name="embedding")(inputs)
    outputs = {"embedding": pooled, "score": keras.layers.Dense(2, name="score")(pooled)}
    return keras.Model(inputs, outputs if kind == "classifier" else outputs["score"])


@pytest.mark.parametrize("kind", ["classifier", "one output"])
def test_other_network_is_refused_as_a_lung_network(tmp_path, kind):
    path = tmp_path / "model.keras"
    other_network(kind).save(path)
    with pytest.raises(
        TrainingDataError, match=r"model\.keras is not a lung network: .*train-lungs"
    ):
        load_lungs(path)


@pytest.mark.parametrize("content", [None, b"no network"])
def test_file_that_is_not_a_network_is_an_error_with_its_name(tmp_path, content):
    path = tmp_path / "lungs.keras"
    if content:
        path.write_bytes(content)
    with pytest.raises(TrainingDataError, match=r"lungs\.keras cannot be read as a lung network"):
        load_lungs(path)


def test_bytes_and_floats_give_the_same_lungs(masked):
    greys = masked.greys[:3]
    found = find_lungs(BrightLungs(), greys)
    assert found.shape == (3, 128, 128)
    assert found.dtype == bool
    same = find_lungs(BrightLungs(), greys.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(found, same)
    assert find_lungs(BrightLungs(), greys[:0]).shape == (0, 128, 128)


@pytest.mark.parametrize("shape", [(224, 224), (96, 160)])
def test_masks_have_the_size_of_the_films(masked, shape):
    rows, columns = shape
    sized = [
        np.asarray(Image.fromarray(grey).resize((columns, rows), Image.Resampling.BILINEAR))
        for grey in masked.greys[:2]
    ]
    found = lung_masks(BrightLungs(), np.stack(sized))
    assert found.shape == (2, rows, columns)
    assert found.dtype == np.uint8
    assert {*np.unique(found)} == {0, 255}
    drawn = Image.fromarray(masked.masks[0].astype(np.uint8)).resize((columns, rows))
    assert ((found[0] > 0) == np.asarray(drawn)).mean() > 0.97


def test_masks_of_many_films_are_in_their_order(masked):
    order = np.random.default_rng(0).integers(2, size=300)
    blank = np.zeros((32, 32), np.uint8)
    small = np.asarray(Image.fromarray(masked.greys[0]).resize((32, 32)))
    found = lung_masks(BrightLungs(), np.stack([blank, small])[order])
    assert (found.any(axis=(1, 2)) == order).all()


def test_dice_of_right_and_wrong_masks(masked):
    films = masked.chosen(np.arange(2))
    right = measure_lungs(BrightLungs(), films)
    assert right["held_out_films"] == 2
    assert right["dice_least"] > 0.95
    wrong = measure_lungs(BrightLungs(), replace(films, masks=np.roll(films.masks, 112, axis=1)))
    assert wrong["dice"] < 0.3
    dice, jaccard = right["dice"], right["jaccard"]
    assert jaccard == pytest.approx(dice / (2 - dice), abs=0.002)


@pytest.fixture(scope="module")
def shipped():
    return load_lungs(SHIPPED_LUNGS)


def test_shipped_network_is_small(shipped):
    assert shipped.count_params() <= 250_000
    weights = sum(weight.nbytes for weight in shipped.get_weights())
    assert {weight.dtype for weight in shipped.get_weights()} == {np.dtype(np.float32)}
    assert weights <= 1_000_000


def test_figures_of_the_shipped_network_state_its_dice(shipped):
    figures = lung_card(SHIPPED_LUNGS).figures
    assert {*figures} >= FIGURES
    assert 0.95 <= figures["dice"] <= 1
    assert 0.85 < figures["dice_5_percent"] <= figures["dice"]
    assert figures["held_out_films"] >= 100
    assert figures["parameters"] == shipped.count_params()


def test_shipped_network_finds_no_lungs_in_most_other_pictures(shipped):
    pictures = read_examples(Preprocessing(rows=224, columns=224))
    greys = np.stack([one.grey for one in pictures if one.kind != FRONTAL])
    empty = find_lungs(shipped, greys).mean(axis=(1, 2)) < 0.01
    assert empty.mean() > 0.9


def test_shipped_network_finds_the_lungs_of_real_films(shipped, real_films, pool, tmp_path):
    known = sorted((real_films.parent / "lung_masks").glob("*.png"))
    if not known:
        pytest.skip("there is no folder lung_masks next to SCREENING_FILMS")
    for path in known[:: max(1, len(known) // 150)]:
        (tmp_path / path.name).symlink_to(path.resolve())
    films = read_masked_films(real_films, tmp_path, PATIENT_PATTERN, pool)
    measured = measure_lungs(shipped, films)
    assert measured["dice"] >= 0.95
    assert measured["dice_5_percent"] >= 0.9
