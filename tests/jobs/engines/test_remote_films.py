"""Films fetched through fsspec: read like local ones, with the same checks."""

import errno
import os
from contextlib import closing
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobs.engines.dask import worker
from jobs.engines.dask.worker import FetchedReader
from makers import dicom_bytes, dicom_film, grey_film, make_card, write_film
from screening.files import Found, discover, text_of
from screening.inference.reader import Reader
from screening.inference.sandbox import IsolatedReader
from screening.results import Status


@pytest.fixture
def store():
    """An in-memory object store."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def recipe(folder):
    return Reader(folder, make_card().preprocessing)


@pytest.fixture
def reader(recipe):
    with closing(FetchedReader("memory://bucket/films", recipe)) as reader:
        yield reader


def upload(store, folder):
    for found in discover(folder):
        store.pipe(f"/bucket/films/{found.film}", (folder / found.film).read_bytes())


def plain(film):
    """Return the values of a film that two readers must agree on."""
    fields = {
        name: value
        for name, value in vars(film).items()
        if name not in ("tensor", "seconds", "cost")
    }
    return fields, None if film.tensor is None else film.tensor.tolist()


@pytest.mark.parametrize("way", ["memory://bucket/films", "file://{folder}"])
def test_fetched_film_equals_local_film(store, recipe, folder, way):
    write_film(folder / "a.png", 1)
    write_film(folder / "deep/er/b c.jpg", 2)
    (folder / "d.dcm").write_bytes(dicom_bytes(dicom_film(grey_film(3), PatientID="7")))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "empty").touch()
    (folder / "text").write_text("hello")
    upload(store, folder)
    films = discover(folder)
    with (
        closing(IsolatedReader.of(recipe)) as here,
        closing(FetchedReader(way.format(folder=folder), recipe)) as there,
    ):
        assert [plain(there.read(found)) for found in films] == [
            plain(here.read(found)) for found in films
        ]


def test_copy_of_film_is_removed(store, reader, folder):
    write_film(folder / "deep/a.png", 1)
    upload(store, folder)
    assert reader.read(Found("deep/a.png", 1)).status is Status.SCORED
    assert [path for path in reader.folder.rglob("*") if path.is_file()] == []
    assert reader.folder.stat().st_mode & 0o077 == 0
    reader.close()
    assert not reader.folder.exists()


@pytest.mark.parametrize(
    ("name", "code"), [("away.png", "vanished"), ("deep", "not_followed"), ("f\udcfcr", "vanished")]
)
def test_missing_or_irregular_object_gets_reason(store, reader, folder, name, code):
    write_film(folder / "deep/a.png", 1)
    upload(store, folder)
    assert reader.read(Found(text_of(name), 1)).reason.code == code


def test_irregular_file_in_listing_is_not_fetched(store, reader):
    assert reader.read(Found("pipe", 0, is_file=False)).reason.code == "not_followed"


def test_film_over_size_limit_is_not_fetched(store, reader, folder, monkeypatch):
    size = write_film(folder / "a.png", 1).stat().st_size
    upload(store, folder)
    monkeypatch.setattr(worker, "MAX_BYTES", size - 1)
    assert reader.read(Found("a.png", size)).reason.code == "too_large"
    monkeypatch.setattr(worker, "MAX_BYTES", size)
    assert reader.read(Found("a.png", size)).status is Status.SCORED


def test_film_larger_than_reported_size_is_not_read(store, reader, folder, monkeypatch):
    size = write_film(folder / "a.png", 1).stat().st_size
    upload(store, folder)
    about = {"type": "file", "size": None}
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_arguments, **_options: about)
    monkeypatch.setattr(worker, "MAX_BYTES", size - 1)
    assert reader.read(Found("a.png", size)).reason.code == "too_large"


def test_error_of_store_does_not_name_film(store, reader, monkeypatch):
    class Denied(OSError):
        """An error as raised by storage libraries."""

    def denied(_files, path, **_options):
        raise Denied(f"403 for {path}")

    monkeypatch.setattr(MemoryFileSystem, "info", denied)
    film = reader.read(Found("MUSTERMANN.png", 1))
    assert str(film.reason) == "unreadable: The file could not be opened (Denied)."


def test_full_disk_raises_os_error(store, reader, folder, monkeypatch):
    def full(_files, _path, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(MemoryFileSystem, "info", full)
    with pytest.raises(OSError, match="No space left"):
        reader.read(Found("a.png", 1))


def test_reader_uses_its_own_folder(reader, folder):
    assert reader.folder != folder == Path(folder)
    assert reader.recipe.folder == reader.folder
