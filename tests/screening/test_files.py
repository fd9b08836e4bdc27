import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.files import Found, discover, film_path, found_at

QUICK = settings(deadline=None, max_examples=40, database=None)

# Folders begin with d, files with f, so that no path is both. Private-use letters (Co) stand for
# bytes that are not UTF-8; names that contain such letters are tested separately.
SEGMENTS = st.text(
    st.characters(exclude_categories=["Cs", "Co"], exclude_characters="/\0"), max_size=6
)
PATHS = st.builds(
    lambda folders, name: "/".join([*(f"d{folder}" for folder in folders), f"f{name}"]),
    st.lists(SEGMENTS, max_size=3),
    SEGMENTS,
)


def put(folder: Path, *films: str) -> None:
    for film in films:
        path = folder / film
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(film))


def test_every_file_is_listed_once_sorted_by_path(folder: Path) -> None:
    put(folder, "b.png", "a.png", ".hidden", "no suffix", "deep/er/c.dcm", ".git/config")
    assert [found.film for found in discover(folder)] == [
        ".git/config",
        ".hidden",
        "a.png",
        "b.png",
        "deep/er/c.dcm",
        "no suffix",
    ]


def test_file_is_listed_with_its_size(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"12345")
    (folder / "empty").write_bytes(b"")
    assert discover(folder) == [Found("a.png", 5), Found("empty", 0)]


def test_empty_folder_has_no_films(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert discover(folder) == []


def test_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        discover(tmp_path / "nowhere")


def test_folder_deleted_during_the_walk_is_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "f1", "d1/f2", "d2/f3")
    scandir = os.scandir

    def scandir_after_deletion(walked: Path) -> "os._ScandirIterator[str]":
        if walked == folder / "d1":
            shutil.rmtree(walked)
        return scandir(walked)

    monkeypatch.setattr(os, "scandir", scandir_after_deletion)
    assert [found.film for found in discover(folder)] == ["d2/f3", "f1"]


@QUICK
@given(films=st.sets(PATHS, max_size=8))
def test_film_with_any_name_is_found_and_can_be_opened(
    tmp_path_factory: pytest.TempPathFactory, films: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("films")
    put(folder, *films)
    found = [entry.film for entry in discover(folder)]
    assert found == sorted(films)
    assert all(film_path(folder, film).read_bytes() == b"x" * len(film) for film in found)


@QUICK
@given(name=st.text("a\uf700\uf77f\uf780\uf7ff\uf800", min_size=1, max_size=6))
def test_private_use_letters_are_kept(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("films")
    put(folder, name)
    (found,) = discover(folder)
    assert film_path(folder, found.film) == folder / name


def test_link_to_a_film_inside_the_folder_is_a_film(folder: Path) -> None:
    put(folder, "a.png")
    (folder / "link.png").symlink_to("a.png")
    assert discover(folder) == [Found("a.png", 5), Found("link.png", 5)]


def test_link_out_of_the_folder_is_listed_but_is_not_a_file(folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret.png", "films-of-others/b.png")
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    (folder / "b.png").symlink_to("../films-of-others/b.png")
    assert discover(folder) == [
        Found("a.png", 0, is_file=False),
        Found("b.png", 0, is_file=False),
    ]


def test_link_to_a_folder_is_listed_but_not_followed(folder: Path) -> None:
    put(folder, "sub/a.png")
    (folder / "again").symlink_to("sub")
    (folder / "loop").symlink_to(".")
    assert discover(folder) == [
        Found("again", 0, is_file=False),
        Found("loop", 0, is_file=False),
        Found("sub/a.png", 9),
    ]


def test_broken_link_is_listed(folder: Path) -> None:
    (folder / "broken").symlink_to("missing.png")
    assert discover(folder) == [Found("broken", 0, is_file=False)]


def test_circular_links_are_listed(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "itself").symlink_to("itself")
    assert discover(folder) == [
        Found("a", 0, is_file=False),
        Found("b", 0, is_file=False),
        Found("itself", 0, is_file=False),
    ]


def test_pipe_is_listed_but_is_not_a_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert discover(folder) == [Found("pipe.png", 0, is_file=False)]


def test_folder_given_as_a_link_is_listed(folder: Path, tmp_path: Path) -> None:
    put(folder, "a.png")
    (folder / "link.png").symlink_to("a.png")
    (tmp_path / "tonight").symlink_to(folder)
    assert discover(tmp_path / "tonight") == [Found("a.png", 5), Found("link.png", 5)]


def test_non_utf_8_name_round_trip(folder: Path) -> None:
    (folder / os.fsdecode(b"f\xfcr.png")).write_bytes(b"film")
    (found,) = discover(folder)
    assert found.film.encode("utf-8")
    assert film_path(folder, found.film).read_bytes() == b"film"


def test_private_use_name_differs_from_non_utf_8_name(
    folder: Path,
) -> None:
    (folder / os.fsdecode(b"\xfc.png")).write_bytes(b"one")
    (folder / "\uf7fc.png").write_bytes(b"two")
    found = discover(folder)
    assert len({entry.film for entry in found}) == 2
    assert {film_path(folder, entry.film).read_bytes() for entry in found} == {b"one", b"two"}


def test_file_is_listed_with_its_modification_time(folder: Path) -> None:
    put(folder, "a.png")
    os.utime(folder / "a.png", ns=(5, 1_700_000_000_123_456_789))
    (folder / "link.png").symlink_to("a.png")
    times = [found.modified_ns for found in discover(folder)]
    assert times == [1_700_000_000_123_456_789] * 2
    assert found_at(folder / "a.png").modified_ns == 1_700_000_000_123_456_789


def test_other_entries_have_no_modification_time(folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret.png")
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe.png")
    assert [found.modified_ns for found in discover(folder)] == [0, 0]


def test_time_outside_64_bits_is_unknown(folder: Path) -> None:
    put(folder, "1600.png", "1969.png", "2400.png")
    for name, seconds in [("1600.png", -11_676_096_000), ("2400.png", 13_569_465_600)]:
        os.utime(folder / name, (seconds, seconds))
    os.utime(folder / "1969.png", (-1, -1))
    times = {found.film: found.modified_ns for found in discover(folder)}
    # Filesystems that do not support such years store the nearest one that they do.
    assert all(-(2**63) <= time < 2**63 for time in times.values())
    assert times["1969.png"] == -1_000_000_000


def test_modification_time_is_ignored_in_comparisons() -> None:
    touched = Found("a.png", 5, modified_ns=2)
    assert touched == Found("a.png", 5, modified_ns=1)
    assert hash(touched) == hash(Found("a.png", 5))
    assert not touched < Found("a.png", 5, modified_ns=3)


def test_found_json_round_trip_keeps_the_time() -> None:
    found = Found("a.png", 5, modified_ns=1_700_000_000_123_456_789)
    assert vars(Found(**json.loads(json.dumps(vars(found))))) == vars(found)
