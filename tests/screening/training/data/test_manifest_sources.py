"""Source, view, age, sex and confidence in a manifest, and several DATA as one list."""

from pathlib import Path

import pytest

from screening.errors import TrainingDataError
from screening.training.data.manifest import (
    LabelledFilm,
    confidence_of,
    data_name,
    fingerprint,
    normals_elsewhere,
    read_manifest,
    refuse_unknown,
    reliable,
    strata_of,
    with_confidence,
)

HEADER = "film,label,patient,source,view,age,sex,confidence\n"


def put(data: Path, *films: str) -> Path:
    for film in films:
        path = data / film
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(film.encode())
    return data


def csv_of(folder: Path, content: str, name: str = "films.csv") -> Path:
    put(folder, "a.png", "b.png")
    (folder / name).write_text(content)
    return folder / name


def film(name: str, label: int, **changed) -> LabelledFilm:
    return LabelledFilm(Path(name), name, label, name, **changed)


def test_manifest_columns_are_read_for_each_film(tmp_path: Path) -> None:
    lines = "a.png,0,P1,clinic,pa,54.5,f,0.9\nb.png,1,P2,,,,,\n"
    first, second = read_manifest(csv_of(tmp_path / "site", HEADER + lines))
    assert (first.source, first.view, first.age, first.sex) == ("clinic", "PA", 54.5, "F")
    assert first.confidence == 0.9
    assert (second.source, second.view, second.age, second.sex) == ("site", "", None, "")
    assert second.confidence == 1


def test_other_columns_are_ignored(tmp_path: Path) -> None:
    content = "film,label,finding_labels\na.png,0,No Finding\nb.png,1,Pneumonia|Mass\n"
    assert [film.label for film in read_manifest(csv_of(tmp_path, content))] == [0, 1]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("view", "LATERAL", "expected AP or PA, or nothing"),
        ("sex", "X", "expected F or M, or nothing"),
        ("age", "121", "expected a number from 0 to 120, or nothing"),
        ("age", "-1", "expected a number from 0 to 120"),
        ("age", "054Y", "expected a number from 0 to 120"),
        ("age", "nan", "expected a number from 0 to 120"),
        ("confidence", "0.4", "expected a number from 0.5 to 1, or nothing"),
        ("confidence", "high", "expected a number from 0.5 to 1"),
        ("source", "/data/site", "give it a name without /"),
    ],
)
def test_wrong_value_is_an_error_with_file_and_line(
    tmp_path: Path, column, value, expected
) -> None:
    path = csv_of(tmp_path, f"film,label,{column}\na.png,0,\nb.png,1,{value}\n")
    with pytest.raises(TrainingDataError, match=rf"films\.csv, line 3: the {column} .*{expected}"):
        read_manifest(path)


def test_source_is_the_name_of_the_folder(tmp_path: Path, monkeypatch) -> None:
    folder = put(tmp_path / "site", "NORMAL/a.png", "PNEUMONIA/b.png")
    assert {film.source for film in read_manifest(folder)} == {"site"}
    manifest = csv_of(tmp_path / "other", "film,label\na.png,0\nb.png,1\n")
    assert {film.source for film in read_manifest(manifest)} == {"other"}
    monkeypatch.chdir(folder)
    assert data_name(Path()) == "site"


def test_folder_may_contain_its_manifest(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "site", "film,label\na.png,0\nb.png,1\n")
    assert read_manifest(path.parent) == read_manifest(path)


