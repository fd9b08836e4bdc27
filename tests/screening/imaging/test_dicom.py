import tracemalloc
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from makers import dicom_bytes, dicom_film
from screening.errors import UnreadableFilm
from screening.imaging.dicom import open_dicom
from screening.results import FilmWarning

STORED = np.arange(0, 4096, 8, dtype=np.uint16).reshape(16, 32)
# A window of 65536 that starts at 0: grey = stored / 65535, by PS3.3 C.11.2.1.2.1.
WINDOW = {"WindowCenter": 32768, "WindowWidth": 65536}
GREY = STORED / 65535
FIRST_OF_3 = FilmWarning("multi_frame", "first of 3 frames")


def film(**attributes: object) -> FileDataset:
    return dicom_film(STORED, **WINDOW | attributes)


def grey_of(data: bytes) -> np.ndarray:
    grey, warnings = open_dicom(data).decode()
    assert warnings == ()
    return grey


def bare(implicit: bool) -> bytes:
    """The data set alone, without preamble and File Meta."""
    dataset = Dataset()
    dataset.update(film())
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()


def compressed(stream: bytes, syntax: str = JPEGLSLossless, **attributes: object) -> bytes:
    dataset = dicom_film(STORED, syntax, **WINDOW | attributes)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    return dicom_bytes(dataset)


def test_native_pixels_are_read() -> None:
    np.testing.assert_allclose(grey_of(dicom_bytes(film())), GREY, atol=1e-5)


def test_deflated_data_set_is_read() -> None:
    data = dicom_bytes(dicom_film(STORED, DeflatedExplicitVRLittleEndian, **WINDOW))
    np.testing.assert_allclose(grey_of(data), GREY, atol=1e-5)


def test_big_endian_data_set_is_read() -> None:
    dataset = film()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = STORED.astype(">u2").tobytes()
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    np.testing.assert_allclose(grey_of(dicom_bytes(dataset)), GREY, atol=1e-5)


def test_rle_pixels_are_read() -> None:
    dataset = film()
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    np.testing.assert_allclose(grey_of(dicom_bytes(dataset)), GREY, atol=1e-5)


def test_compressed_pixels_give_the_same_grey_values() -> None:
    data = compressed(imagecodecs.jpegls_encode(STORED))
    np.testing.assert_array_equal(grey_of(data), grey_of(dicom_bytes(film())))


def test_unused_bits_are_ignored() -> None:
    # PS3.5 8.1.1: bits above High Bit are not part of the value; old films store overlays there.
    dirty = STORED | np.uint16(0xF000)
    attributes = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    np.testing.assert_allclose(
        grey_of(dicom_bytes(dicom_film(dirty, **attributes))), STORED / 4095, atol=1e-5
    )


def test_file_without_preamble_is_read() -> None:
    np.testing.assert_allclose(grey_of(dicom_bytes(film())[132:]), GREY, atol=1e-5)


@pytest.mark.parametrize("start", [b"", bytes(128) + b"DICM"], ids=["bare", "preamble"])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "explicit"])
def test_file_without_file_meta_is_read(start: bytes, implicit: bool) -> None:
    np.testing.assert_allclose(grey_of(start + bare(implicit)), GREY, atol=1e-5)


def test_colour_is_converted_to_grey() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (16, 32, 3), np.uint8)
    dataset = dicom_film(
        rgb[..., 0], SamplesPerPixel=3, PlanarConfiguration=1, PhotometricInterpretation="RGB"
    )
    dataset.PixelData = rgb.transpose(2, 0, 1).tobytes()
    expected = rgb @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(grey_of(dicom_bytes(dataset)), expected, atol=1e-6)


# PS3.3 C.7.6.3.1.2: "Pixel data describe a color image with a single sample per pixel (single image
# plane). The pixel value is used as an index into each of the Red, Blue, and Green Palette Color
# Lookup Tables".
def test_palette_is_applied() -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dataset = dicom_film(indices, PhotometricInterpretation="PALETTE COLOR")
    falling = np.arange(255, -1, -1, dtype=np.uint8)
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [256, 0, 8])
        dataset.add_new(f"{name}Data", "OW", falling.tobytes())
    np.testing.assert_allclose(grey_of(dicom_bytes(dataset)), falling[indices] / 255, atol=0.01)


