"""How large a film may be, asked before anything is unpacked."""

from typing import Final

from screening.errors import UnreadableFilm
from screening.limits import Limits

#: Films larger than this many pixels are not decoded, unless the job says otherwise.
MAX_PIXELS: Final = Limits.pixels


def check_size(rows: int, columns: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a decompression bomb before it is unpacked.

    Raises:
        UnreadableFilm: if the film has no pixels, or more than `max_pixels`.
    """
    if rows < 1 or columns < 1:
        raise UnreadableFilm("not_decodable", f"{rows} x {columns} pixels")
    if rows * columns > max_pixels:
        raise UnreadableFilm(
            "too_large", f"{rows} x {columns} pixels, {max_pixels:,} pixels are allowed"
        )
