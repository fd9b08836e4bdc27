import hashlib
from pathlib import Path

import pytest

from screening.errors import TrainingDataError
from screening.training.data.manifest import fingerprint, read_manifest


def put(data: Path, *films: str) -> None:
    for film in films:
        path = data / film
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(film.encode())


def csv_of(tmp_path: Path, content: str | bytes) -> Path:
    put(tmp_path, "a.png", "b.png", "sub/c.png")
    path = tmp_path / "manifest.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_folders_are_classes(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/b.png", "NORMAL/deep/a.png", "PNEUMONIA/a.png", "OTHER/x.png")
    films = read_manifest(tmp_path)
    assert [(film.name, film.label, film.split) for film in films] == [
        ("NORMAL/b.png", 0, ""),
        ("NORMAL/deep/a.png", 0, ""),
        ("PNEUMONIA/a.png", 1, ""),
    ]
    assert [film.path for film in films] == [tmp_path / film.name for film in films]


def test_class_folders_may_be_below_a_split(tmp_path: Path) -> None:
    put(tmp_path, "train/NORMAL/a.png", "val/PNEUMONIA/b.png", "test/PNEUMONIA/c.png")
    assert {film.name: film.split for film in read_manifest(tmp_path)} == {
        "train/NORMAL/a.png": "train",
        "val/PNEUMONIA/b.png": "val",
        "test/PNEUMONIA/c.png": "test",
    }


@pytest.mark.parametrize("folder", ["val", "valid", "validation"])
def test_validation_split_has_several_names(tmp_path: Path, folder: str) -> None:
    put(tmp_path, f"{folder}/NORMAL/a.png", "train/PNEUMONIA/b.png")
    assert {film.split for film in read_manifest(tmp_path)} == {"train", "val"}
    path = csv_of(tmp_path, f"film,label,split\na.png,0,{folder}\nb.png,1,\n")
    assert [film.split for film in read_manifest(path)] == ["val", ""]


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/a.png", "NORMAL/.DS_Store", "PNEUMONIA/b.png")
    assert [film.name for film in read_manifest(tmp_path)] == ["NORMAL/a.png", "PNEUMONIA/b.png"]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person12_virus_7.jpeg", "person12"),
        ("person12_bacteria_8.jpeg", "person12"),
        ("person1_bacteria_1.jpeg", "person1"),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427"),
        ("IM-0115-0001.jpeg", "IM-0115"),
    ],
)
def test_patients_of_the_kermany_collection_are_in_the_file_names(
    tmp_path: Path, name: str, patient: str
) -> None:
    put(tmp_path, f"NORMAL/{name}", "PNEUMONIA/x.png")
    assert read_manifest(tmp_path)[0].patient == patient


def test_film_without_a_patient_is_its_own_patient(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/a.png", "PNEUMONIA/a.png")
    assert [film.patient for film in read_manifest(tmp_path)] == ["NORMAL/a.png", "PNEUMONIA/a.png"]


def test_another_pattern_finds_other_patients(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/0001-77.png", "NORMAL/0002-77.png", "PNEUMONIA/0003-78.png")
    films = read_manifest(tmp_path, r"-(\d+)\.png$")
    assert [film.patient for film in films] == ["77", "77", "78"]


def test_pattern_with_an_unmatched_group_finds_no_patient(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/a1.png", "PNEUMONIA/b.png")
    films = read_manifest(tmp_path, r"^[ab](\d)?")
    assert [film.patient for film in films] == ["1", "PNEUMONIA/b.png"]


@pytest.mark.parametrize(
    ("pattern", "what"), [("(person", "unterminated"), (r"person\d+", "no group; put parentheses")]
)
def test_pattern_without_a_usable_group_is_refused(tmp_path: Path, pattern: str, what: str) -> None:
    put(tmp_path, "NORMAL/a.png", "PNEUMONIA/b.png")
    with pytest.raises(TrainingDataError, match=f"the patient pattern .*{what}"):
        read_manifest(tmp_path, pattern)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_manifest_lists_films_relative_to_itself(tmp_path: Path, mark: str) -> None:
    path = csv_of(
        tmp_path,
        f"{mark}film,label,patient,split\n"
        "sub/c.png,PNEUMONIA,P1,val\nb.png,0,P2,train\na.png,1,P1,\n",
    )
    films = read_manifest(path)
    assert [(film.name, film.label, film.patient, film.split) for film in films] == [
        ("a.png", 1, "P1", ""),
        ("b.png", 0, "P2", "train"),
        ("sub/c.png", 1, "P1", "val"),
    ]
    assert films[2].path == tmp_path / "sub/c.png"


def test_manifest_without_patients_takes_them_from_the_names(tmp_path: Path) -> None:
    put(tmp_path, "person7_virus_1.png")
    path = csv_of(tmp_path, "film,label\nperson7_virus_1.png,1\na.png,0\n")
    assert [film.patient for film in read_manifest(path)] == ["a.png", "person7"]


@pytest.mark.parametrize("label", ["2", "", "normal", "pneumonia?"])
def test_unknown_label_is_an_error_with_the_line(tmp_path: Path, label: str) -> None:
    with pytest.raises(TrainingDataError, match=r"manifest\.csv, line 3: .*PNEUMONIA"):
        read_manifest(csv_of(tmp_path, f"film,label\na.png,1\nb.png,{label}\n"))


@pytest.mark.parametrize("split", ["Train", "dev", "tests", " "])
def test_unknown_split_is_an_error_with_the_line(tmp_path: Path, split: str) -> None:
    content = f"film,label,split\na.png,1,train\nb.png,0,{split}\n"
    with pytest.raises(TrainingDataError, match=r"line 3: the split is .*train, val or test"):
        read_manifest(csv_of(tmp_path, content))


def test_film_listed_twice_is_an_error_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"line 4: the film a\.png is already listed"):
        read_manifest(csv_of(tmp_path, "film,label\na.png,1\nb.png,0\na.png,0\n"))


@pytest.mark.parametrize(("before", "line"), [("film,label\na.png,1\n", 2), ("", 0)])
def test_malformed_csv_is_an_error_with_the_line_before(
    tmp_path: Path, before: str, line: int
) -> None:
    with pytest.raises(TrainingDataError, match=rf"manifest\.csv, after line {line}: field larger"):
        read_manifest(csv_of(tmp_path, f"{before}{'x' * 200_000},0\n"))


@pytest.mark.parametrize("film", ["lost.png", "sub", "", "x" * 300, "a\0.png"])
def test_missing_film_is_an_error_with_the_line(tmp_path: Path, film: str) -> None:
    with pytest.raises(TrainingDataError, match=r"line 2: there is no film"):
        read_manifest(csv_of(tmp_path, f"film,label\n{film},1\nb.png,0\n"))


def test_row_without_a_film_is_an_error_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="line 2"):
        read_manifest(csv_of(tmp_path, "label,film\n1\n0,a.png\n"))


def test_manifest_that_is_not_utf_8_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"manifest\.csv"):
        read_manifest(csv_of(tmp_path, b"film,label\nf\xfcr.png,1\n"))


