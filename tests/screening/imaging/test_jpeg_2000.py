"""Decoding JPEG 2000 at a lower resolution."""

import struct

import imagecodecs
import numpy as np
import pytest

from makers import grey_film
from screening.imaging.downscale import decode


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("rest", range(8))
def test_reduced_size_is_rounded_up(power, rest):
    film = grey_film(1, side=256)[: 200 + rest, : 160 - rest]
    cells = decode(imagecodecs.jpeg2k_encode(film, level=0, reversible=True), power, 8)
    assert cells.shape == tuple(-(-length >> power) for length in film.shape)


def low_pass(film: np.ndarray) -> np.ndarray:
    """The 5/3 wavelet's low pass at every other cell, by its formula: (-1, 2, 6, 2, -1) / 8."""
    for axis in (0, 1):
        padded = np.moveaxis(np.pad(film, 2, mode="reflect"), axis, 0)
        taps = zip(range(5), (-1, 2, 6, 2, -1), strict=True)
        total = sum(tap / 8 * padded[place : len(padded) - 4 + place] for place, tap in taps)
        film = np.moveaxis(total[::2], 0, axis)
        film = film[:, 2:-2] if axis == 0 else film[2:-2]
    return film


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_reduced_values_match_the_low_pass(bits, kind, power):
    top = (1 << bits) - 1
    film = grey_film(1, side=256).astype(np.float64) / 255 * 0.8 + 0.1
    film += np.random.default_rng(1).normal(0, 0.01, film.shape)
    stored = np.rint(np.clip(film, 0, 1) * top).astype(kind)
    code = imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, bitspersample=bits)
    expected = stored.astype(np.float64)
    for _ in range(power):
        expected = low_pass(expected)
    difference = decode(code, power, bits) - expected
    # The reversible transformation rounds every step, but not always up.
    assert np.abs(difference).max() < 1.5 * power
    assert abs(difference.mean()) < 0.1


@pytest.mark.parametrize("code", [b"", b"hello", b"\xff\x4f\xff\x51" + b"\0" * 50])
def test_invalid_stream_raises(code):
    with pytest.raises((OSError, SyntaxError, ValueError, struct.error)):
        decode(code, 1, 8)
