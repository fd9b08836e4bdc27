"""Small films that need much memory or time fail alone; the limits of the decoder end them."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)

from makers import dicom_bytes, dicom_film, encoded, grey_film
from screening.results import Status, read_rows


def scans(jpeg: bytes) -> tuple[bytes, list[bytes]]:
    """Return everything before the first scan of a JPEG, and each scan with its tables."""
    first, *rest = jpeg.removesuffix(b"\xff\xd9").split(b"\xff\xda")
    return first, [b"\xff\xda" + scan for scan in rest]


def jpeg_of_many_scans(*, progressive: bool) -> bytes:
    """Make a film of 16 million pixels with 100,000 scans, each of which visits every block."""
    film = Image.fromarray(np.full((4000, 4000), 90, np.uint8))
    buffer = io.BytesIO()
    if progressive:
        film.save(buffer, "JPEG", progressive=True)
        before, parts = scans(buffer.getvalue())
        return before + b"".join(parts) + parts[-1] * 100_000 + b"\xff\xd9"
    film.convert("RGB").save(buffer, "JPEG", subsampling="4:4:4")
    before, _parts = scans(buffer.getvalue())
    # One component per scan and no data: decoders substitute data and continue.
    empty = [b"\xff\xda\0\x08\x01" + bytes((number, 0)) + b"\0\x3f\0" for number in (1, 2, 3)]
    return before + b"".join(empty) * 33_333 + b"\xff\xd9"


def hidden_progressive() -> bytes:
    """Hide the same scans behind a marker without length and a comment with a small header.

    A reader that assumes a length for every marker jumps from the first marker to that header, which is the header of a small film.
    """
    data = jpeg_of_many_scans(progressive=True)
    jfif, rest = data[2:20], data[20:]
    harmless = b"\xff\xc0\0\x0b\x08\0\x64\0\x64\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    begin = b"\xff\xd8\xff\xd0" + jfif + b"\xff\xfe"
    comment = bytes(4 + int.from_bytes(jfif[:2]) - len(begin) - 2) + harmless
    return begin + struct.pack(">H", 2 + len(comment)) + comment + rest


def deflated(size: int) -> bytes:
    """Make a DICOM film whose data set inflates to `size` bytes of zeros and a little more."""
    whole = dicom_bytes(dicom_film(grey_film(1, side=128)))
    start = 132 + 12 + int.from_bytes(whole[140:144], "little")
    small = dicom_bytes(dicom_film(grey_film(1, side=128), DeflatedExplicitVRLittleEndian))
    meta = small[: 132 + 12 + int.from_bytes(small[140:144], "little")]
    body = whole[start : whole.index(b"\xe0\x7f\x10\x00OW")]
    body += b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", size)
    packer = zlib.compressobj(9, wbits=-15)
    begin = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush, equal pieces have equal codes.
    packer.compress(bytes(1 << 20))
    packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return meta + begin + piece * (size >> 20) + packer.flush()


def overstated(syntax: str, stream: bytes) -> bytes:
    dataset = dicom_film(grey_film(1, side=100), syntax)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    return dicom_bytes(dataset)


def j2k(side: int) -> bytes:
    stream = bytearray(imagecodecs.jpeg2k_encode(grey_film(1, side=100), codecformat="j2k"))
    for at in (8, 12, 24, 28):  # size of the image and of a tile: 15444-1, A.5.1
        stream[at : at + 4] = struct.pack(">I", side)
    return bytes(stream)


def jpeg_ls(side: int) -> bytes:
    stream = bytearray(imagecodecs.jpegls_encode(grey_film(1, side=100)))
    at = stream.index(b"\xff\xf7")
    stream[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(stream)


def png(side: int) -> bytes:
    data = bytearray(encoded(grey_film(1)))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def nested(depth: int) -> bytes:
    dataset = dicom_film(grey_film(1))
    dataset.ProcedureCodeSequence = Sequence([Dataset()])
    data = dicom_bytes(dataset)
    at = data.index(b"\x08\x00\x32\x10SQ")
    begin = b"\x08\x00\x32\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    length = 12 + int.from_bytes(data[at + 8 : at + 12], "little")
    return data[:at] + begin * depth + end * depth + data[at + length :]


def enormous(rows: int, columns: int) -> bytes:
    return dicom_bytes(dicom_film(grey_film(1), Rows=rows, Columns=columns))


BOMBS = {
    "deflated to 4 GB.dcm": (lambda: deflated(4095 << 20), {"too_large"}),
    "deflated to 400 MB.dcm": (lambda: deflated(400 << 20), {"out_of_memory"}),
    "enormous.dcm": (lambda: enormous(65_535, 65_535), {"too_large"}),
    "hidden progressive.jpg": (hidden_progressive, {"decode_timeout"}),
    "jpeg 2000.dcm": (lambda: overstated(JPEG2000Lossless, j2k(60_000)), {"too_large"}),
    "jpeg-ls.dcm": (lambda: overstated(JPEGLSLossless, jpeg_ls(60_000)), {"too_large"}),
    "nested.dcm": (lambda: nested(20_000), {"not_decodable"}),
    "png.png": (lambda: png(60_000), {"too_large"}),
    "progressive.jpg": (lambda: jpeg_of_many_scans(progressive=True), {"decode_timeout"}),
    "sequential.jpg": (lambda: jpeg_of_many_scans(progressive=False), {"decode_timeout"}),
    "tall.dcm": (lambda: enormous(65_535, 1), {"not_decodable"}),
}


@pytest.fixture(scope="module")
def bombed(installed, bright_bundle, tmp_path_factory):
    """Screen endless bombs with a short timeout, others with enough time for a busy machine."""
    place = tmp_path_factory.mktemp("bombs")
    for folder in ("ending", "endless"):
        (place / folder).mkdir()
    for seed in range(4):
        (place / "ending" / f"good {seed}.dcm").write_bytes(
            dicom_bytes(dicom_film(grey_film(seed)))
        )
    for name, (made, codes) in BOMBS.items():
        folder = "endless" if codes == {"decode_timeout"} else "ending"
        (place / folder / name).write_bytes(made())
    with (place / "ending" / "sparse.dcm").open("wb") as file:
        file.write(bytes(128) + b"DICM")
        file.truncate(3 << 30)
    rows = {}
    for folder, seconds in (("ending", "300"), ("endless", "4")):
        installed(
            *("run", place / folder, "--model", bright_bundle, "--out", place / f"{folder} report"),
            *("--decode-timeout", seconds, "--decode-memory", "256", "--max-failure-rate", "1"),
            code=3,
        )
        report = place / f"{folder} report" / "predictions.csv"
        rows |= {row.film: row for row in read_rows(report)}
    return rows


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_a_failed_film(bombed, name):
    row = bombed[name]
    assert row.status is Status.FAILED
    assert row.reason_code in BOMBS[name][1]
    assert len(row.sha256) == 64


def test_file_larger_than_any_film_is_not_read(bombed):
    row = bombed["sparse.dcm"]
    assert (row.reason_code, row.sha256) == ("too_large", "")


def test_good_films_are_scored_despite_bombs(bombed):
    good = [row.status for name, row in bombed.items() if name.startswith("good")]
    assert good == [Status.SCORED] * 4
    assert len(bombed) == len(BOMBS) + 5
