import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.files import Found, discover, film_path, found_at

QUICK = settings(deadline=None, max_examples=40, database=None)

# Folders begin with d, files with f, so that no path is both. Letters of private use (Co) stand for
# bytes that are no UTF-8; a name that has such letters is told apart by another one.
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


def test_every_file_is_found_once_sorted_by_path(folder: Path) -> None:
    put(folder, "b.png", "a.png", ".hidden", "no suffix", "deep/er/c.dcm", ".git/config")
    assert [found.film for found in discover(folder)] == [
        ".git/config",
        ".hidden",
        "a.png",
        "b.png",
        "deep/er/c.dcm",
        "no suffix",
    ]


def test_a_file_is_found_with_its_size(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"12345")
    (folder / "empty").write_bytes(b"")
    assert discover(folder) == [Found("a.png", 5), Found("empty", 0)]


def test_an_empty_folder_holds_no_film(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert discover(folder) == []


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        discover(tmp_path / "nowhere")


def test_a_folder_that_is_taken_away_meanwhile_takes_its_films_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "f1", "d1/f2", "d2/f3")
    scandir = os.scandir

    def taken_away(walked: Path) -> "os._ScandirIterator[str]":
        if walked == folder / "d1":
            shutil.rmtree(walked)
        return scandir(walked)

    monkeypatch.setattr(os, "scandir", taken_away)
    assert [found.film for found in discover(folder)] == ["d2/f3", "f1"]


@QUICK
@given(films=st.sets(PATHS, max_size=8))
def test_whatever_the_names_each_film_is_found_and_can_be_opened(
    tmp_path_factory: pytest.TempPathFactory, films: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("films")
    put(folder, *films)
    found = [entry.film for entry in discover(folder)]
    assert found == sorted(films)
    assert all(film_path(folder, film).read_bytes() == b"x" * len(film) for film in found)


@QUICK
@given(name=st.text("a\uf700\uf77f\uf780\uf7ff\uf800", min_size=1, max_size=6))
def test_letters_of_private_use_are_no_bytes(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("films")
    put(folder, name)
    (found,) = discover(folder)
    assert film_path(folder, found.film) == folder / name


def test_a_link_to_a_film_inside_is_a_film(folder: Path) -> None:
    put(folder, "a.png")
    (folder / "link.png").symlink_to("a.png")
    assert discover(folder) == [Found("a.png", 5), Found("link.png", 5)]


def test_a_link_that_leaves_the_folder_is_named_but_is_no_file(
    folder: Path, tmp_path: Path
) -> None:
    put(tmp_path, "secret.png", "films-of-others/b.png")
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    (folder / "b.png").symlink_to("../films-of-others/b.png")
    assert discover(folder) == [
        Found("a.png", 0, is_file=False),
        Found("b.png", 0, is_file=False),
    ]


def test_a_link_to_a_folder_is_one_entry_and_is_not_walked(folder: Path) -> None:
    put(folder, "sub/a.png")
    (folder / "again").symlink_to("sub")
    (folder / "loop").symlink_to(".")
    assert discover(folder) == [
        Found("again", 0, is_file=False),
        Found("loop", 0, is_file=False),
        Found("sub/a.png", 9),
    ]


def test_a_link_that_leads_nowhere_is_named(folder: Path) -> None:
    (folder / "broken").symlink_to("missing.png")
    assert discover(folder) == [Found("broken", 0, is_file=False)]


def test_links_that_go_round_in_a_circle_are_named(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "itself").symlink_to("itself")
    assert discover(folder) == [
        Found("a", 0, is_file=False),
        Found("b", 0, is_file=False),
        Found("itself", 0, is_file=False),
    ]


def test_a_pipe_is_named_but_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert discover(folder) == [Found("pipe.png", 0, is_file=False)]


def test_a_folder_reached_by_a_link_holds_its_films(folder: Path, tmp_path: Path) -> None:
    put(folder, "a.png")
    (folder / "link.png").symlink_to("a.png")
    (tmp_path / "tonight").symlink_to(folder)
    assert discover(tmp_path / "tonight") == [Found("a.png", 5), Found("link.png", 5)]


def test_a_name_that_is_not_utf_8_becomes_text_and_leads_back(folder: Path) -> None:
    (folder / os.fsdecode(b"f\xfcr.png")).write_bytes(b"film")
    (found,) = discover(folder)
    assert found.film.encode("utf-8")
    assert film_path(folder, found.film).read_bytes() == b"film"


def test_a_name_in_the_private_use_area_is_another_film_than_one_that_is_not_utf_8(
    folder: Path,
) -> None:
    (folder / os.fsdecode(b"\xfc.png")).write_bytes(b"one")
    (folder / "\uf7fc.png").write_bytes(b"two")
    found = discover(folder)
    assert len({entry.film for entry in found}) == 2
    assert {film_path(folder, entry.film).read_bytes() for entry in found} == {b"one", b"two"}


def test_a_file_is_found_with_the_time_of_its_last_change(folder: Path) -> None:
    put(folder, "a.png")
    os.utime(folder / "a.png", ns=(5, 1_700_000_000_123_456_789))
    (folder / "link.png").symlink_to("a.png")
    times = [found.modified_ns for found in discover(folder)]
    assert times == [1_700_000_000_123_456_789] * 2
    assert found_at(folder / "a.png").modified_ns == 1_700_000_000_123_456_789


def test_what_is_no_file_has_no_time(folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "secret.png")
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe.png")
    assert [found.modified_ns for found in discover(folder)] == [0, 0]


def test_a_time_that_no_database_can_hold_is_not_known(folder: Path) -> None:
    put(folder, "1600.png", "1969.png", "2400.png")
    for name, seconds in [("1600.png", -11_676_096_000), ("2400.png", 13_569_465_600)]:
        os.utime(folder / name, (seconds, seconds))
    os.utime(folder / "1969.png", (-1, -1))
    times = {found.film: found.modified_ns for found in discover(folder)}
    # Filesystems without such years keep the nearest one that they have.
    assert all(-(2**63) <= time < 2**63 for time in times.values())
    assert times["1969.png"] == -1_000_000_000


def test_a_film_that_was_only_touched_is_the_same_film() -> None:
    touched = Found("a.png", 5, modified_ns=2)
    assert touched == Found("a.png", 5, modified_ns=1)
    assert hash(touched) == hash(Found("a.png", 5))
    assert not touched < Found("a.png", 5, modified_ns=3)


def test_a_film_comes_back_from_json_with_its_time() -> None:
    found = Found("a.png", 5, modified_ns=1_700_000_000_123_456_789)
    assert vars(Found(**json.loads(json.dumps(vars(found))))) == vars(found)