def test_first_of_several_frames_is_read_with_a_warning() -> None:
    dataset = film(NumberOfFrames=3)
    dataset.PixelData = b"".join(x.tobytes() for x in (STORED, STORED[::-1], STORED[:, ::-1]))
    grey, warnings = open_dicom(dicom_bytes(dataset)).decode()
    np.testing.assert_allclose(grey, GREY, atol=1e-5)
    assert warnings == (FIRST_OF_3,)


def test_image_without_pixel_data_is_not_decodable() -> None:
    dataset = film()
    del dataset.PixelData
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(dicom_bytes(dataset))
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"hello world, this is a letter\n" * 9,
        b"film,label\n1,2\n",
        b'{"a": 1}',
        b"<html/>" * 9,
    ],
    ids=lambda data: repr(data[:6]),
)
def test_non_dicom_bytes_are_not_decodable(data: bytes) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(data)
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("lost", [1, 100, 800])
def test_truncated_pixel_data_is_not_decodable(lost: int) -> None:
    film_with_header = open_dicom(dicom_bytes(film())[:-lost])
    with pytest.raises(UnreadableFilm) as caught:
        film_with_header.decode()
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit])
@pytest.mark.parametrize("stream", [b"", b"nonsense" * 9, b"\xff\xd8\xff\xf7\0\x0b"], ids=repr)
def test_error_of_damaged_stream_names_the_transfer_syntax(syntax: str, stream: bytes) -> None:
    opened = open_dicom(compressed(stream or b"\0\0", syntax))
    with pytest.raises(UnreadableFilm, match="JPEG") as caught:
        opened.decode()
    assert caught.value.code == "not_decodable"


def with_syntax(uid: str) -> bytes:
    """A compressed film that states another transfer syntax; both UIDs have the same length."""
    data = compressed(imagecodecs.jpegls_encode(STORED))
    assert len(uid) == len(JPEGLSLossless)
    return data.replace(JPEGLSLossless.encode(), uid.encode())


@pytest.mark.parametrize(
    ("uid", "named"),
    [
        ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
        ("1.2.840.10008.1.2.4.66", "JPEG Lossless, Hierarchical (Process 29)"),
        ("1.2.840.113619.5.2.777", "1.2.840.113619.5.2.777"),
        ("MUSTERFRAU ERIKA 45 J.", "a transfer syntax that is not a UID"),
        ("1.2.840.10008.1.2.4.00", "a transfer syntax that is not a UID"),
    ],
)
def test_error_names_unsupported_syntax_and_suggests_export(uid: str, named: str) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(with_syntax(uid)).decode()
    assert caught.value.code == "unsupported"
    assert caught.value.detail == f"{named}; export the film as Explicit VR Little Endian"


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_floating_point_pixel_data_is_unsupported(keyword: str) -> None:
    dataset = film()
    del dataset.PixelData
    setattr(dataset, keyword, bytes(8))
    with pytest.raises(UnreadableFilm, match=keyword) as caught:
        open_dicom(dicom_bytes(dataset)).decode()
    assert caught.value.code == "unsupported"


def test_film_over_the_pixel_limit_is_not_decompressed() -> None:
    data = dicom_bytes(film(Rows=60_000, Columns=60_000))
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(data).decode()
    assert caught.value.code == "too_large"


def nested() -> bytes:
    """Sequences nested three thousand deep (PS3.5 7.5)."""
    opening = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    return bytes(128) + b"DICM" + opening * 3000


def replaced(old: bytes, new: bytes) -> bytes:
    data = dicom_bytes(film(NumberOfFrames=1))
    assert data.count(old) == 1
    return data.replace(old, new)


def deflated_and_damaged() -> bytes:
    data = dicom_bytes(dicom_film(STORED, DeflatedExplicitVRLittleEndian))
    return data[:-300]