@pytest.mark.parametrize(
    ("content", "missing"),
    [("film,finding\n", "label"), ("name,label\n", "film"), ("", "film and label")],
)
def test_missing_column_is_an_error_with_its_name(
    tmp_path: Path, content: str, missing: str
) -> None:
    with pytest.raises(TrainingDataError, match=f"column {missing}$"):
        read_manifest(csv_of(tmp_path, content))


@pytest.mark.parametrize(("present", "absent"), [("NORMAL", "PNEUMONIA"), ("PNEUMONIA", "NORMAL")])
def test_class_without_films_is_an_error_with_its_name(
    tmp_path: Path, present: str, absent: str
) -> None:
    put(tmp_path, f"{present}/a.png")
    with pytest.raises(TrainingDataError, match=f"no film labelled {absent}"):
        read_manifest(tmp_path)


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="no film labelled"):
        read_manifest(tmp_path)


def test_missing_data_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="nowhere"):
        read_manifest(tmp_path / "nowhere")


def test_fingerprint_covers_contents_and_labels(tmp_path: Path) -> None:
    put(tmp_path, "NORMAL/a.png", "PNEUMONIA/b.png")
    lines = sorted(
        f"{hashlib.sha256(name.encode()).hexdigest()} {label}"
        for name, label in [("NORMAL/a.png", 0), ("PNEUMONIA/b.png", 1)]
    )
    expected = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    films = read_manifest(tmp_path)
    assert fingerprint(films) == expected
    known = [hashlib.sha256(film.path.read_bytes()).hexdigest() for film in films]
    for film in films:
        film.path.unlink()
    assert fingerprint(films, known) == expected


def test_fingerprint_does_not_depend_on_names_or_order(tmp_path: Path) -> None:
    put(tmp_path / "one", "NORMAL/a.png", "NORMAL/b.png", "PNEUMONIA/c.png")
    for old, new in [
        ("NORMAL/a.png", "test/NORMAL/z.png"),
        ("NORMAL/b.png", "train/NORMAL/y.png"),
        ("PNEUMONIA/c.png", "val/PNEUMONIA/x.png"),
    ]:
        target = tmp_path / "two" / new
        target.parent.mkdir(parents=True)
        target.write_bytes((tmp_path / "one" / old).read_bytes())
    films = read_manifest(tmp_path / "one")
    assert fingerprint(films) == fingerprint(read_manifest(tmp_path / "two"))
    assert fingerprint(films) == fingerprint(films[::-1])


def test_fingerprint_changes_with_labels_and_contents(tmp_path: Path) -> None:
    content = "film,label\na.png,1\nb.png,0\nsub/c.png,0\n"
    first = fingerprint(read_manifest(csv_of(tmp_path, content)))
    other = fingerprint(read_manifest(csv_of(tmp_path, content.replace("c.png,0", "c.png,1"))))
    (tmp_path / "a.png").write_bytes(b"changed")
    (tmp_path / "manifest.csv").write_text(content)
    changed = fingerprint(read_manifest(tmp_path / "manifest.csv"))
    assert len({first, other, changed}) == 3
