"""Read DICOM films: header as plain data, pixels rendered as PS3.14 displays them."""

import re
import zlib
from io import BytesIO
from typing import Final

import numpy as np
from pydicom import config, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from screening.errors import NotAFilm, UnreadableFilm
from screening.imaging.attributes import (
    MONOCHROME,
    PALETTE,
    ImagePixel,
    read_header,
    read_image_pixel,
    text,
    values,
)
from screening.imaging.colour import grey_of_colour
from screening.imaging.downscale import LOW_PASS, MEANS, halvings
from screening.imaging.film import MAX_PIXELS, Decoded, Film, Grey, check_size, silence
from screening.imaging.frames import (
    Frame,
    has_resolutions,
    read_frame,
    read_low_resolution,
    syntax_name,
)
from screening.imaging.luts import TableError, read_palette
from screening.imaging.masks import padding_of
from screening.imaging.render import (
    Cells,
    applied,
    halvings_for_range,
    is_windowed,
    line_of,
    render,
    shade,
)
from screening.results import FilmWarning

# Validation messages would quote the invalid value; see :mod:`screening.imaging.film`.
config.settings.reading_validation_mode = config.IGNORE

_IDENTIFYING: Final = frozenset({"SOPClassUID", "Modality", "PixelData"})

_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")

# Storage SOP classes whose pixel data are labels or measurements (PS3.4 annex B.5).
_NOT_FILMS: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.30",  # parametric map
        "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # label map segmentation
        "1.2.840.10008.5.1.4.1.1.66.8",  # height map segmentation
        "1.2.840.10008.5.1.4.1.1.481.2",  # RT dose
    }
)

# A deflated data set may be this much larger than the pixels that the limit allows.
_BYTES_A_PIXEL: Final = 4
_SMALL: Final = 64 << 20


def open_dicom(data: bytes, max_pixels: int = MAX_PIXELS) -> Film:
    """Open a film from the bytes of a DICOM file, with or without preamble and File Meta.

    Raises:
        UnreadableFilm: if the data set cannot be parsed, or is an image without its pixels.
        NotAFilm: if it is another kind of object (a report, a DICOMDIR); the message names it.
    """
    silence()
    try:
        _check_deflated(data, max_pixels)
        dataset = dcmread(BytesIO(data), force=True)
        dataset.buffer = None  # everything has been read: release the file
        _check_kind(dataset)
        return Film(
            read_header(dataset),
            lambda: decode_dicom(dataset, max_pixels),
            lambda side: reduce_dicom(dataset, side, max_pixels),
        )
    except (MemoryError, NotAFilm, UnreadableFilm):
        raise
    # Damaged files raise arbitrary exceptions (struct.error, zlib.error, KeyError, RecursionError);
    # pydicom has no common base class for them, and one bad film must never fail the job.
    except Exception as error:
        raise UnreadableFilm("not_decodable", f"DICOM {type(error).__name__}") from error


def decode_dicom(
    dataset: FileDataset, max_pixels: int = MAX_PIXELS
) -> tuple[Grey, tuple[FilmWarning, ...]]:
    """Decode the first frame and render it to grey values.

    Raises:
        UnreadableFilm: if the pixel data cannot be decoded; the message names the transfer syntax.
    """
    silence()
    name = "DICOM"
    try:
        syntax = _transfer_syntax(dataset)
        name = syntax_name(syntax)
        _check_pixels(dataset)
        pixel = read_image_pixel(dataset)
        check_size(pixel.rows, pixel.columns, max_pixels)
        frame = read_frame(dataset, syntax, pixel, max_pixels)
        grey, warnings = _shown(dataset, pixel.photometric, frame)
    except MemoryError:
        raise
    except UnreadableFilm as error:
        if error.code != "not_decodable":
            raise
        raise UnreadableFilm(error.code, f"{name}: {error.detail}") from error
    # Each codec raises its own errors; see above.
    except Exception as error:
        detail = f"{name}: {type(error).__name__}"
        raise UnreadableFilm("not_decodable", detail) from error
    return grey, _of_frames(pixel) + warnings


def reduce_dicom(dataset: FileDataset, side: int, max_pixels: int = MAX_PIXELS) -> Decoded | None:
    """Return the first frame averaged, or without its finest resolution.

    Args:
        side: see :func:`~screening.imaging.downscale.halvings`.

    Returns:
        None for a film that is too small, has colour, is not rendered by a single line between two
        ends, or cannot be decoded.
    """
    silence()
    try:
        pixel = read_image_pixel(dataset)
        if pixel.photometric not in MONOCHROME or pixel.allocated not in (8, 16):
            return None
        check_size(pixel.rows, pixel.columns, max_pixels)
        return _reduced(dataset, pixel, side, max_pixels)
    except MemoryError:
        raise
    # Decoding in full will report the reason.
    except Exception:  # noqa: BLE001
        return None


