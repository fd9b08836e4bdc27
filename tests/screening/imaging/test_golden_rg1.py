"""A real film, RG1 of pydicom-data, gives the same tensor and probability in every transfer syntax.

The film is not part of this project; it is encoded here, in memory.
"""

from collections.abc import Callable

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset, dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from exports.bundle import SHIPPED, Bundle
from exports.parity import answers
from exports.runtimes.load import load
from golden.films import as_bytes
from screening.imaging.readers import open_film
from screening.model.preprocess import Preprocessing

pytest.importorskip("data_store", reason="could not import data_store: pydicom-data has RG1")

Samples = npt.NDArray[np.uint16]
Tensor = npt.NDArray[np.float32]


def rg1(name: str = "UNCR") -> Dataset:
    return dcmread(get_testdata_file(f"RG1_{name}.dcm", download=False))


def tensor_of(data: bytes) -> Tensor:
    grey, _warnings = open_film(data, "film.dcm").decode()
    return Preprocessing(224, 224, 1).tensor(grey)


def encoded(syntax: UID, code: bytes) -> bytes:
    """RG1 with its samples in another encoding."""
    dataset = rg1()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([code])
    dataset["PixelData"].VR = "OB"
    return as_bytes(dataset)


@pytest.fixture(scope="module")
def samples() -> Samples:
    """The stored values according to pydicom, which only slices bytes here."""
    return rg1().pixel_array


@pytest.fixture(scope="module")
def raw() -> Tensor:
    return tensor_of(as_bytes(rg1()))


def in_rle(_samples: Samples) -> bytes:
    dataset = rg1()
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return as_bytes(dataset)


def in_implicit_vr(_samples: Samples) -> bytes:
    dataset = rg1()
    dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    return as_bytes(dataset)


def lossless(syntax: UID, encoder: Callable[..., bytes], **options: object):
    return lambda samples: encoded(syntax, encoder(samples, **options))


J2K = imagecodecs.jpeg2k_encode
HTJ2K = imagecodecs.htj2k_encode
JPEG = imagecodecs.jpeg8_encode

ENCODERS: dict[str, Callable[[Samples], bytes]] = {
    "implicit VR": in_implicit_vr,
    "RLE": in_rle,
    "JPEG lossless .70": lossless(uid.JPEGLosslessSV1, imagecodecs.ljpeg_encode, bitspersample=16),
    "JPEG lossless .70 of libjpeg-turbo": lossless(
        uid.JPEGLosslessSV1, JPEG, lossless=True, predictor=1, bitspersample=16
    ),
    "JPEG lossless .57, predictor 4": lossless(
        uid.JPEGLossless, JPEG, lossless=True, predictor=4, bitspersample=16
    ),
    "JPEG lossless .57, predictor 7": lossless(
        uid.JPEGLossless, JPEG, lossless=True, predictor=7, bitspersample=16
    ),
    "JPEG-LS": lossless(uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": lossless(
        uid.JPEG2000Lossless, J2K, level=0, reversible=True, codecformat="j2k", bitspersample=15
    ),
    "HTJ2K": lossless(uid.HTJ2KLossless, HTJ2K, reversible=True),
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_lossless_syntax_gives_the_same_tensor(
    encoder: Callable[[Samples], bytes], samples: Samples, raw: Tensor
) -> None:
    np.testing.assert_array_equal(tensor_of(encoder(samples)), raw)


def test_jpeg_2000_from_another_encoder_gives_the_same_tensor(raw: Tensor) -> None:
    np.testing.assert_array_equal(tensor_of(as_bytes(rg1("J2KR"))), raw)


def test_lossy_jpeg_2000_matches_another_decoder() -> None:
    """UNCI is J2KI as decoded by pydicom-data's authors, up to rounding by 1 level of 30000."""
    lossy, _warnings = open_film(as_bytes(rg1("J2KI")), "film.dcm").decode()
    theirs, _warnings = open_film(as_bytes(rg1("UNCI")), "film.dcm").decode()
    assert np.abs(lossy - theirs).max() <= 1.01 / 29999


def test_one_altered_sample_changes_the_tensor(samples: Samples, raw: Tensor) -> None:
    """A change of one sample among 3.6 million by one level of 32768 is visible."""
    altered = samples.copy()
    altered[900, 900] += 1
    code = imagecodecs.jpegls_encode(altered)
    assert not np.array_equal(tensor_of(encoded(uid.JPEGLSLossless, code)), raw)


def test_native_film_is_rendered_with_its_window(samples: Samples) -> None:
    """MONOCHROME1, centre 15000, width 30000: PS3.3 C.11.2.1.2.1, inverted."""
    grey, _warnings = open_film(as_bytes(rg1()), "film.dcm").decode()
    shown = np.clip((samples - 14999.5) / 29999 + 0.5, 0, 1)
    np.testing.assert_allclose(grey, 1 - shown, rtol=0, atol=1e-6)


def near_lossless(near: int) -> Callable[[Samples], bytes]:
    return lambda samples: encoded(
        uid.JPEGLSNearLossless, imagecodecs.jpegls_encode(samples, level=near)
    )


LOSSY: dict[str, Callable[[Samples], bytes]] = {
    "JPEG 2000 of others": lambda _samples: as_bytes(rg1("J2KI")),
    "JPEG-LS near 2": near_lossless(2),
    "JPEG-LS near 20": near_lossless(20),
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(SHIPPED)


@pytest.mark.parametrize("encoder", LOSSY.values(), ids=LOSSY)
def test_lossy_syntax_gives_a_similar_probability(
    encoder: Callable[[Samples], bytes], samples: Samples, bundle: Bundle
) -> None:
    films = [open_film(data, "film").decode()[0] for data in (as_bytes(rg1()), encoder(samples))]
    tensors = np.stack([bundle.card.preprocessing.tensor(film) for film in films])
    assert not np.array_equal(*tensors)
    before, after = answers(load(bundle.path, "onnx"), tensors, bundle.card, 2).probabilities
    assert abs(after - before) <= 0.02