def test_class_folders_take_precedence_over_a_manifest_in_the_folder(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/a.png", "PNEUMONIA/b.png")
    (tmp_path / "films.csv").write_text("film,source\n")
    assert [film.name for film in read_manifest(tmp_path)] == ["NORMAL/a.png", "PNEUMONIA/b.png"]


def several(tmp_path: Path) -> list[Path]:
    one = put(tmp_path / "one", "NORMAL/person1_a.png", "PNEUMONIA/person2_b.png", "NORMAL/x.png")
    two = csv_of(tmp_path / "two", "film,label,patient\na.png,0,person1\nb.png,0,\n")
    return [one, two]


def test_films_and_patients_of_several_data_are_kept_apart(tmp_path: Path) -> None:
    films = read_manifest(several(tmp_path))
    assert [(film.name, film.patient, film.source) for film in films] == [
        ("one/NORMAL/person1_a.png", "one/person1", "one"),
        ("one/NORMAL/x.png", "one/NORMAL/x.png", "one"),
        ("one/PNEUMONIA/person2_b.png", "one/person2", "one"),
        ("two/a.png", "two/person1", "two"),
        ("two/b.png", "two/b.png", "two"),
    ]
    assert all(film.path.is_file() for film in films)


def test_single_data_keeps_its_names_in_a_list(tmp_path: Path) -> None:
    one, _two = several(tmp_path)
    assert read_manifest([one]) == read_manifest(one)
    assert read_manifest(one)[0].name == "NORMAL/person1_a.png"


def test_source_in_two_data_is_one_source(tmp_path: Path) -> None:
    lines = "film,label,patient,source\na.png,0,P1,clinic\nb.png,1,P2,clinic\n"
    places = [csv_of(tmp_path / name, lines) for name in ("one", "two")]
    films = read_manifest(places)
    assert {film.source for film in films} == {"clinic"}
    assert {film.patient for film in films} == {"clinic/P1", "clinic/P2"}
    assert len({film.name for film in films}) == 4


def test_moved_data_keep_their_former_names(tmp_path: Path) -> None:
    before = read_manifest(several(tmp_path))
    moved = [(tmp_path / name).rename(tmp_path / f"new {name}") for name in ("one", "two")]
    after = read_manifest(moved, names=["one", "two"])
    assert [film.name for film in after] == [film.name for film in before]
    assert [film.patient for film in after] == [film.patient for film in before]


def test_two_data_with_the_same_name_are_refused(tmp_path: Path) -> None:
    places = [put(tmp_path / name / "site", "NORMAL/a.png", "PNEUMONIA/b.png") for name in "xy"]
    with pytest.raises(TrainingDataError, match=r"two DATA have the name site, .*rename one"):
        read_manifest(places)


def test_all_data_together_need_both_classes(tmp_path: Path) -> None:
    places = [put(tmp_path / name, "NORMAL/a.png") for name in ("one", "two")]
    with pytest.raises(TrainingDataError, match=r"one and .*two have no film labelled PNEUMONIA"):
        read_manifest(places)


def test_data_without_films_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(TrainingDataError, match="none has no labelled film; it needs sub-folders"):
        read_manifest([*several(tmp_path), tmp_path / "none"])


def test_fingerprint_covers_confidence_other_than_1(tmp_path: Path) -> None:
    content = "film,label,confidence\na.png,0,{}\nb.png,1,\n"
    plain, sure, weak, weaker = (
        fingerprint(read_manifest(csv_of(tmp_path, content.format(confidence))))
        for confidence in ("", "1", "0.9", "0.8")
    )
    assert plain == sure
    assert len({plain, weak, weaker}) == 3


def test_confidence_can_be_set_for_a_source_or_class() -> None:
    films = [film("a", 0, source="x"), film("b", 1, source="x"), film("c", 1, source="y")]
    given = with_confidence(films, {"x/PNEUMONIA": 0.68, "x": 0.93})
    assert confidence_of(given).tolist() == pytest.approx([0.93, 0.68, 1])
    assert with_confidence(films, {}) == films


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("z", "--confidence z: there is no source z; the sources are x, y"),
        ("x/OTHER", "--confidence x/OTHER: there is no class OTHER; expected NORMAL or PNEUMONIA"),
        ("y", "--confidence y: the manifest of y already has confidences"),
    ],
)
def test_confidence_for_an_unknown_source_or_class_is_refused(key: str, message: str) -> None:
    films = [film("a", 0, source="x"), film("c", 1, source="y", confidence=0.9)]
    with pytest.raises(TrainingDataError, match=message):
        with_confidence(films, {key: 0.7})


def test_unknown_source_is_refused_with_the_known_ones() -> None:
    films = [film("a", 0, source="x"), film("c", 1, source="y")]
    refuse_unknown(films, ["x", "y"], "--leave-out")
    with pytest.raises(TrainingDataError, match=r"--leave-out: there is no source z; .* x, y"):
        refuse_unknown(films, ["x", "z"], "--leave-out")


def test_reliable_films_are_certain_and_of_sources_with_both_classes() -> None:
    films = [
        film("0", 0, source="both"),
        film("1", 1, source="both", confidence=0.95),
        film("2", 1, source="both", confidence=0.94),
        film("3", 0, source="one class"),
        film("4", 0, source="one sure class"),
        film("5", 1, source="one sure class", confidence=0.7),
    ]
    assert reliable(films).tolist() == [0, 1]
    assert reliable(films[3:]).tolist() == []
    assert reliable([film("0", 0), film("1", 1)]).tolist() == [0, 1]


def test_normals_elsewhere_are_certain_and_of_other_sources_by_view() -> None:
    films = [
        film("0", 0, source="both"),
        film("1", 1, source="both"),
        film("2", 0, source="normals", view="PA"),
        film("3", 0, source="normals", view="AP"),
        film("4", 0, source="normals", view="PA", confidence=0.95),
        film("5", 0, source="normals", view="PA", confidence=0.94),
        film("6", 0, source="normals"),
        film("7", 1, source="ill"),
        film("8", 0, source="one sure class"),
        film("9", 1, source="one sure class", confidence=0.7),
    ]
    found = {name: indices.tolist() for name, indices in normals_elsewhere(films).items()}
    assert found == {
        "normals": [6],
        "normals, AP": [3],
        "normals, PA": [2, 4],
        "one sure class": [8],
    }
    assert normals_elsewhere(films[:2]) == {}


def test_strata_are_numbers_of_source_and_view() -> None:
    films = [
        film("0", 0, source="y", view="PA"),
        film("1", 0, source="x", view="AP"),
        film("2", 0, source="x"),
    ]
    assert strata_of(films).tolist() == [5, 1, 0]
    assert strata_of(films[2:]).tolist() == [0]