def item_longer_than_the_file() -> bytes:
    # Item tag, then a length of 0xF0000004; the offset table is the first item (PS3.5 A.4).
    data = compressed(imagecodecs.jpegls_encode(STORED))
    start = data.index(b"\xfe\xff\0\xe0")
    return data[: start + 4] + b"\x04\0\0\xf0" + data[start + 8 :]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: replaced(b"IS\x02\0001 ", b"IS\x02\000x "), id="frames are a word"),
        pytest.param(lambda: replaced(b"IS\x02\0001 ", b"IQ\x02\0001 "), id="unknown VR"),
        pytest.param(
            lambda: replaced(b"1.2.840.10008.1.2.1\0", b"1.2.840.1000\\1.2.3\0\0"),
            id="two syntaxes",
        ),
        pytest.param(nested, id="nested too deep"),
        pytest.param(deflated_and_damaged, id="deflated and cut off"),
        pytest.param(item_longer_than_the_file, id="item longer than the file"),
    ],
)
def test_damaged_file_raises_only_unreadable_film(data: object) -> None:
    content = data()
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(content).decode()
    assert caught.value.code == "not_decodable"


def test_compressed_film_without_transfer_syntax_is_read() -> None:
    data = compressed(imagecodecs.jpegls_encode(STORED))
    start = data.index(b"\x08\0\x16\0")
    np.testing.assert_allclose(grey_of(data[start:]), GREY, atol=1e-5)


def test_big_endian_data_set_without_file_meta_is_read() -> None:
    dataset = Dataset()
    dataset.update(film())
    dataset.PixelData = STORED.astype(">u2").tobytes()
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=False, enforce_file_format=False)
    np.testing.assert_allclose(grey_of(buffer.getvalue()), GREY, atol=1e-5)


def test_deflated_data_set_is_not_inflated_beyond_the_limit() -> None:
    dataset = dicom_film(STORED, DeflatedExplicitVRLittleEndian, NumberOfFrames=100_000)
    dataset.PixelData = bytes(100 << 20)
    data = dicom_bytes(dataset)
    tracemalloc.start()
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(data, STORED.size)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "too_large"
    assert peak < 20 << 20


def frames(count: int, table: bool) -> bytes:
    """The first frame, then its negatives, in fragments of 100 bytes."""
    dataset = dicom_film(STORED, JPEGLSLossless, **WINDOW, NumberOfFrames=count)
    streams = [imagecodecs.jpegls_encode(STORED)]
    streams += [imagecodecs.jpegls_encode(65535 - STORED)] * (count - 1)
    dataset.PixelData = encapsulate(streams, fragments_per_frame=3, has_bot=table)
    dataset["PixelData"].VR = "OB"
    return dicom_bytes(dataset)


@pytest.mark.parametrize("table", [True, False], ids=["offset table", "no offset table"])
def test_first_frame_is_joined_from_its_fragments(table: bool) -> None:
    grey, warnings = open_dicom(frames(3, table)).decode()
    np.testing.assert_allclose(grey, GREY, atol=1e-5)
    assert warnings == (FIRST_OF_3,)


def test_only_the_first_frame_is_decoded() -> None:
    data = frames(400, table=True)
    opened = open_dicom(data)
    tracemalloc.start()
    opened.decode()
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * STORED.nbytes + 4_000_000


@pytest.mark.parametrize(
    ("attributes", "code", "detail"),
    [
        ({"BitsAllocated": 24}, "unsupported", "BitsAllocated 24"),
        ({"SamplesPerPixel": 4}, "unsupported", "SamplesPerPixel 4"),
        (
            {"PhotometricInterpretation": "MUSTERFRAU"},
            "unsupported",
            "an unknown PhotometricInterpretation",
        ),
        (
            {"BitsStored": 17},
            "not_decodable",
            "Explicit VR Little Endian: BitsStored 17 does not fit BitsAllocated 16",
        ),
        (
            {"PhotometricInterpretation": "RGB"},
            "not_decodable",
            "Explicit VR Little Endian: RGB with SamplesPerPixel 1",
        ),
        (
            {"PhotometricInterpretation": ""},
            "not_decodable",
            "Explicit VR Little Endian: PhotometricInterpretation is missing",
        ),
        (
            {"Rows": 17},
            "not_decodable",
            "Explicit VR Little Endian: the pixel data have 1024 of 1088 bytes",
        ),
        ({"Rows": 0}, "not_decodable", "Explicit VR Little Endian: 0 x 32 pixels"),
    ],
    ids=str,
)
def test_error_names_the_contradictory_attribute(
    attributes: dict[str, object], code: str, detail: str
) -> None:
    with pytest.raises(UnreadableFilm) as caught:
        open_dicom(dicom_bytes(film(**attributes))).decode()
    assert (caught.value.code, caught.value.detail) == (code, detail)
