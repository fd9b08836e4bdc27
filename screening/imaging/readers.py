"""Select the reader for a file by its format."""

from collections.abc import Callable
from typing import Final

from screening.errors import NotAFilm, UnreadableFilm
from screening.imaging.film import MAX_PIXELS, Film
from screening.imaging.raster import open_raster
from screening.imaging.sniff import BMP, DICOM, JPEG, PNG, TIFF, kind_of


def _open_dicom(data: bytes, max_pixels: int) -> Film:
    # Import pydicom only if needed: it is slow to import, and many jobs have no DICOM files.
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
    """Open a file that was read into memory; the content takes precedence over the suffix.

    Args:
        data: the whole file.
        name: its name; only the suffix is used, and only if the content is not recognised.
        max_pixels: films with more pixels are not decompressed.

    Raises:
        NotAFilm: neither content nor suffix indicate an image.
        UnreadableFilm: the file is an image, but empty, damaged or in an unsupported format.
    """
    kind = kind_of(data, name)
    if not data:
        raise UnreadableFilm("empty", "0 bytes")
    if kind is None:
        raise NotAFilm("no image signature and no image suffix")
    if kind not in _READERS:
        raise UnreadableFilm("unsupported", f"{kind}; convert it to PNG or DICOM")
    return _READERS[kind](data, max_pixels)
