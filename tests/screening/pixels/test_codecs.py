from io import BytesIO

import imagecodecs
import numpy as np
import pydicom.uid as uids
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from makers import dicom_bytes, dicom_film, grey_film
from screening.pixels import codecs

TWELVE_BIT = (np.arange(48 * 64).reshape(48, 64) * 4095 // (48 * 64 - 1)).astype(np.uint16)
SIXTEEN_BIT = (np.arange(48 * 64).reshape(48, 64) * 65535 // (48 * 64 - 1)).astype(np.uint16)
EIGHT_BIT = np.ascontiguousarray(grey_film(1, side=64))
COLOUR = np.stack([np.asarray(grey_film(seed, side=64)) for seed in (1, 2, 3)], axis=-1)


def compressed(
    stored: np.ndarray, syntax: UID, *frames: bytes, **attributes: object
) -> FileDataset:
    """A DICOM file, written and read again, with `frames` as its pixel data."""
    dataset = dicom_film(stored, syntax, **attributes)
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].VR = "OB"
    return dcmread(BytesIO(dicom_bytes(dataset)))


def decoded(dataset: FileDataset) -> np.ndarray:
    return pixel_array(dataset, index=0, decoding_plugin=codecs.PLUGIN)


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
def test_twelve_bits_come_back_without_loss(syntax: UID, encode: object) -> None:
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
def test_sixteen_bits_come_back_without_loss(syntax: UID, encode: object) -> None:
    np.testing.assert_array_equal(
        decoded(compressed(SIXTEEN_BIT, syntax, encode(SIXTEEN_BIT))), SIXTEEN_BIT
    )


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_of_lossless_jpeg_is_read(predictor: int) -> None:
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
def test_signed_values_keep_their_sign(syntax: UID, encode: object) -> None:
    signed = (TWELVE_BIT.astype(np.int32) - 2048).astype(np.int16)
    dataset = compressed(signed, syntax, encode(signed), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(decoded(dataset), signed)


def test_eight_bit_baseline_is_read_with_the_loss_of_a_jpeg() -> None:
    stream = imagecodecs.jpeg8_encode(EIGHT_BIT, level=98)
    dataset = compressed(EIGHT_BIT, uids.JPEGBaseline8Bit, stream)
    np.testing.assert_allclose(decoded(dataset).astype(int), EIGHT_BIT, atol=4)


def test_twelve_bit_extended_is_read_with_the_loss_of_a_jpeg() -> None:
    stream = imagecodecs.jpeg8_encode(TWELVE_BIT, level=98, bitspersample=12)
    dataset = compressed(TWELVE_BIT, uids.JPEGExtended12Bit, stream, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(decoded(dataset).astype(int), TWELVE_BIT, atol=64)


def test_near_lossless_jpeg_ls_errs_by_no_more_than_it_was_told() -> None:
    stream = imagecodecs.jpegls_encode(SIXTEEN_BIT, level=2)
    dataset = compressed(SIXTEEN_BIT, uids.JPEGLSNearLossless, stream)
    assert np.abs(decoded(dataset).astype(int) - SIXTEEN_BIT).max() <= 2


def test_a_stream_narrower_than_its_container_is_read() -> None:
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
def test_colour_comes_back_without_loss(syntax: UID, photometric: str, encode: object) -> None:
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
def test_the_colours_of_a_jpeg_are_transformed_back_once(planar: int) -> None:
    dataset = compressed(
        COLOUR[..., 0],
        uids.JPEGBaseline8Bit,
        imagecodecs.jpeg8_encode(COLOUR, level=98, subsampling="444"),
        SamplesPerPixel=3,
        PlanarConfiguration=planar,
        PhotometricInterpretation="YBR_FULL",
    )
    np.testing.assert_allclose(decoded(dataset).astype(int), COLOUR, atol=6)


def test_the_first_frame_is_the_first() -> None:
    frames = [imagecodecs.jpegls_encode(x) for x in (SIXTEEN_BIT, SIXTEEN_BIT[::-1].copy())]
    dataset = compressed(SIXTEEN_BIT, uids.JPEGLSLossless, *frames, NumberOfFrames=2)
    np.testing.assert_array_equal(decoded(dataset), SIXTEEN_BIT)


@pytest.mark.parametrize(
    "syntax", [uids.ExplicitVRLittleEndian, uids.RLELossless, uids.MPEG2MPML, "1.2.3"]
)
def test_other_transfer_syntaxes_are_left_to_pydicom(syntax: str) -> None:
    assert not codecs.is_available(syntax)


def test_registering_again_changes_nothing() -> None:
    before = get_decoder(uids.JPEG2000Lossless).available_plugins
    codecs.register()
    assert get_decoder(uids.JPEG2000Lossless).available_plugins == before
    assert before.count(codecs.PLUGIN) == 1
