"""Store the pictures of a report in a side folder until the report is written."""

import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from screening.errors import FileUnavailable
from screening.files import sync
from screening.results import Row

#: Kinds of pictures, which are also their folders in a report.
HEATMAPS: Final = "heatmaps"
THUMBNAILS: Final = "thumbnails"

_SUFFIXES: Final = {HEATMAPS: ".png", THUMBNAILS: ".jpg"}


@dataclass(frozen=True)
class ReportImages:
    """The pictures of one report until it is written.

    Pictures are on disk before the rows that name them are committed, and stay there until the
    report exists, so a job that resumes after a crash finds all of them.

    Attributes:
        aside: a folder for this report only, on the same disk; created when needed.
        heatmaps: whether to make a heat map of each scored film.
        thumbnails: whether to make a thumbnail of each scored film.
    """

    aside: Path
    heatmaps: bool = True
    thumbnails: bool = False

    def keep(self, pictures: Mapping[str, bytes]) -> None:
        """Write each picture atomically, replacing those of an earlier attempt.

        Args:
            pictures: content by path in the report, from :func:`place_of`.

        Raises:
            FileUnavailable: if the pictures cannot be written.
        """
        if not pictures:
            return
        try:
            self.aside.mkdir(parents=True, exist_ok=True)
            self._write({Path(place).name: picture for place, picture in pictures.items()})
            sync(self.aside)
        except OSError as error:
            raise FileUnavailable(
                f"the pictures cannot be written to {self.aside}: {error.strerror}"
            ) from error

    def hang(self, report: Path, rows: Iterable[Row]) -> None:
        """Publish the pictures that `rows` name in the folder `report`; keep the copies here.

        Raises:
            FileUnavailable: if a picture is missing.
            OSError: if a picture cannot be written.
        """
        named = {pair for row in rows for pair in _named(row) if pair[1]}
        for kind, place in sorted(named):
            kept, published = self.aside / Path(place).name, report / kind / Path(place).name
            published.parent.mkdir(exist_ok=True)
            try:
                _link(kept, published)
            except FileNotFoundError as error:
                raise FileUnavailable(f"the picture {kept} is missing; screen again") from error

    def recall(self, report: Path) -> None:
        """Copy the pictures of a report back here, for another report of the same films.

        Raises:
            FileUnavailable: if the pictures cannot be written.
        """
        published = [
            picture
            for kind, suffix in _SUFFIXES.items()
            for picture in sorted((report / kind).glob(f"*{suffix}"))
        ]
        if not published:
            return
        try:
            self.aside.mkdir(parents=True, exist_ok=True)
            for picture in published:
                kept = self.aside / picture.name
                if not kept.exists():
                    _link(picture, kept)
            sync(self.aside)
        except OSError as error:
            raise FileUnavailable(
                f"the pictures of {report} cannot be copied to {self.aside}: {error.strerror}"
            ) from error

    def clear(self) -> None:
        """Delete the folder, once the report is written or will never be."""
        shutil.rmtree(self.aside, ignore_errors=True)

    def _write(self, pictures: Mapping[str, bytes]) -> None:
        # A worker that lost its lease may still be writing the same pictures.
        suffix = secrets.token_hex(4)
        unfinished = {name: self.aside / f".{name}.{suffix}" for name in pictures}
        try:
            for name, picture in pictures.items():
                unfinished[name].write_bytes(picture)
            # Sync after writing all files: syncing each one right away would be slower.
            for name, path in unfinished.items():
                sync(path)
                path.replace(self.aside / name)
        except BaseException:
            for path in unfinished.values():
                path.unlink(missing_ok=True)
            raise


def place_of(sha256: str, kind: str = HEATMAPS) -> str:
    """Return the path in the report of the heat map or thumbnail of the film with this hash."""
    return f"{kind}/{sha256[:16]}{_SUFFIXES[kind]}"


def _named(row: Row) -> tuple[tuple[str, str], ...]:
    """Return (kind, path in the report) of a row's pictures; the path is empty without one."""
    return (HEATMAPS, row.heatmap), (THUMBNAILS, row.thumbnail)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
