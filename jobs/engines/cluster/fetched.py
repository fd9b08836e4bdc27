"""Films of a store that is no file system: each is fetched, read like any other, and removed."""

import errno
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fsspec.core import url_to_fs

from screening.errors import NotAFilm, UnreadableFilm
from screening.films import Found, film_path, path_of
from screening.isolation import IsolatedReader
from screening.reading import MAX_BYTES, Reader, ReadFilm, failed, refused

_PIECE: Final = 1024**2


class FetchedReader:
    """Reads films below an fsspec URL, for one thread; see :class:`~screening.reading.FilmReader`.

    A film lies in a folder that nobody else may enter, below ``$TMPDIR``, for as long as it is read.

    Args:
        url: of the folder.
        recipe: how its films are read; the folder does not count.
    """

    def __init__(self, url: str, recipe: Reader) -> None:
        self._files, self._root = url_to_fs(url)
        self._place = TemporaryDirectory(prefix="screening-")
        self.folder = Path(self._place.name)
        self._reader = IsolatedReader.of(replace(recipe, folder=self.folder))

    @property
    def recipe(self) -> Reader:
        """How a film is read once it is here."""
        return self._reader.recipe

    def known(self, _found: Found) -> None:
        """Every film is to be read."""

    def read(self, found: Found) -> ReadFilm:
        """Fetch, read, decode, gate and preprocess one film. Never raises for what is in a file.

        Raises:
            OSError: if there is no room for it.
        """
        if not found.is_file:
            return self._reader.read(found)
        started = time.perf_counter()
        path = film_path(self.folder, found.film)
        try:
            self._fetch(f"{self._root.rstrip('/')}/{path_of(found.film)}", path)
            film = self._reader.read(found)
        except NotAFilm:
            return refused(found.film, "not_followed")
        except UnreadableFilm as error:
            return failed(found.film, error)
        finally:
            path.unlink(missing_ok=True)
        return replace(film, seconds=time.perf_counter() - started)

    def close(self) -> None:
        """End what decodes, and remove the folder."""
        self._reader.close()
        self._place.cleanup()

    def _fetch(self, source: str, path: Path) -> None:
        """Copy one file, with the checks of :func:`~screening.reading.read_file`."""
        try:
            about = self._files.info(source)
            if about["type"] != "file":
                raise NotAFilm("not a regular file")
            _check_size(about["size"] or 0)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._files.open(source, "rb") as remote, path.open("wb") as local:
                while piece := remote.read(_PIECE):
                    _check_size(local.tell() + len(piece))
                    local.write(piece)
        except FileNotFoundError as error:
            raise UnreadableFilm("vanished", "") from error
        except (OSError, UnicodeError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            # What stores say may hold the film's name; what the system says does not.
            said = getattr(error, "strerror", None) if type(error) is OSError else None
            raise UnreadableFilm("unreadable", said or type(error).__name__) from error


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableFilm("too_large", f"{size:,} bytes")
