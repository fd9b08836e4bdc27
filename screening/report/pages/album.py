"""Pictures of films on the page: small, and no more than a page can hold."""

from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from screening.gallery import HEATMAPS, THUMBNAILS
from screening.heatmap import strip_rows
from screening.report.pages.page import data_uri

#: Pictures on one page.
_MOST: Final = 200

#: Pixels of the longer side of a heat map on the page, and the quality at which it takes some 6 kB.
_LONGEST: Final = 192
_QUALITY: Final = 75


class Album:
    """Pictures of a report, for its page, until there are enough of them.

    Args:
        report: the folder that holds them.
    """

    def __init__(self, report: Path) -> None:
        self._report = report
        self._left = _MOST

    def picture(self, place: str) -> str:
        """A thumbnail as a data URI; empty if there is none, or there are enough."""
        path = self._take(THUMBNAILS, place)
        return data_uri(path.read_bytes(), "jpeg") if path else ""

    def heat_map(self, place: str, *, lungs: bool = False) -> str:
        """A heat map as a data URI, smaller and without its scale; empty if it is damaged.

        Args:
            lungs: whether there is a line on the lungs below the scale.
        """
        path = self._take(HEATMAPS, place)
        if path is None:
            return ""
        below = strip_rows(lungs=lungs)
        try:
            with Image.open(path) as sheet:
                film = sheet.crop((0, 0, sheet.width, sheet.height - below)).convert("RGB")
        except (OSError, SyntaxError):
            # Pillow's words for a damaged file; the report is worth more than this picture.
            return ""
        film.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        film.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        return data_uri(buffer.getvalue(), "jpeg")

    def _take(self, kind: str, place: str) -> Path | None:
        path = self._report / kind / Path(place).name
        # A later evaluation of a report has its rows, but not its pictures.
        if not place or not self._left or not path.is_file():
            return None
        self._left -= 1
        return path
