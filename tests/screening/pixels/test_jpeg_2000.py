"""JPEG 2000 at a lower resolution."""

import struct

import imagecodecs
import numpy as np
import pytest

from makers import grey_film
from screening.pixels.jpeg_2000 import decode
from screening.pixels.reduction import averaged


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("rest", range(8))
def test_a_size_that_does_not_divide_is_rounded_up(power, rest):
    film = grey_film(1, side=256)[: 200 + rest, : 160 - rest]
    cells = decode(imagecodecs.jpeg2k_encode(film, level=0, reversible=True), power, 8)
    assert cells.shape == tuple(-(-length >> power) for length in film.shape)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_the_values_are_about_the_means_of_blocks(bits, kind, power):
    film = (grey_film(1, side=256).astype(np.float64) / 255 * ((1 << bits) - 1)).astype(kind)
    code = imagecodecs.jpeg2k_encode(film, level=0, reversible=True, bitspersample=bits)
    cells = decode(code, power, bits) / ((1 << bits) - 1)
    means = averaged(film, power) / ((1 << bits) - 1)
    difference = (cells - means)[2:-2, 2:-2]
    assert abs(difference.mean()) < 0.002
    assert np.abs(difference).mean() < 0.004


@pytest.mark.parametrize("code", [b"", b"hello", b"\xff\x4f\xff\x51" + b"\0" * 50])
def test_what_is_no_stream_is_an_error(code):
    with pytest.raises((OSError, SyntaxError, ValueError, struct.error)):
        decode(code, 1, 8)
