"""Settling of folders, and audit events for changes after the listing."""

import hashlib
import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.sources.folder_changes import (
    ChangeKind,
    FolderChange,
    changes,
    late_events,
    newest_change,
    settles_at,
)
from screening.audit import Event
from screening.files import Found, discover

NOW = 1_800_000_000.0
AT = "2026-11-22T21:30:05.123+00:00"


def changed_at(path):
    return os.lstat(path).st_ctime


def touch_last(path, folder):
    """Change `path` so that its change time is the newest in `folder`; return that time."""
    others = [changed_at(other) for other in [folder, *folder.rglob("*")] if other != path]
    while changed_at(path) <= max(others):
        os.utime(path, (0, 0), follow_symlinks=False)
    return changed_at(path)


@pytest.fixture
def tree(folder):
    """A folder with one entry of each kind."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "film.dcm").write_bytes(b"film")
    (folder / ".hidden").write_bytes(b"film")
    (folder / "link").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    "name", [".", "deep", "deep/er", "deep/er/film.dcm", ".hidden", "link", "pipe"]
)
def test_newest_change_ignores_modification_time(tree, name):
    path = tree / name
    last = touch_last(path, tree)
    assert newest_change(tree, last) == last
    assert os.lstat(path).st_mtime == 0


def test_removal_changes_parent_folder(tree):
    before = touch_last(tree / "link", tree)
    while changed_at(tree / "deep" / "er") <= before:
        (tree / "deep" / "er" / "film.dcm").unlink(missing_ok=True)
        (tree / "deep" / "er" / "film.dcm").touch()
    (tree / "deep" / "er" / "film.dcm").unlink()
    assert newest_change(tree, before) == changed_at(tree / "deep" / "er") > before


def test_links_are_not_followed(tree, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "film.dcm").touch()
    (tree / "out").symlink_to(tmp_path / "elsewhere")
    (tree / "round").symlink_to(".")
    last = touch_last(tree / "deep", tree)
    while changed_at(tmp_path / "elsewhere" / "film.dcm") <= last:
        (tmp_path / "elsewhere" / "film.dcm").touch()
    assert newest_change(tree, last) == last


def test_folder_may_be_reached_by_link(tree, tmp_path):
    (tmp_path / "tonight").symlink_to(tree)
    last = touch_last(tree / ".hidden", tree)
    assert newest_change(tmp_path / "tonight", last) == last


def test_changes_in_future_are_ignored(tree):
    older = newest_change(tree, NOW)
    newer = touch_last(tree / ".hidden", tree)
    assert newest_change(tree, (older + newer) / 2 - 60) == older
    assert newest_change(tree, newer - 59) == newer
    assert newest_change(tree, 1000.0) == 0
    assert settles_at(tree, 30, 1000.0) is None


def test_unlistable_folder_raises(folder):
    with pytest.raises(FileNotFoundError):
        newest_change(folder / "nowhere", NOW)
    (folder / "film").touch()
    with pytest.raises(NotADirectoryError):
        newest_change(folder / "film", NOW)


@pytest.mark.parametrize("film_takes_its_place", [False, True])
def test_folder_vanishing_meanwhile_is_skipped(tree, monkeypatch, film_takes_its_place):
    scandir = os.scandir

    def taken_away(walked):
        if walked == str(tree / "deep"):
            shutil.rmtree(walked)
            if film_takes_its_place:
                (tree / "deep").touch()
        return scandir(walked)

    last = touch_last(tree / ".hidden", tree)
    monkeypatch.setattr(os, "scandir", taken_away)
    assert newest_change(tree, last) == last


class Listed(list):
    """Contents of a folder at the time of listing."""

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass


def test_file_vanishing_meanwhile_is_skipped(tree, monkeypatch):
    scandir = os.scandir

    def taken_away(walked):
        with scandir(walked) as entries:
            listed = Listed(entries)
        (tree / "deep" / "er" / "film.dcm").unlink(missing_ok=True)
        return listed

    last = touch_last(tree / ".hidden", tree)
    monkeypatch.setattr(os, "scandir", taken_away)
    assert newest_change(tree, last) == last


def test_folder_settles_given_seconds_after_last_change(tree):
    last = newest_change(tree, NOW)
    assert settles_at(tree, 30, last) == last + 30
    assert settles_at(tree, 30, last + 29) == last + 30
    assert settles_at(tree, 30, last + 30) is None
    assert settles_at(tree, 30, last + 1e6) is None


def test_settle_zero_skips_check(folder):
    assert settles_at(folder / "nowhere", 0, NOW) is None


def test_changes_are_found_by_size_time_and_kind():
    listed = [
        Found("gone", 1, modified_ns=5),
        Found("grown", 1, modified_ns=5),
        Found("link", 0, is_file=False),
        Found("same", 1, modified_ns=5),
        Found("touched", 1, modified_ns=5),
    ]
    present = [
        Found("grown", 2, modified_ns=5),
        Found("late", 1, modified_ns=6),
        Found("link", 0, modified_ns=6),
        Found("same", 1, modified_ns=5),
        Found("touched", 1, modified_ns=4),
    ]
    assert [(change.kind, change.found.film) for change in changes(listed, present)] == [
        (ChangeKind.REMOVED, "gone"),
        (ChangeKind.CHANGED, "grown"),
        (ChangeKind.ARRIVED_LATE, "late"),
        (ChangeKind.CHANGED, "link"),
        (ChangeKind.CHANGED, "touched"),
    ]


def test_unknown_time_in_listing_is_ignored():
    listed = [Found("a", 1), Found("b", 1)]
    present = [Found("a", 1, modified_ns=6), Found("b", 2, modified_ns=6)]
    assert changes(listed, present) == [FolderChange(ChangeKind.CHANGED, present[1])]


FILMS = st.lists(
    st.builds(
        Found,
        st.text("ab/.\udcff", min_size=1, max_size=3),
        st.integers(0, 2),
        st.booleans(),
        st.integers(0, 2),
    ),
    unique_by=lambda found: found.film,
)


@given(FILMS, FILMS)
def test_listing_plus_changes_equals_present_films(listed, present):
    told = changes(listed, present)
    films = {found.film: found for found in listed}
    for change in told:
        if change.kind is ChangeKind.REMOVED:
            del films[change.found.film]
        else:
            assert (change.found.film in films) is (change.kind is ChangeKind.CHANGED)
            films[change.found.film] = change.found
    assert sorted(films.values()) == sorted(present)
    names = [change.found.film for change in told]
    assert names == sorted(set(names))


@given(FILMS)
def test_unchanged_folder_has_no_changes(films):
    assert changes(films, films[::-1]) == []


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def write(path, data, seconds=1_795_383_000):
    path.write_bytes(data)
    os.utime(path, (seconds, seconds))


def test_late_films_have_hash_and_time_and_removed_ones_name(folder):
    write(folder / "a.png", b"one")
    listed = discover(folder)
    (folder / "a.png").unlink()
    write(folder / "b.png", b"two")
    assert late_events(folder, listed, {"a.png": sha256(b"one")}, str, AT) == [
        Event(AT, "removed", "a.png"),
        Event(
            AT,
            "arrived_late",
            "b.png",
            {"modified": "2026-11-22T21:30:00.000+00:00"},
            sha256(b"two"),
        ),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (sha256(b"old"), "old_content"),
        (sha256(b"new"), "new_content"),
        ("", "no_content"),
        (None, "no_content"),
    ],
)
def test_changed_film_event_says_which_content_row_is_of(folder, row, says):
    write(folder / "a.png", b"old", seconds=1_795_382_000)
    listed = discover(folder)
    write(folder / "a.png", b"new")
    rows = {} if row is None else {"a.png": row}
    (event,) = late_events(folder, listed, rows, str, AT)
    fields = {"row_of": says, "modified": "2026-11-22T21:30:00.000+00:00"}
    assert event == Event(AT, "changed", "a.png", fields, sha256(b"new"))


def test_unreadable_changed_film_has_no_hash(folder, monkeypatch):
    write(folder / "a.png", b"old")
    listed = [replace(found, size=99) for found in discover(folder)]

    def vanished(_path):
        return ""

    monkeypatch.setattr("jobs.sources.folder_changes.hash_of", vanished)
    (event,) = late_events(folder, listed, {"a.png": sha256(b"old")}, str, AT)
    assert event.sha256 == ""
    assert event.fields["row_of"] == "unreadable"


def test_files_outside_folder_are_not_read(folder, tmp_path):
    write(folder / "a.png", b"old")
    listed = discover(folder)
    write(tmp_path / "secret.png", b"secret")
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    (folder / "b.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe")
    assert late_events(folder, listed, {"a.png": sha256(b"old")}, str, AT) == [
        Event(AT, "changed", "a.png", {"row_of": "no_file"}),
        Event(AT, "arrived_late", "b.png"),
        Event(AT, "arrived_late", "pipe"),
    ]


def test_name_with_invalid_utf8_is_read(folder):
    write(folder / os.fsdecode(b"f\xfcr.png"), b"film")
    (event,) = late_events(folder, [], {}, str, AT)
    assert event.sha256 == sha256(b"film")
    assert event.subject.encode("utf-8")


def test_hashed_names_hide_file_names_in_events(folder, key):
    for name in ("Doe^Jane 1.png", "Doe^Jane 2.png"):
        write(folder / name, b"old", seconds=1)
    listed = discover(folder)
    (folder / "Doe^Jane 1.png").unlink()
    write(folder / "Doe^Jane 2.png", b"new")
    write(folder / "Doe^Jane 3.png", b"late")
    told = late_events(folder, listed, {}, key.film, AT)
    assert [event.subject for event in told] == [
        key.film(f"Doe^Jane {number}.png") for number in (1, 2, 3)
    ]
    assert "Doe" not in str(told)


def test_missing_folder_raises(folder):
    with pytest.raises(FileNotFoundError):
        late_events(folder / "nowhere", [], {}, str, AT)
