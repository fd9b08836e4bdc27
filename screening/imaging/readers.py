"""Choose the reader for a file: the one place that knows every format."""

from collections.abc import Callable
from typing import Final

from screening.errors import NotAFilm, UnreadableFilm
from screening.imaging.film import MAX_PIXELS, Film
from screening.imaging.raster import open_raster
from screening.imaging.sniff import BMP, DICOM, JPEG, PNG, TIFF, kind_of


def _open_dicom(data: bytes, max_pixels: int) -> Film:
    # pydicom takes a while to import, and many a night has none of its films.
    from screening.imaging.dicom import open_dicom

    return open_dicom(data, max_pixels)


_READERS: Final[dict[str, Callable[[bytes, int], Film]]] = {
    PNG: open_raster,
    JPEG: open_raster,
    TIFF: open_raster,
    BMP: open_raster,
    DICOM: _open_dicom,
}


def open_film(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Film:
    """Open a file that was read into memory, whatever its suffix says.

    Args:
        data: the whole file.
        name: its name; only the suffix is looked at, and only if the bytes say nothing.
        max_pixels: films of more pixels are not unpacked.

    Raises:
        NotAFilm: neither bytes nor suffix say that this is an image.
        UnreadableFilm: it is an image, but empty, damaged or of a format that is not read.
    """
    kind = kind_of(data, name)
    if not data:
        raise UnreadableFilm("empty", "0 bytes")
    if kind is None:
        raise NotAFilm("no image signature and no image suffix")
    if kind not in _READERS:
        raise UnreadableFilm("unsupported", f"{kind}; convert it to PNG or DICOM")
    return _READERS[kind](data, max_pixels)
