import tracemalloc
from contextlib import suppress
from io import BytesIO

import imagecodecs
import numpy as np
import pydicom.uid as uids
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from makers import dicom_bytes, dicom_film, grey_film
from screening.errors import UnreadableFilm
from screening.imaging.attributes import read_image_pixel
from screening.imaging.colour import grey_of_colour
from screening.imaging.dicom import decode_dicom
from screening.imaging.film import MAX_PIXELS
from screening.imaging.frames import Frame, read_frame
from screening.imaging.stream_headers import StreamError, read_stream_header

TWELVE_BIT = (np.arange(48 * 64).reshape(48, 64) * 4095 // (48 * 64 - 1)).astype(np.uint16)
SIXTEEN_BIT = (np.arange(48 * 64).reshape(48, 64) * 65535 // (48 * 64 - 1)).astype(np.uint16)
EIGHT_BIT = np.ascontiguousarray(grey_film(1, side=64))
COLOUR = np.stack([np.asarray(grey_film(seed, side=64)) for seed in (1, 2, 3)], axis=-1)


def compressed(
    stored: np.ndarray, syntax: UID, *frames: bytes, **attributes: object
) -> FileDataset:
    """A DICOM file, written and read again, with `frames` as its pixel data."""
    # pydicom does not write unknown transfer syntaxes: write one of the same length instead.
    known = syntax.is_transfer_syntax
    dataset = dicom_film(stored, syntax if known else uids.HTJ2KLossless, **attributes)
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].VR = "OB"
    data = dicom_bytes(dataset)
    return dcmread(
        BytesIO(data if known else data.replace(uids.HTJ2KLossless.encode(), syntax.encode()))
    )


def frame_of(dataset: FileDataset) -> Frame:
    syntax = dataset.file_meta.TransferSyntaxUID
    return read_frame(dataset, syntax, read_image_pixel(dataset), MAX_PIXELS)


def decoded(dataset: FileDataset) -> np.ndarray:
    return frame_of(dataset).values


def grey_of(frame: Frame) -> np.ndarray:
    return grey_of_colour(frame.values, frame.bits, frame.colour)


def refusal(dataset: FileDataset) -> UnreadableFilm:
    with pytest.raises(UnreadableFilm) as caught:
        decoded(dataset)
    return caught.value


def jpeg_2000(stored: np.ndarray, bits: int | None = None, **options: object) -> bytes:
    return imagecodecs.jpeg2k_encode(
        stored, level=0, codecformat="j2k", reversible=True, bitspersample=bits, **options
    )


def high_throughput(stored: np.ndarray, **options: object) -> bytes:
    return imagecodecs.htj2k_encode(stored, reversible=True, **options)


def lossless_jpeg(stored: np.ndarray, bits: int, predictor: int = 1) -> bytes:
    return imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uids.JPEGLossless, lambda x: lossless_jpeg(x, 12, predictor=6)),
        (uids.JPEGLosslessSV1, lambda x: lossless_jpeg(x, 12)),
        (uids.JPEGLosslessSV1, lambda x: imagecodecs.ljpeg_encode(x, bitspersample=12)),
        (uids.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uids.JPEGLSNearLossless, imagecodecs.jpegls_encode),
        (uids.JPEG2000Lossless, lambda x: jpeg_2000(x, 12)),
        (uids.JPEG2000, lambda x: jpeg_2000(x, 12)),
        (uids.HTJ2KLossless, high_throughput),
        (uids.HTJ2KLosslessRPCL, high_throughput),
        (uids.HTJ2K, high_throughput),
    ],
    ids=lambda value: getattr(value, "keyword", "encoder"),
)
def test_twelve_bits_are_decoded_without_loss(syntax: UID, encode: object) -> None:
    dataset = compressed(TWELVE_BIT, syntax, encode(TWELVE_BIT), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decoded(dataset), TWELVE_BIT)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uids.JPEGLosslessSV1, lambda x: lossless_jpeg(x, 16)),
        (uids.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uids.JPEG2000Lossless, jpeg_2000),
        (uids.HTJ2KLossless, high_throughput),
    ],
    ids=lambda value: getattr(value, "keyword", "encoder"),
)
def test_sixteen_bits_are_decoded_without_loss(syntax: UID, encode: object) -> None:
    np.testing.assert_array_equal(
        decoded(compressed(SIXTEEN_BIT, syntax, encode(SIXTEEN_BIT))), SIXTEEN_BIT
    )


