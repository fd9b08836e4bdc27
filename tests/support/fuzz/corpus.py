"""Collect the films to mutate: small films of every transfer syntax and file format.

These are the fixtures of the golden tests, most of them 32 x 48 pixels, and films that are large
enough to be scored by the model.
"""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom.uid as uids
from PIL import Image
from pydicom import dcmread
from pydicom.uid import UID

from fuzz.elements import SYNTAX, Dicom
from makers import chest_film, dicom_bytes, dicom_film

GOLDEN: Final = Path(__file__).parents[1] / "golden"

_FORMATS: Final = {".png": "PNG", ".jpg": "JPEG file", ".tif": "TIFF", ".bmp": "BMP"}
_UNNAMED: Final = {
    "1.2.840.10008.1.2.1.98": "Encapsulated Uncompressed",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame",
    "1.2.840.10008.1.2.4.110": "JPEG XL",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
}

#: A chest, so that decoded films reach the model; cropped, so that rows and columns differ.
GREY8: Final = np.ascontiguousarray(chest_film(0)[:, :-7])
GREY12: Final = (GREY8.astype(np.uint16) << 4) + (GREY8 >> 4)
GREY16: Final = GREY8.astype(np.uint16) * 257
COLOUR: Final = np.stack([GREY8, GREY8[::-1], GREY8[:, ::-1]], axis=-1)


@dataclass(frozen=True)
class Film:
    """A file to mutate.

    Attributes:
        name: file name with its suffix.
        codec: transfer syntax or file format, for the summary.
        data: content of the file.
    """

    name: str
    codec: str
    data: bytes = field(repr=False)


def corpus() -> tuple[Film, ...]:
    """Return all films, always the same and in the same order."""
    golden = [path for path in sorted(GOLDEN.iterdir()) if path.suffix in {*_FORMATS, ".dcm"}]
    return (
        *(
            Film(path.name, codec_of(path.read_bytes(), path.suffix), path.read_bytes())
            for path in golden
        ),
        *_rasters(),
        *_uncompressed(),
        *_compressed(),
    )


def codec_of(data: bytes, suffix: str) -> str:
    """Return the name of the codec of a film, for the summary."""
    if suffix != ".dcm":
        return _FORMATS.get(suffix, "other image files")
    syntax = dcmread(BytesIO(data), force=True, stop_before_pixels=True).file_meta.get(
        "TransferSyntaxUID", ""
    )
    if not syntax:
        return "no File Meta"
    return _UNNAMED.get(syntax) or UID(syntax).keyword


def _rasters() -> list[Film]:
    """Make films missing in the golden set: film size, more modes, unsupported formats."""
    modes = {
        "wide-1": Image.fromarray(GREY8).convert("1"),
        "wide-l": Image.fromarray(GREY8),
        "wide-la": Image.fromarray(GREY8).convert("LA"),
        "wide-p": Image.fromarray(COLOUR).quantize(200),
        "wide-rgb": Image.fromarray(COLOUR),
        "wide-rgba": Image.fromarray(COLOUR).convert("RGBA"),
        "wide-16": Image.fromarray(GREY16),
        "wide-cmyk": Image.fromarray(COLOUR).convert("CMYK"),
        "wide-float": Image.fromarray(GREY8.astype(np.float32)),
    }
    ways: list[tuple[str, str, dict[str, object]]] = [
        *((mode, ".png", {}) for mode in ("wide-1", "wide-l", "wide-la", "wide-p", "wide-rgb")),
        *((mode, ".png", {}) for mode in ("wide-rgba", "wide-16")),
        ("wide-l", ".jpg", {}),
        ("wide-rgb", ".jpg", {"progressive": True}),
        ("wide-rgb", ".jpg", {"restart_marker_blocks": 2}),
        ("wide-cmyk", ".jpg", {}),
        *((mode, ".tif", {"compression": "tiff_lzw"}) for mode in ("wide-l", "wide-rgba")),
        *(("wide-16", ".tif", {"compression": way}) for way in ("raw", "tiff_adobe_deflate")),
        *(("wide-1", ".tif", {"compression": way}) for way in ("group3", "group4", "packbits")),
        ("wide-rgb", ".tif", {"compression": "jpeg"}),
        ("wide-l", ".tif", {"big_tiff": True}),
        ("wide-float", ".tif", {}),
        *((mode, ".bmp", {}) for mode in ("wide-1", "wide-l", "wide-p", "wide-rgb", "wide-rgba")),
        *(("wide-l", suffix, {}) for suffix in (".gif", ".webp", ".jp2")),
    ]
    films = []
    for number, (mode, suffix, options) in enumerate(ways):
        buffer = BytesIO()
        modes[mode].save(buffer, Image.registered_extensions()[suffix], **options)
        films.append(Film(f"{mode}-{number}{suffix}", codec_of(b"", suffix), buffer.getvalue()))
    return films