def _reduced(dataset: FileDataset, pixel: ImagePixel, side: int, max_pixels: int) -> Decoded | None:
    syntax, big_endian = _transfer_syntax(dataset), dataset.original_encoding[1] is False
    kind = np.dtype(f"{'i' if pixel.signed else 'u'}{pixel.allocated // 8}")
    shape = (pixel.rows, pixel.columns)
    power = halvings(*shape, side, MEANS)
    low_power = halvings(*shape, side, LOW_PASS) if has_resolutions(syntax) else 0
    if not (power or low_power):
        return None
    line, warnings = None, tuple[FilmWarning, ...]()
    windowed = is_windowed(dataset, big_endian=big_endian)
    if windowed:
        line, warnings = line_of(dataset, kind, pixel.stored, big_endian=big_endian)
        if line is None:
            return None  # return before decoding anything
    low = _low_resolution(dataset, syntax, pixel, low_power, max_pixels, windowed)
    power = low.power if low else power
    if not power:
        return None
    cells = low or Cells.of(read_frame(dataset, syntax, pixel, max_pixels).values)
    if not low and cells.values.dtype != kind:
        line, kind = None, cells.values.dtype
    if line is None:
        line, warnings = line_of(dataset, kind, pixel.stored, cells, big_endian=big_endian)
    if line is None:
        return None
    grey = line.grey(cells.values) if low else line.averaged(cells.values, power)
    decoding = f"{'jpeg2000' if low else 'mean'}/{1 << power}"
    warnings = _of_frames(pixel) + warnings
    return Decoded(grey, warnings, pixel.rows, pixel.columns, decoding, power, low is not None)


def _low_resolution(
    dataset: FileDataset,
    syntax: str,
    pixel: ImagePixel,
    power: int,
    max_pixels: int,
    windowed: bool,
) -> Cells | None:
    """Decode a film without its finest resolution; None if the full resolution is needed."""
    if not windowed:
        power = min(power, halvings_for_range(pixel.rows, pixel.columns))
        # In a low pass, padding is mixed with image and can no longer be told apart.
        if padding_of(dataset, pixel.signed) is not None:
            return None
    if not power:
        return None
    return read_low_resolution(dataset, syntax, pixel, max_pixels, power)


def _of_frames(pixel: ImagePixel) -> tuple[FilmWarning, ...]:
    """Return a warning if the film has more frames than the one that is read."""
    more = pixel.frames > 1
    return (FilmWarning("multi_frame", f"first of {pixel.frames} frames"),) if more else ()


def _shown(
    dataset: FileDataset, photometric: str, frame: Frame
) -> tuple[Grey, tuple[FilmWarning, ...]]:
    big_endian = dataset.original_encoding[1] is False
    if frame.values.ndim == 2 and photometric != PALETTE:
        return render(dataset, frame.values, big_endian=big_endian)
    if photometric == PALETTE:
        signed = frame.values.dtype.kind == "i"
        try:
            palette = read_palette(dataset, signed=signed, big_endian=big_endian)
        except TableError as error:
            raise UnreadableFilm("not_decodable", str(error)) from error
        grey = applied(lambda index: palette.look_up(index) / palette.top, frame.values)
    else:
        grey = grey_of_colour(frame.values, frame.bits, frame.colour)
    shade(dataset, grey)
    return grey, ()


def _check_kind(dataset: FileDataset) -> None:
    """Distinguish films from other DICOM objects, by SOP class and by the attributes present."""
    meta = dataset.file_meta
    # With force=True, pydicom parses any bytes as elements; require at least one of these.
    if not (_IDENTIFYING & set(dataset.dir()) or "MediaStorageSOPClassUID" in meta):
        raise UnreadableFilm("not_decodable", "no DICOM data set")
    sop_class = text(dataset, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID")
    name = _sop_class_name(sop_class)
    has_pixels = any(keyword in dataset for keyword in _PIXELS)
    if sop_class in _NOT_FILMS or (not has_pixels and name and "Image Storage" not in name):
        raise NotAFilm(name)
    if has_pixels:
        return
    if "Rows" in dataset or name:
        raise UnreadableFilm("not_decodable", "the pixel data are missing or cut off")
    raise NotAFilm("DICOM without pixel data")


def _sop_class_name(uid: str) -> str:
    """Return the registered name (PS3.6 annex A) of a SOP class; empty for other UIDs."""
    later = {
        "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
        "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
    }
    if uid in later:
        return later[uid]
    known = UID(uid)
    return known.name if known.type == "SOP Class" else ""


def _check_pixels(dataset: FileDataset) -> None:
    for keyword in _PIXELS[1:]:
        if keyword in dataset and "PixelData" not in dataset:
            raise UnreadableFilm(
                "unsupported", f"{keyword}; export the film with integer pixel data"
            )


def _check_deflated(data: bytes, max_pixels: int) -> None:
    """Reject a deflated data set (PS3.5 A.5) that would inflate to more than the largest film.

    pydicom inflates it in one piece, so it is inflated here first, in chunks that are discarded.
    """
    uid = re.escape(DeflatedExplicitVRLittleEndian.encode())
    if not re.search(rb"\x02\x00\x10\x00UI..%b(?!\d)" % uid, data[:4096], re.DOTALL):
        return
    start = _end_of_file_meta(data)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    limit = max_pixels * _BYTES_A_PIXEL + _SMALL
    rest, size = data[start:], 0
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, 1 << 20))
        rest = inflater.unconsumed_tail
        if size > limit:
            raise UnreadableFilm("too_large", f"deflated, more than {limit:,} bytes unpacked")


def _end_of_file_meta(data: bytes) -> int:
    """Return the offset of the data set, after File Meta, which is never deflated."""
    start = 132 if data[128:132] == b"DICM" else 0
    if data[start : start + 8] == b"\x02\0\0\0UL\x04\0":
        return start + 12 + int.from_bytes(data[start + 8 : start + 12], "little")
    return start


def _transfer_syntax(dataset: FileDataset) -> str:
    """Return the stated transfer syntax or, without one, that which the file was parsed with."""
    stated = values(dataset.file_meta, "TransferSyntaxUID")
    if len(stated) > 1:
        raise UnreadableFilm("not_decodable", "several transfer syntaxes are stated")
    if stated and str(stated[0]).strip():
        return UID(str(stated[0]).strip())
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian
