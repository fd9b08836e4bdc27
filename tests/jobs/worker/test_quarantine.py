"""Quarantine of failed and refused films, each with its reason, and of nothing else."""

import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import QuarantineError
from jobs.worker import quarantine as quarantine_module
from jobs.worker.quarantine import quarantine, reason_names
from screening.files import discover, film_path
from screening.results import Reason, Row, Status

MODIFIED = 1_700_000_000_123_456_789


@pytest.fixture
def into(tmp_path):
    return tmp_path / "quarantine" / "job-1"


def put(folder, film, content=b"no film"):
    """Write an executable film with an old modification time, as from a camera."""
    path = film_path(folder, film)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    os.utime(path, ns=(MODIFIED, MODIFIED))
    return path


def row_of(film, content=b"no film", status=Status.FAILED, code="not_decodable"):
    sha256 = "" if content is None else hashlib.sha256(content).hexdigest()
    why = Reason(code) if status is not Status.SCORED else None
    return Row(film=film, sha256=sha256, status=status, reason=why)


def refused(film, content=b"no film", code="not_image"):
    return row_of(film, content, Status.REFUSED, code)


def files_in(folder):
    return {found.film for found in discover(folder)}


def snapshot(folder):
    """Return everything visible of a folder: names, content, mode, time."""
    return {
        path: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def said(into, name):
    """Return the fields of a reason file."""
    lines = (into / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_only_failed_and_refused_films_are_copied_with_reason(folder, into):
    for film in ("good.png", "same.png", "sub/bad.png", "notes.txt", "late.png"):
        put(folder, film)
    rows = [
        row_of("good.png", status=Status.SCORED),
        row_of("same.png", status=Status.DUPLICATE, code="same_bytes"),
        row_of("sub/bad.png"),
        refused("notes.txt"),
        row_of("late.png", None, code="not_screened"),
    ]
    assert quarantine(rows, folder, into, str) == 2
    assert files_in(into) == {
        "notes.txt",
        "notes.txt.reason.txt",
        "sub/bad.png",
        "sub/bad.png.reason.txt",
    }
    assert (into / "sub/bad.png").read_bytes() == b"no film"
    assert said(into, "sub/bad.png.reason.txt") == {
        "film": "sub/bad.png",
        "status": "failed",
        "reason": "not_decodable: The image could not be decoded.",
        "sha256": hashlib.sha256(b"no film").hexdigest(),
        "copy": "as screened",
    }


def test_no_folder_is_created_without_failures(folder, into):
    put(folder, "good.png")
    assert quarantine([row_of("good.png", status=Status.SCORED)], folder, into, str) == 0
    assert not into.parent.exists()


def test_copy_keeps_time_and_is_private(folder, into):
    put(folder, "bad.png")
    quarantine([row_of("bad.png")], folder, into, str)
    copy = (into / "bad.png").stat()
    assert stat.S_IMODE(copy.st_mode) == 0o600
    assert copy.st_mtime_ns == MODIFIED
    assert stat.S_IMODE((into / "bad.png.reason.txt").stat().st_mode) == 0o600
    assert stat.S_IMODE(into.stat().st_mode) == 0o700


def test_source_folder_is_not_changed(folder, into):
    put(folder, "sub/bad.png")
    (folder / "link.png").symlink_to("sub/bad.png")
    before = snapshot(folder)
    quarantine([row_of("sub/bad.png"), row_of("link.png")], folder, into, str)
    assert snapshot(folder) == before


def test_hashed_names_hide_file_names(folder, into, key):
    put(folder, "Doe/Jane.png")
    put(folder, "Doe/Jane.txt")
    rows = [row_of("Doe/Jane.png"), refused("Doe/Jane.txt")]
    assert quarantine(rows, folder, into, key.film) == 2
    assert files_in(into) == {
        name + suffix
        for name in (key.film("Doe/Jane.png"), key.film("Doe/Jane.txt"))
        for suffix in ("", ".reason.txt")
    }
    texts = [path.read_text() for path in into.glob("*.reason.txt")]
    assert not any("Doe" in text or "Jane" in text for text in texts)


def test_copy_keeps_name_with_invalid_utf8(folder, into):
    (folder / os.fsdecode(b"M\xfcller.png")).write_bytes(b"no film")
    ((found),) = discover(folder)
    quarantine([row_of(found.film)], folder, into, str)
    assert sorted(os.fsencode(path.name) for path in into.iterdir()) == [
        b"M\xfcller.png",
        b"M\xfcller.png.reason.txt",
    ]


def test_line_break_in_name_adds_no_field(folder, into):
    film = "x\nstatus: scored"
    put(folder, film)
    quarantine([row_of(film)], folder, into, str)
    text = (into / f"{film}.reason.txt").read_text()
    assert "status: failed" in text.splitlines()
    assert "status: scored" not in text.splitlines()


def test_link_inside_folder_is_copied_as_file(folder, into):
    put(folder, "sub/bad.png")
    (folder / "link.png").symlink_to("sub/bad.png")
    quarantine([row_of("link.png")], folder, into, str)
    assert not (into / "link.png").is_symlink()
    assert (into / "link.png").read_bytes() == b"no film"


def link_out(folder):
    outside = put(folder.parent / "elsewhere", "secret.png", b"secret")
    (folder / "odd.png").symlink_to(outside)


def folder_linked_out(folder):
    put(folder.parent / "elsewhere", "odd.png", b"secret")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")


def pipe(folder):
    os.mkfifo(folder / "odd.png")


@pytest.mark.parametrize("code", ["not_followed", "not_image"])
@pytest.mark.parametrize("film", [link_out, pipe])
def test_irregular_file_has_only_reason(folder, into, film, code):
    film(folder)
    assert quarantine([refused("odd.png", None, code)], folder, into, str) == 1
    assert files_in(into) == {"odd.png.reason.txt"}
    copy = said(into, "odd.png.reason.txt")["copy"]
    assert copy == "none, the film is not a regular file inside the folder"


def test_folder_replaced_by_outside_link_is_not_followed(folder, into):
    folder_linked_out(folder)
    quarantine([row_of("sub/odd.png", b"secret")], folder, into, str)
    assert files_in(into) == {"sub/odd.png.reason.txt"}


def test_entry_not_followed_before_is_not_followed_later(folder, into):
    put(folder, "odd.png")
    quarantine([refused("odd.png", None, "not_followed")], folder, into, str)
    assert files_in(into) == {"odd.png.reason.txt"}


def test_vanished_film_has_only_reason(folder, into):
    put(folder, "there.png")
    rows = [row_of("gone.png", None, code="vanished"), row_of("there.png")]
    assert quarantine(rows, folder, into, str) == 2
    assert files_in(into) == {"gone.png.reason.txt", "there.png", "there.png.reason.txt"}
    reasons = said(into, "gone.png.reason.txt")
    assert reasons["sha256"] == "none, the film could not be read"
    assert reasons["copy"] == "none, vanished"


def test_changed_film_is_copied_and_marked(folder, into):
    put(folder, "bad.png", b"another film")
    quarantine([row_of("bad.png", b"no film")], folder, into, str)
    reasons = said(into, "bad.png.reason.txt")
    assert reasons["sha256"] == hashlib.sha256(b"no film").hexdigest()
    now = hashlib.sha256(b"another film").hexdigest()
    assert reasons["copy"] == f"not as screened, SHA-256 {now}"
    assert (into / "bad.png").read_bytes() == b"another film"


def test_second_run_changes_nothing(folder, into):
    put(folder, "bad.png")
    put(folder, "changed.png", b"another film")
    rows = [row_of("bad.png"), row_of("changed.png"), row_of("gone.png", None, code="vanished")]
    quarantine(rows, folder, into, str)
    before = snapshot(into)
    inodes = {path: path.stat().st_ino for path in into.iterdir()}
    assert quarantine(rows, folder, into, str) == 3
    assert snapshot(into) == before
    assert {path: path.stat().st_ino for path in into.iterdir()} == inodes


def test_existing_copies_stay_when_films_are_gone(folder, into):
    put(folder, "bad.png")
    put(folder, "changed.png", b"another film")
    rows = [row_of("bad.png"), row_of("changed.png")]
    quarantine(rows, folder, into, str)
    before = snapshot(into)
    shutil.rmtree(folder)
    quarantine(rows, folder, into, str)
    assert snapshot(into) == before


def test_copy_of_screened_content_stays_when_film_changes(folder, into):
    put(folder, "bad.png")
    quarantine([row_of("bad.png")], folder, into, str)
    before = snapshot(into)
    put(folder, "bad.png", b"another film")
    quarantine([row_of("bad.png")], folder, into, str)
    assert snapshot(into) == before


def test_large_film_is_copied_completely(folder, into):
    content = os.urandom(2 * 1024**2 + 1)
    put(folder, "large.png", content)
    quarantine([row_of("large.png", content)], folder, into, str)
    assert (into / "large.png").read_bytes() == content
    assert said(into, "large.png.reason.txt")["copy"] == "as screened"


def test_damaged_copy_is_replaced(folder, into):
    put(folder, "bad.png")
    quarantine([row_of("bad.png")], folder, into, str)
    (into / "bad.png").write_bytes(b"no fi")
    quarantine([row_of("bad.png")], folder, into, str)
    assert (into / "bad.png").read_bytes() == b"no film"


def test_partial_files_of_killed_process_are_removed(folder, into):
    put(folder, "bad.png")
    half = into.with_name(f".{into.name}.partial")
    half.mkdir(parents=True)
    (half / "tmp123").write_bytes(b"no fi")
    quarantine([row_of("bad.png")], folder, into, str)
    assert {path.name for path in into.parent.iterdir()} == {into.name}


class PowerCut(BaseException):
    """An error that no code handles, like a power failure."""


def test_partial_copy_is_never_visible(folder, into, monkeypatch):
    put(folder, "bad.png")

    def cut_short(_path):
        yield b"no "
        raise PowerCut

    monkeypatch.setattr(quarantine_module, "pieces", cut_short)
    with pytest.raises(PowerCut):
        quarantine([row_of("bad.png")], folder, into, str)
    assert files_in(into) == set()


def test_films_named_like_reason_files_are_kept_apart(folder, into):
    films = ("x", "x.reason.txt", "x.reason.txt.reason.txt", "x.reason-2.txt")
    for film in films:
        put(folder, film, film.encode())
    rows = [refused(film, film.encode()) for film in films]
    assert quarantine(rows, folder, into, str) == 4
    assert [(into / film).read_bytes() for film in films] == [film.encode() for film in films]
    reasons = files_in(into) - set(films)
    assert {said(into, name)["film"] for name in reasons} == set(films)
    assert len(reasons) == len(films)


def test_folder_may_be_named_like_reason_file(folder, into):
    put(folder, "x")
    put(folder, "x.reason.txt/y")
    assert quarantine([row_of("x"), row_of("x.reason.txt/y")], folder, into, str) == 2
    assert said(into, "x.reason-2.txt")["film"] == "x"


PARTS = st.sampled_from(["x", ".reason", ".txt", "-2", "-3", "/", "y"])
NAMES = (
    st.lists(PARTS, min_size=1, max_size=7)
    .map("".join)
    .map(lambda name: str(Path(name)).strip("/") or "z")
)


@given(st.lists(NAMES, unique=True, max_size=12))
def test_reason_names_are_unique(films):
    names = reason_names(films)
    folders = {str(parent) for film in films for parent in Path(film).parents}
    assert len(set(names)) == len(films)
    assert not set(names) & (set(films) | folders)
    assert [str(Path(name).parent) for name in names] == [str(Path(film).parent) for film in films]
    assert reason_names(films) == names


def test_failed_copy_does_not_affect_other_films(folder, into):
    for film in ("a.png", "b.png", "c.png"):
        put(folder, film)
    (into / "b.png").mkdir(parents=True)
    (into / "b.png" / "in the way").touch()
    rows = [row_of(film) for film in ("a.png", "b.png", "c.png")]
    with pytest.raises(QuarantineError, match="1 of 3 films") as error:
        quarantine(rows, folder, into, str)
    assert str(into / "b.png") in str(error.value)
    assert os.strerror(errno.EISDIR) in str(error.value)
    assert {"a.png", "a.png.reason.txt", "c.png", "c.png.reason.txt"} <= files_in(into)
    assert {path.name for path in into.parent.iterdir()} == {into.name}


def test_error_uses_shown_name(folder, into, key):
    put(folder, "Doe.png")
    (into / key.film("Doe.png")).mkdir(parents=True)
    with pytest.raises(QuarantineError, match=key.film("Doe.png")) as error:
        quarantine([row_of("Doe.png")], folder, into, key.film)
    assert "Doe" not in str(error.value)


def test_unwritable_quarantine_folder_raises_with_cause(folder, tmp_path):
    put(folder, "bad.png")
    (tmp_path / "file").touch()
    with pytest.raises(QuarantineError, match="cannot be written") as error:
        quarantine([row_of("bad.png")], folder, tmp_path / "file" / "job-1", str)
    assert str(tmp_path / "file" / "job-1") in str(error.value)


def test_full_disk_raises_and_leaves_no_partial_copy(folder, into, monkeypatch):
    put(folder, "bad.png")

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(quarantine_module.os, "fsync", full)
    with pytest.raises(QuarantineError, match=os.strerror(errno.ENOSPC)):
        quarantine([row_of("bad.png")], folder, into, str)
    assert files_in(into) == set()