@pytest.mark.parametrize("predictor", range(1, 8))
def test_each_predictor_of_lossless_jpeg_is_decoded(predictor: int) -> None:
    stream = lossless_jpeg(TWELVE_BIT, 12, predictor)
    dataset = compressed(TWELVE_BIT, uids.JPEGLossless, stream, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decoded(dataset), TWELVE_BIT)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uids.JPEGLosslessSV1, lambda x: lossless_jpeg(x.view(np.uint16) & 0xFFF, 12)),
        (uids.JPEGLSLossless, lambda x: imagecodecs.jpegls_encode(x.view(np.uint16))),
        (uids.JPEG2000Lossless, lambda x: jpeg_2000(x, 12)),
        (uids.JPEG2000Lossless, jpeg_2000),
        (uids.HTJ2KLossless, high_throughput),
    ],
    ids=lambda value: getattr(value, "keyword", "encoder"),
)
def test_signed_values_are_decoded_with_their_sign(syntax: UID, encode: object) -> None:
    signed = (TWELVE_BIT.astype(np.int32) - 2048).astype(np.int16)
    dataset = compressed(signed, syntax, encode(signed), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decoded(dataset), signed)


def test_eight_bit_baseline_jpeg_is_decoded_within_its_loss() -> None:
    stream = imagecodecs.jpeg8_encode(EIGHT_BIT, level=98)
    dataset = compressed(EIGHT_BIT, uids.JPEGBaseline8Bit, stream)
    np.testing.assert_allclose(decoded(dataset).astype(int), EIGHT_BIT, atol=4)


