"""Pictures of a report: kept beside it until it is written, then part of it."""

import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from screening.errors import ReportError
from screening.files import sync
from screening.results import Row

#: In a report.
HEATMAPS: Final = "heatmaps"
THUMBNAILS: Final = "thumbnails"

_SUFFIXES: Final = {HEATMAPS: ".png", THUMBNAILS: ".jpg"}


@dataclass(frozen=True)
class ReportImages:
    """Where the pictures of one report wait for it.

    They are on the disk before the rows that name them are committed, and stay where they are
    until the report is there: whoever goes on after a crash has all of them.

    Attributes:
        aside: a folder of this report alone, on the same disk; made when it is needed.
        heatmaps: whether each scored film is to have a heat map.
        thumbnails: whether it is to have a thumbnail.
    """

    aside: Path
    heatmaps: bool = True
    thumbnails: bool = False

    def keep(self, pictures: Mapping[str, bytes]) -> None:
        """Write files, each whole or not at all, over those of an earlier try.

        Args:
            pictures: content by path in the report, from :func:`place_of`.

        Raises:
            ReportError: if they cannot be written.
        """
        if not pictures:
            return
        try:
            self.aside.mkdir(parents=True, exist_ok=True)
            self._write({Path(place).name: picture for place, picture in pictures.items()})
            sync(self.aside)
        except OSError as error:
            raise ReportError(
                f"pictures cannot be written to {self.aside}: {error.strerror}"
            ) from error

    def hang(self, report: Path, rows: Iterable[Row]) -> None:
        """Put the pictures that `rows` name into the folder `report`; they stay here, too.

        Raises:
            ReportError: if one is missing.
            OSError: if one cannot be written.
        """
        named = {pair for row in rows for pair in _named(row) if pair[1]}
        for kind, place in sorted(named):
            kept, hung = self.aside / Path(place).name, report / kind / Path(place).name
            hung.parent.mkdir(exist_ok=True)
            try:
                _link(kept, hung)
            except FileNotFoundError as error:
                raise ReportError(f"the picture {kept} is missing; screen again") from error

    def recall(self, report: Path) -> None:
        """Keep the pictures of a report once more, for another one of the same films.

        Raises:
            ReportError: if they cannot be written.
        """
        hung = [
            picture
            for kind, suffix in _SUFFIXES.items()
            for picture in sorted((report / kind).glob(f"*{suffix}"))
        ]
        if not hung:
            return
        try:
            self.aside.mkdir(parents=True, exist_ok=True)
            for picture in hung:
                kept = self.aside / picture.name
                if not kept.exists():
                    _link(picture, kept)
            sync(self.aside)
        except OSError as error:
            raise ReportError(
                f"pictures of {report} cannot be kept in {self.aside}: {error.strerror}"
            ) from error

    def clear(self) -> None:
        """Remove what was kept: the report is there, or will never be."""
        shutil.rmtree(self.aside, ignore_errors=True)

    def _write(self, pictures: Mapping[str, bytes]) -> None:
        # A worker that lost its job may be writing the same pictures.
        mark = secrets.token_hex(4)
        unfinished = {name: self.aside / f".{name}.{mark}" for name in pictures}
        try:
            for name, picture in pictures.items():
                unfinished[name].write_bytes(picture)
            # One after the other would make the disk wait for each of them.
            for name, path in unfinished.items():
                sync(path)
                path.replace(self.aside / name)
        except BaseException:
            for path in unfinished.values():
                path.unlink(missing_ok=True)
            raise


def place_of(sha256: str, kind: str = HEATMAPS) -> str:
    """Path in the report of the heat map or thumbnail of the film with this hash."""
    return f"{kind}/{sha256[:16]}{_SUFFIXES[kind]}"


def _named(row: Row) -> tuple[tuple[str, str], ...]:
    """The kinds of a row's pictures, with their places or nothing."""
    return (HEATMAPS, row.heatmap), (THUMBNAILS, row.thumbnail)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