def _uncompressed() -> list[Film]:
    window = {"WindowCenter": 2048, "WindowWidth": 4096, "RescaleSlope": 1, "RescaleIntercept": 0}
    made = [
        ("explicit", _dicom(GREY12, BitsStored=12, HighBit=11, **window)),
        ("explicit-8", _dicom(GREY8, PhotometricInterpretation="MONOCHROME1")),
        ("implicit", _dicom(GREY16, uids.ImplicitVRLittleEndian)),
        ("deflated", _dicom(GREY12, uids.DeflatedExplicitVRLittleEndian, BitsStored=12)),
        ("frames", _dicom(np.concatenate([GREY8, GREY8]), Rows=GREY8.shape[0], NumberOfFrames=2)),
        ("colour", _dicom(COLOUR, **_THREE, PlanarConfiguration=0)),
        ("subsampled", _dicom(COLOUR, **_THREE | {"PhotometricInterpretation": "YBR_FULL_422"})),
    ]
    return [_film(f"wide-{name}", data) for name, data in made]


_THREE: Final[dict[str, object]] = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "Rows": GREY8.shape[0],
    "Columns": COLOUR.shape[1],
}


def _compressed() -> list[Film]:
    """Make a film for each codec, including streams that are missing in the golden set."""
    grey = [
        ("rle", uids.RLELossless, _run_lengths(GREY8)),
        ("baseline", uids.JPEGBaseline8Bit, imagecodecs.jpeg8_encode(GREY8, level=90)),
        ("near", uids.JPEGLSNearLossless, imagecodecs.jpegls_encode(GREY8, level=3)),
        ("j2k-lossy", uids.JPEG2000, imagecodecs.jpeg2k_encode(GREY8, level=40, codecformat="j2k")),
        ("jp2", uids.JPEG2000, imagecodecs.jpeg2k_encode(GREY8, level=0, codecformat="jp2")),
        ("jxl-lossy", "1.2.840.10008.1.2.4.112", imagecodecs.jpegxl_encode(GREY8, level=80)),
        ("enclosed", "1.2.840.10008.1.2.1.98", GREY8.tobytes()),
        ("deflated", "1.2.840.10008.1.2.8.1", imagecodecs.deflate_encode(GREY8, raw=True)),
    ]
    deep = [
        ("sv1", uids.JPEGLosslessSV1, _lossless(GREY12, 12, 1)),
        ("jls", uids.JPEGLSLossless, imagecodecs.jpegls_encode(GREY12)),
        ("j2k", uids.JPEG2000Lossless, _jpeg_2000(GREY12, 12)),
        ("ht", uids.HTJ2KLossless, imagecodecs.htj2k_encode(GREY12, reversible=True)),
    ]
    full = [
        ("lossless", uids.JPEGLossless, _lossless(GREY16, 16, 4)),
        ("jxl", "1.2.840.10008.1.2.4.110", imagecodecs.jpegxl_encode(GREY16, lossless=True)),
    ]
    three = [
        ("jxl", "1.2.840.10008.1.2.4.110", imagecodecs.jpegxl_encode(COLOUR, lossless=True)),
        ("jls", uids.JPEGLSLossless, imagecodecs.jpegls_encode(COLOUR)),
        ("j2k", uids.JPEG2000MC, _jpeg_2000(COLOUR, 8)),
    ]
    kinds: list[tuple[str, npt.NDArray[np.integer], dict[str, object], list[Any]]] = [
        ("g8", GREY8, {}, grey),
        ("g12", GREY12, {"BitsStored": 12, "HighBit": 11}, deep),
        ("g16", GREY16, {}, full),
        ("rgb", COLOUR, _THREE, three),
    ]
    return [
        _film(f"wide-{name}-{kind}", enclosed(stored, syntax, stream, **attributes))
        for kind, stored, attributes, streams in kinds
        for name, syntax, stream in streams
    ]


def enclosed(
    stored: npt.NDArray[np.integer], syntax: str, stream: bytes, **attributes: object
) -> bytes:
    """Make a DICOM file whose only fragment is `stream`."""
    film = Dicom.read(_dicom(stored, **attributes))
    film.put(SYNTAX, "UI", syntax.encode() + bytes(len(syntax) % 2))
    film.set_fragments([b"", stream])
    return film.write()


def _dicom(
    stored: npt.NDArray[np.integer],
    syntax: UID = uids.ExplicitVRLittleEndian,
    **attributes: object,
) -> bytes:
    dataset = dicom_film(stored, syntax, **attributes)
    # With random UIDs, the films would differ between runs.
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    return dicom_bytes(dataset)


def _film(name: str, data: bytes) -> Film:
    return Film(f"{name}.dcm", codec_of(data, ".dcm"), data)


def _lossless(stored: npt.NDArray[np.integer], bits: int, predictor: int) -> bytes:
    return imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits)


def _jpeg_2000(stored: npt.NDArray[np.integer], bits: int) -> bytes:
    return imagecodecs.jpeg2k_encode(
        stored, level=0, codecformat="j2k", reversible=True, bitspersample=bits
    )


def _run_lengths(stored: npt.NDArray[np.integer]) -> bytes:
    """Encode pixels of one byte as RLE (PS3.5 annex G)."""
    table = np.zeros(16, "<u4")
    table[:2] = 1, 64
    return table.tobytes() + imagecodecs.packbits_encode(stored.tobytes())