def test_twelve_bit_extended_jpeg_is_decoded_within_its_loss() -> None:
    stream = imagecodecs.jpeg8_encode(TWELVE_BIT, level=98, bitspersample=12)
    dataset = compressed(TWELVE_BIT, uids.JPEGExtended12Bit, stream, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(decoded(dataset).astype(int), TWELVE_BIT, atol=64)


def test_near_lossless_jpeg_ls_error_is_within_its_bound() -> None:
    stream = imagecodecs.jpegls_encode(SIXTEEN_BIT, level=2)
    dataset = compressed(SIXTEEN_BIT, uids.JPEGLSNearLossless, stream)
    assert np.abs(decoded(dataset).astype(int) - SIXTEEN_BIT).max() <= 2


def test_stream_with_fewer_bits_than_allocated_is_decoded() -> None:
    dataset = compressed(
        EIGHT_BIT,
        uids.JPEGLSLossless,
        imagecodecs.jpegls_encode(EIGHT_BIT),
        BitsAllocated=16,
        BitsStored=8,
        HighBit=7,
    )
    np.testing.assert_array_equal(decoded(dataset), EIGHT_BIT)


@pytest.mark.parametrize(
    ("syntax", "photometric", "encode"),
    [
        (uids.JPEG2000Lossless, "YBR_RCT", jpeg_2000),
        (uids.JPEG2000Lossless, "RGB", lambda x: jpeg_2000(x, mct=False)),
        (uids.HTJ2KLossless, "YBR_RCT", lambda x: high_throughput(x, rgb=True)),
        (
            uids.JPEGLosslessSV1,
            "RGB",
            lambda x: imagecodecs.jpeg8_encode(
                x, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB"
            ),
        ),
    ],
    ids=lambda value: getattr(value, "keyword", value if isinstance(value, str) else "encoder"),
)
def test_colour_is_decoded_without_loss(syntax: UID, photometric: str, encode: object) -> None:
    dataset = compressed(
        COLOUR[..., 0],
        syntax,
        encode(COLOUR),
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation=photometric,
    )
    np.testing.assert_array_equal(decoded(dataset), COLOUR)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(
    ("said", "encode"),
    [
        ("YBR_FULL", lambda x: imagecodecs.jpeg8_encode(x, level=98, subsampling="444")),
        ("YBR_FULL_422", lambda x: imagecodecs.jpeg8_encode(x, level=98, subsampling="422")),
        # JFIF means luma and chroma, whatever the data set says; Adobe's marker may state RGB.
        ("RGB", lambda x: imagecodecs.jpeg8_encode(x, level=98, subsampling="444")),
        ("YBR_FULL", lambda x: imagecodecs.jpeg8_encode(x, level=98, outcolorspace="RGB")),
    ],
    ids=["444", "422", "JFIF", "Adobe"],
)
def test_jpeg_colour_transform_is_undone_exactly_once(
    said: str, encode: object, planar: int
) -> None:
    dataset = compressed(
        COLOUR[..., 0],
        uids.JPEGBaseline8Bit,
        encode(COLOUR),
        SamplesPerPixel=3,
        PlanarConfiguration=planar,
        PhotometricInterpretation=said,
    )
    np.testing.assert_allclose(grey_of(frame_of(dataset)), grey_of_colour(COLOUR, 8), atol=0.02)


def test_jpeg_ls_keeps_luma_and_chroma() -> None:
    # PS3.5 8.2.3: the stream has no colour transform, so the data set decides.
    dataset = compressed(
        COLOUR[..., 0],
        uids.JPEGLSLossless,
        imagecodecs.jpegls_encode(COLOUR),
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="YBR_FULL",
    )
    frame = frame_of(dataset)
    np.testing.assert_array_equal(frame.values, COLOUR)
    assert frame.colour == "YBR_FULL"


def test_first_of_several_frames_is_decoded() -> None:
    frames = [imagecodecs.jpegls_encode(x) for x in (SIXTEEN_BIT, SIXTEEN_BIT[::-1].copy())]
    dataset = compressed(SIXTEEN_BIT, uids.JPEGLSLossless, *frames, NumberOfFrames=2)
    np.testing.assert_array_equal(decoded(dataset), SIXTEEN_BIT)


def jpeg_xl(stored: np.ndarray, **options: object) -> bytes:
    return imagecodecs.jpegxl_encode(stored, lossless=True, **options)


@pytest.mark.parametrize("encode", [jpeg_xl, lambda x: jpeg_xl(x, bitspersample=12)])
def test_jpeg_xl_is_decoded_without_loss(encode: object) -> None:
    dataset = compressed(
        TWELVE_BIT, UID("1.2.840.10008.1.2.4.110"), encode(TWELVE_BIT), BitsStored=12, HighBit=11
    )
    np.testing.assert_array_equal(decoded(dataset), TWELVE_BIT)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (256, 256), (16, 40), (300, 400), (333, 51), (2000, 9)])
def test_size_of_jpeg_xl_is_read_without_decoding(shape: tuple[int, int], boxed: bool) -> None:
    stream = imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), usecontainer=boxed)
    header = read_stream_header(stream)
    assert (header.kind, header.rows, header.columns) == ("JPEG XL", *shape)


def test_jpeg_2000_inside_boxes_is_decoded() -> None:
    stream = imagecodecs.jpeg2k_encode(SIXTEEN_BIT, level=0, codecformat="jp2", reversible=True)
    dataset = compressed(SIXTEEN_BIT, uids.JPEG2000Lossless, stream)
    np.testing.assert_array_equal(decoded(dataset), SIXTEEN_BIT)


@pytest.mark.parametrize("syntax", [uids.JPEG2000MCLossless, uids.JPEG2000MC])
def test_jpeg_2000_part_2_with_one_component_is_decoded(syntax: UID) -> None:
    dataset = compressed(SIXTEEN_BIT, syntax, jpeg_2000(SIXTEEN_BIT))
    np.testing.assert_array_equal(decoded(dataset), SIXTEEN_BIT)


STREAMS = {
    uids.JPEGBaseline8Bit: lambda x: imagecodecs.jpeg8_encode(x.astype(np.uint8)),
    uids.JPEGLosslessSV1: lambda x: lossless_jpeg(x, 16),
    uids.JPEGLSLossless: imagecodecs.jpegls_encode,
    uids.JPEG2000Lossless: jpeg_2000,
    uids.HTJ2KLossless: high_throughput,
    UID("1.2.840.10008.1.2.4.110"): jpeg_xl,
}


