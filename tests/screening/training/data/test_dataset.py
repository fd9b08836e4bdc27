"""Training films are read once, in this process, in the same way as in a screening run.

Only films of more than 224 pixels are reduced in two steps, see COMMON_SIDE.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from makers import dicom_film, encoded, grey_film, write_film
from screening.errors import TrainingDataError
from screening.model.preprocess import Preprocessing
from screening.training.data.dataset import (
    labels_of,
    read_collection,
    read_films,
    read_folder,
    read_grey,
)
from screening.training.data.manifest import LabelledFilm

PREPROCESSING = Preprocessing(rows=24, columns=32)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def labelled(path: Path, label: int) -> LabelledFilm:
    return LabelledFilm(path, path.name, label, path.stem)


def films_in(folder: Path, number: int = 6) -> list[LabelledFilm]:
    return [labelled(write_film(folder / f"{n}.png", n), n % 2) for n in range(number)]


def test_all_films_are_read_at_the_models_size(folder, pool) -> None:
    films = films_in(folder)
    collection = read_collection(films, PREPROCESSING, pool)
    assert collection.films == films
    assert collection.unreadable == []
    assert collection.greys.dtype == np.uint8
    assert collection.greys.shape == (6, 24, 32)
    for film, grey in zip(films, collection.greys, strict=True):
        assert np.array_equal(grey, np.rint(read_grey(film.path, PREPROCESSING) * 255))
    exact = read_films(films, PREPROCESSING, pool)
    assert exact.dtype == np.float32
    assert np.abs(exact * 255 - collection.greys).max() <= 0.5001
    assert read_films([], PREPROCESSING, pool).shape == (0, 24, 32)


def sharpness(grey: np.ndarray) -> float:
    return float(np.abs(np.diff(grey, axis=0)).mean())


@pytest.mark.parametrize("size", [(512, 512), (900, 700), (512, 100)])
def test_large_film_is_first_reduced_to_224_pixels(folder, pool, size) -> None:
    preprocessing = Preprocessing(rows=160, columns=192)
    noise = np.random.default_rng(1).integers(0, 256, size).astype(np.uint8)
    (folder / "large.png").write_bytes(encoded(noise))
    common = Preprocessing(min(size[0], 224), min(size[1], 224))
    small = read_grey(folder / "large.png", common)
    expected = preprocessing.resize(small)
    films = [labelled(folder / "large.png", 0)]
    (exact,) = read_films(films, preprocessing, pool)
    np.testing.assert_array_equal(exact, expected)
    collection = read_collection(films, preprocessing, pool)
    np.testing.assert_array_equal(collection.greys[0], np.rint(expected * 255))
    assert (collection.sources[0].rows, collection.sources[0].columns) == size
    # A screening run reads it directly; it would be sharper than films that were stored small.
    assert sharpness(read_grey(folder / "large.png", preprocessing)) > 1.1 * sharpness(exact)


def test_large_film_is_read_directly_at_the_common_size(folder, pool) -> None:
    (folder / "large.png").write_bytes(encoded(grey_film(1, side=700)))
    (exact,) = read_films([labelled(folder / "large.png", 0)], Preprocessing(), pool)
    np.testing.assert_array_equal(exact, read_grey(folder / "large.png", Preprocessing()))


def test_properties_of_each_file_are_kept(folder, pool) -> None:
    films = [labelled(write_film(folder / "a.jpg", 1), 0)]
    (folder / "b.png").write_bytes(encoded(grey_film(2)[:40, :70]))
    films.append(labelled(folder / "b.png", 1))
    stored = (grey_film(3)[:50, :60]).astype(np.uint16)
    dicom_film(stored).save_as(folder / "c")
    films.append(labelled(folder / "c", 1))
    collection = read_collection(films, PREPROCESSING, pool)
    for film, source in zip(films, collection.sources, strict=True):
        data = film.path.read_bytes()
        assert source.sha256 == hashlib.sha256(data).hexdigest()
        assert source.size == len(data)
    assert [(source.kind, source.rows, source.columns) for source in collection.sources] == [
        ("JPEG", 128, 128),
        ("PNG", 40, 70),
        ("DICOM", 50, 60),
    ]
    assert collection.sha256 == [source.sha256 for source in collection.sources]


def test_unreadable_films_are_left_out_with_their_reason(folder, pool) -> None:
    films = films_in(folder, 20)
    films[3].path.write_bytes(films[3].path.read_bytes()[:99])
    films[8].path.write_text("no film")
    films[9].path.unlink()
    (folder / "notes").write_text("no film")
    films[10] = labelled(folder / "notes", 1)
    collection = read_collection(films, PREPROCESSING, pool)
    assert collection.films == [f for n, f in enumerate(films) if n not in {3, 8, 9, 10}]
    assert len(collection.greys) == len(collection.sources) == 16
    assert np.array_equal(
        collection.greys[3], np.rint(read_grey(films[4].path, PREPROCESSING) * 255)
    )
    reasons = {lost.film.name: lost.reason for lost in collection.unreadable}
    assert list(reasons) == ["3.png", "8.png", "9.png", "notes"]
    assert reasons["3.png"] == "truncated"
    assert reasons["9.png"] == "No such file or directory"
    assert reasons["notes"] == "no image signature and no image suffix"


@pytest.mark.parametrize(("unreadable", "refused"), [(4, False), (5, True)])
def test_more_than_a_fifth_of_unreadable_films_is_refused(folder, pool, unreadable, refused):
    films = films_in(folder, 20)
    for film in films[:unreadable]:
        film.path.write_bytes(b"")
    if not refused:
        assert len(read_collection(films, PREPROCESSING, pool).unreadable) == unreadable
        return
    with pytest.raises(TrainingDataError, match=r"5 of 20 films cannot be read: .*0\.png: 0 bytes"):
        read_collection(films, PREPROCESSING, pool)


def test_class_without_readable_films_is_refused(folder, pool) -> None:
    films = [labelled(film.path, int(n == 0)) for n, film in enumerate(films_in(folder, 20))]
    films[0].path.write_bytes(b"")
    with pytest.raises(TrainingDataError, match=r"no film labelled PNEUMONIA .*0\.png: 0 bytes"):
        read_collection(films, PREPROCESSING, pool)


def test_same_file_with_two_labels_is_refused_with_both_names(folder, pool) -> None:
    films = films_in(folder)
    films[5].path.write_bytes(films[2].path.read_bytes())
    what = r"2\.png and 5\.png are the same file, but labelled NORMAL and PNEUMONIA"
    with pytest.raises(TrainingDataError, match=what):
        read_collection(films, PREPROCESSING, pool)


def test_same_file_twice_with_one_label_is_accepted(folder, pool) -> None:
    films = films_in(folder)
    films[4].path.write_bytes(films[2].path.read_bytes())
    sha256 = read_collection(films, PREPROCESSING, pool).sha256
    assert sha256[4] == sha256[2]


def test_films_are_found_by_name(folder, pool) -> None:
    films = films_in(folder)
    collection = read_collection(films, PREPROCESSING, pool)
    others = [LabelledFilm(films[n].path, films[n].name, 0, "joined") for n in (4, 0, 5)]
    assert collection.indices(others).tolist() == [4, 0, 5]
    assert collection.indices([]).tolist() == []


def test_progress_is_reported_for_each_film(folder, pool) -> None:
    films = films_in(folder)
    films[2].path.write_bytes(b"")
    told: list[tuple[int, int]] = []
    read_collection(films, PREPROCESSING, pool, lambda done, all_: told.append((done, all_)))
    assert told == [(n, 6) for n in range(1, 7)]


def test_labels_are_class_indices(folder) -> None:
    assert labels_of(films_in(folder, 4)).tolist() == [0, 1, 0, 1]


def test_files_that_are_not_images_are_skipped(folder, pool) -> None:
    films_in(folder, 3)
    (folder / "films.csv").write_text("film")
    assert read_folder(folder, PREPROCESSING, pool).shape == (3, 24, 32)
    assert read_folder(None, PREPROCESSING, pool).shape == (0, 24, 32)


def test_damaged_film_in_a_folder_is_an_error_with_its_name(folder, pool) -> None:
    films = films_in(folder, 3)
    films[1].path.write_bytes(films[1].path.read_bytes()[:99])
    with pytest.raises(TrainingDataError, match=r"1\.png cannot be used for training: truncated"):
        read_folder(folder, PREPROCESSING, pool)
