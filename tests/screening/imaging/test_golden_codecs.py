"""Encoded films compared with the output of other decoders; the table is `golden/streams.py`."""

from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, encapsulate_extended, generate_fragments

from golden.films import as_bytes
from golden.phantom import luma
from golden.streams import BITS, PHANTOMS, STREAMS, Stream
from screening.imaging.readers import open_film

GOLDEN = Path(__file__).parents[2] / "support" / "golden"
Grey = npt.NDArray[np.floating]

EVERY_STREAM = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.file)


def content(file: str) -> bytes:
    return (GOLDEN / f"{file}.dcm").read_bytes()


def read(data: bytes, name: str = "film.dcm") -> Grey:
    return open_film(data, name).decode()[0]


def samples_of(stream: Stream) -> npt.NDArray[np.generic]:
    """The samples in the stream: its phantom, plus the codec's error by another decoder."""
    film = PHANTOMS[stream.phantom]
    if not stream.lossy:
        return film
    with np.load(GOLDEN / "decoded.npz") as added:
        return (film + added[stream.file]).astype(film.dtype)


def grey_of(samples: npt.NDArray[np.generic], phantom: str) -> Grey:
    """Scale the full range to 0..1.

    The films state centre 2^(b-1), width 2^b (0 instead of 2^(b-1) if samples are signed): by
    PS3.3 C.11.2.1.2.1 that is ``((x - (c - 0.5)) / (w - 1)) + 0.5``, so x / (2^b - 1).
    """
    if samples.ndim == 3:
        return luma(samples)
    bits = BITS[phantom]
    lowest = -(2 ** (bits - 1)) if samples.dtype.kind == "i" else 0
    return (samples.astype(np.float64) - lowest) / (2**bits - 1)


def tolerance(stream: Stream) -> float:
    """In grey: the decoder's levels plus the rounding of float32 (6e-8), times two."""
    top = 255 if stream.phantom in {"rgb", "mild"} else 2 ** BITS[stream.phantom] - 1
    return stream.levels / top + 2e-7


@EVERY_STREAM
def test_stream_decodes_to_the_samples_of_other_decoders(stream: Stream) -> None:
    grey = read(content(stream.file))
    expected = grey_of(samples_of(stream), stream.phantom)
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, expected, rtol=0, atol=tolerance(stream))


@EVERY_STREAM
def test_comparison_detects_one_altered_sample(stream: Stream) -> None:
    """The comparison is not trivial: it detects one sample changed by more than the tolerance."""
    samples = samples_of(stream)
    assert len(np.unique(samples)) > 60
    altered = samples.astype(np.int64)
    step = 2 + 2 * int(np.ceil(stream.levels)) if stream.levels else 1
    place = (samples.shape[0] // 2, samples.shape[1] // 2)
    altered[place] += step if np.all(samples[place] < 200) else -step
    difference = grey_of(altered.astype(samples.dtype), stream.phantom) - read(content(stream.file))
    assert np.abs(difference).max() > tolerance(stream)


LOSSLESS = [stream for stream in STREAMS if not stream.lossy]


@pytest.mark.parametrize("stream", LOSSLESS, ids=lambda stream: stream.file)
def test_all_lossless_syntaxes_give_identical_grey_values(stream: Stream) -> None:
    native = read(content(f"explicit-{stream.phantom}"))
    np.testing.assert_array_equal(read(content(stream.file)), native)


@pytest.mark.parametrize("phantom", ["g8", "g16"])
def test_near_lossless_jpeg_ls_error_stays_within_its_bound(phantom: str) -> None:
    difference = read(content(f"near2-{phantom}")) - read(content(f"explicit-{phantom}"))
    assert 0 < np.abs(difference).max() <= 2 / (2 ** BITS[phantom] - 1) + 2e-7


def framed(frames: int, **options: object) -> bytes:
    """The phantom g12 in JPEG-LS, then its negatives; `frames` in total."""
    dataset = dcmread(GOLDEN / "table-g12.dcm")
    (code,) = generate_fragments(dataset.PixelData[8 + 4 :])
    negative = imagecodecs.jpegls_encode(np.uint16(4095) - PHANTOMS["g12"])
    dataset.NumberOfFrames = frames
    if options.pop("extended", False):
        codes = encapsulate_extended([code, negative][:frames])
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = codes
    else:
        dataset.PixelData = encapsulate([code, negative][:frames], **options)
    return as_bytes(dataset)


ENCAPSULATIONS = {
    "Extended Offset Table, one frame": framed(1, extended=True),
    "Extended Offset Table, first of two frames": framed(2, extended=True),
    "Basic Offset Table, first of two frames": framed(2, has_bot=True),
    "empty Basic Offset Table, first of two frames": framed(2, has_bot=False),
    "Basic Offset Table, frames of three fragments": framed(2, has_bot=True, fragments_per_frame=3),
    "empty Basic Offset Table, a frame of seven fragments": framed(
        1, has_bot=False, fragments_per_frame=7
    ),
    "empty Basic Offset Table, two frames of three fragments": framed(
        2, has_bot=False, fragments_per_frame=3
    ),
}


@pytest.mark.parametrize("data", ENCAPSULATIONS.values(), ids=ENCAPSULATIONS)
def test_first_frame_is_found_with_any_offset_table(data: bytes) -> None:
    """PS3.5 A.4; the second frame is the negative, so that it cannot be mistaken for the first."""
    np.testing.assert_array_equal(read(data), read(content("explicit-g12")))


FILM = content("table-g12")
FORMS = {
    "no preamble": (FILM[132:], "film.dcm"),
    "no suffix": (FILM, "film"),
    "a numeric name": (FILM, "IM000001"),
    "the suffix of a PNG": (FILM, "film.png"),
    "the suffix of a JPEG": (FILM, "film.JPG"),
    "the suffix of a text": (FILM, "film.txt"),
    "bytes of another format in the preamble": (b"II*\0" + FILM[4:], "film.dcm"),
    "bytes after the data set": (FILM + b"\xfc\xff\xfc\xff\x4f\x42" + bytes(10), "film.dcm"),
}


@pytest.mark.parametrize(("data", "name"), FORMS.values(), ids=FORMS)
def test_dicom_film_is_read_in_any_file_form(data: bytes, name: str) -> None:
    """PS3.10 7.1: the preamble has arbitrary content, and says nothing about the film."""
    np.testing.assert_array_equal(read(data, name), read(content("explicit-g12")))