@pytest.mark.parametrize("syntax", STREAMS, ids=str)
def test_stream_of_wrong_size_is_rejected_before_decoding(syntax: UID) -> None:
    large = np.zeros((1500, 1500), np.uint16)
    dataset = compressed(EIGHT_BIT, syntax, STREAMS[syntax](large))
    tracemalloc.start()
    error = refusal(dataset)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.code == "not_decodable"
    assert "the stream has 1500 x 1500 pixels, the header says 64 x 64" in error.detail
    assert peak < large.nbytes // 4


def test_stream_over_the_limit_is_too_large() -> None:
    dataset = compressed(EIGHT_BIT, uids.JPEGLSLossless, imagecodecs.jpegls_encode(EIGHT_BIT))
    with pytest.raises(UnreadableFilm) as caught:
        read_frame(dataset, uids.JPEGLSLossless, read_image_pixel(dataset), 4095)
    assert caught.value.code == "too_large"


def test_colour_stream_in_a_grey_film_is_rejected() -> None:
    error = refusal(compressed(EIGHT_BIT, uids.JPEGBaseline8Bit, imagecodecs.jpeg8_encode(COLOUR)))
    assert error.detail == "the stream has 3 samples per pixel, the header says 1"


def test_stream_with_fewer_bits_than_stored_is_rejected() -> None:
    stream = imagecodecs.jpeg8_encode(EIGHT_BIT)
    error = refusal(
        compressed(EIGHT_BIT.astype(np.uint16), uids.JPEGBaseline8Bit, stream, BitsStored=12)
    )
    assert error.detail == "the stream has 8 bits per sample, the header says 12"


def test_error_names_the_kind_of_a_wrong_stream() -> None:
    error = refusal(compressed(TWELVE_BIT, uids.JPEG2000, imagecodecs.jpegls_encode(TWELVE_BIT)))
    assert error.detail == "contains a JPEG-LS stream"


def test_overshoot_of_a_lossy_stream_is_clipped() -> None:
    # 5000 does not fit 12 bits: without clipping, 4096 + 904 would become 904.
    stored = np.full((48, 64), 5000, np.uint16)
    stream = imagecodecs.jpeg2k_encode(stored, level=60, codecformat="j2k", reversible=False)
    dataset = compressed(stored, uids.JPEG2000, stream, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decoded(dataset), 4095)


@pytest.mark.parametrize("syntax", [uids.JPEGLosslessSV1, uids.JPEGLSLossless], ids=str)
def test_bits_above_high_bit_of_a_lossless_stream_are_ignored(syntax: UID) -> None:
    dirty = TWELVE_BIT | np.uint16(0x9000)
    dataset = compressed(dirty, syntax, STREAMS[syntax](dirty), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decoded(dataset), TWELVE_BIT)


# imagecodecs.htj2k_decode returns uninitialised memory, and libjpeg fills the rest with grey.
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("syntax", STREAMS, ids=str)
def test_truncated_stream_is_not_decodable(syntax: UID, share: float) -> None:
    narrow = syntax == uids.JPEGBaseline8Bit
    stored = EIGHT_BIT if narrow else SIXTEEN_BIT
    stream = STREAMS[syntax](stored)
    dataset = compressed(stored, syntax, stream[: int(len(stream) * share)])
    with pytest.raises(UnreadableFilm) as caught:
        decode_dicom(dataset)
    assert caught.value.code == "not_decodable"


@pytest.mark.parametrize("syntax", STREAMS, ids=str)
def test_damaged_stream_header_raises_only_stream_error(syntax: UID) -> None:
    stream = STREAMS[syntax](TWELVE_BIT)
    for length in range(40):
        with suppress(StreamError):  # any other exception fails the test
            read_stream_header(stream[:length])
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = np.frombuffer(stream[:200], np.uint8).copy()
        damaged[rng.integers(2, len(damaged), 4)] = rng.integers(0, 256, 4)
        with suppress(StreamError):
            read_stream_header(damaged.tobytes())
