"""Evidence for pneumonia as a colour overlay on a film."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lung_makers import two_lungs
from makers import grey_film
from screening.inference.heatmap import (
    FAINTEST,
    OUTLINE,
    STRONGEST,
    LungOverlay,
    _colours,
    evidence,
    heatmap_png,
    overlay,
    strip_rows,
)

GREY = grey_film(1, side=64).astype(np.float32) / 255

#: Linear sRGB as seen without red or green cones (Viénot et al., 1999).
DICHROMATS = {
    "protanope": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranope": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def cells(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def colourfulness(picture: Image.Image) -> np.ndarray:
    """Largest minus smallest channel, shape (height, width); 0 for grey."""
    channels = np.asarray(picture).astype(int)
    return channels.max(axis=2) - channels.min(axis=2)


def linear(colours: np.ndarray) -> np.ndarray:
    values = colours / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def chunks(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += 12 + length
    return found


def test_evidence_is_pneumonia_minus_normal_logits() -> None:
    maps = np.zeros((1, 2, 2, 2), np.float32)
    maps[0, 0, 1] = -1, 3
    maps[0, 1, 0] = 2, -1
    assert evidence(maps).tolist() == [[[0, 4], [-3, 0]]]


@pytest.mark.parametrize("logits", [FAINTEST, 0.0, -5.0, -100.0])
def test_film_without_evidence_has_no_colour(logits: float) -> None:
    # The scale is fixed: the strongest cell of a normal film is not stretched to the full scale.
    picture = overlay(GREY, cells([logits, logits - 3], [logits - 9, logits]))
    assert colourfulness(picture).max() == 0
    small = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BOX), float)
    np.testing.assert_allclose(small, GREY * 255, atol=6)


def test_negative_evidence_does_not_affect_adjacent_cells() -> None:
    beside = [overlay(GREY, cells([8, logits])) for logits in (0.0, -50.0)]
    np.testing.assert_array_equal(*map(np.asarray, beside))


def test_same_evidence_has_the_same_colour_on_every_film() -> None:
    alone = np.asarray(overlay(GREY, cells([4, 0, 0, 0, 0])))
    beside_more = np.asarray(overlay(GREY, cells([4, 0, 0, 0, 12])))
    np.testing.assert_array_equal(alone[:, :77], beside_more[:, :77])
    assert (alone[:, -40:] != beside_more[:, -40:]).any()


def test_colour_increases_with_evidence_up_to_the_limit() -> None:
    levels = [FAINTEST, 2, 4, 6, 8, 10, STRONGEST]
    flat = np.full((32, 32), 0.5, np.float32)
    pictures = [np.asarray(overlay(flat, cells([level])), float) for level in levels]
    away_from_grey = [np.linalg.norm(picture[9, 9] - pictures[0][9, 9]) for picture in pictures]
    assert (np.diff(away_from_grey) > 5).all()
    ends = [overlay(flat, cells([level])) for level in (STRONGEST, 100.0)]
    np.testing.assert_array_equal(*map(np.asarray, ends))


def test_colour_is_located_at_the_evidence() -> None:
    activation = np.zeros((7, 7), np.float32)
    activation[1, 5] = 12
    colour = colourfulness(overlay(GREY, activation))
    row, column = np.unravel_index(colour.argmax(), colour.shape)
    assert (row * 7 // 384, column * 7 // 384) == (1, 5)
    assert colour[260:].max() == 0


def test_film_is_visible_under_the_strongest_colour() -> None:
    picture = np.asarray(overlay(GREY, cells([STRONGEST])).convert("L"), float)
    film = np.asarray(overlay(GREY, cells([0])).convert("L"), float)
    assert np.corrcoef(picture.ravel(), film.ravel())[0, 1] > 0.99
    assert picture.std() > 0.4 * film.std()


@pytest.mark.parametrize("reader", DICHROMATS)
def test_colours_differ_from_grey_for_colour_blind_readers(reader: str) -> None:
    seen = linear(_colours()) @ np.array(DICHROMATS[reader]).T
    # These readers perceive mixtures of yellow and blue; all colours of the scale look yellow.
    assert (seen[:, 0] > 3 * seen[:, 2]).all()


def test_colours_darken_monotonically() -> None:
    luminance = linear(_colours()) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) < 0.002).all()
    assert luminance[0] > 6 * luminance[-1]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (None, (384, 384)),
        ((1000, 2000), (384, 192)),
        ((3000, 2000), (256, 384)),
        ((1, 4_000_000_000), (384, 96)),
        ((10**9, 1), (96, 384)),
        ((0, 0), (384, 384)),
    ],
)
def test_overlay_has_the_proportions_of_the_film(
    shape: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    assert overlay(GREY, cells([1, 2]), shape).size == size


def test_nan_is_no_evidence_and_infinity_the_strongest() -> None:
    nan, inf = float("nan"), float("inf")
    odd = overlay(GREY, cells([nan, 0, 0, 0, inf], [-inf, 0, 0, 0, inf]))
    plain = overlay(GREY, cells([0, 0, 0, 0, STRONGEST], [0, 0, 0, 0, STRONGEST]))
    np.testing.assert_array_equal(*map(np.asarray, (odd, plain)))


def test_png_has_no_metadata() -> None:
    png = heatmap_png(GREY, cells([8, 0]))
    assert set(chunks(png)) == {b"IHDR", b"IDAT", b"IEND"}
    assert png == heatmap_png(GREY, cells([8, 0]))


@pytest.mark.parametrize("shape", [(100, 100), (300, 100), (10, 1000)])
def test_png_is_the_overlay_above_a_colour_scale(shape: tuple[int, int]) -> None:
    picture = overlay(GREY, cells([8, 0]), shape)
    with Image.open(BytesIO(heatmap_png(GREY, cells([8, 0]), shape))) as file:
        sheet = file.convert("RGB")
    left = (sheet.width - picture.width) // 2
    box = (left, 0, left + picture.width, picture.height)
    np.testing.assert_array_equal(np.asarray(sheet.crop(box)), np.asarray(picture))
    scale = sheet.crop((0, picture.height, *sheet.size))
    bar = np.asarray(scale)[5]
    strongest = overlay(np.full((9, 9), 110 / 255, np.float32), cells([STRONGEST])).getpixel((9, 9))
    assert (bar == strongest).all(axis=1).any()
    assert [110, 110, 110] in bar.tolist()


@pytest.mark.parametrize("reader", [*DICHROMATS, "usual"])
def test_outline_differs_from_every_colour_of_the_map(reader: str) -> None:
    cones = np.array(DICHROMATS.get(reader, np.eye(3)))
    *colours, line = (linear(np.array([*_colours(), OUTLINE])) @ cones.T).clip(0, 1)
    distances = np.abs(np.cbrt(colours) - np.cbrt(line)).max(axis=1)
    assert distances.min() > 0.1


@pytest.mark.parametrize("shape", [(100, 100), (200, 100), (300, 20)], ids=str)
@pytest.mark.parametrize("share", [0.8271, 0.0, None])
def test_line_below_the_scale_states_the_lung_evidence(shape, share) -> None:
    hot = cells([8, 2], [0, -1])
    with Image.open(BytesIO(heatmap_png(GREY, hot, shape))) as sheet:
        plain = np.asarray(sheet)
    said = heatmap_png(GREY, hot, shape, LungOverlay(two_lungs(), share))
    with Image.open(BytesIO(said)) as sheet:
        lines = np.asarray(sheet)
    more = strip_rows(lungs=True) - strip_rows(lungs=False)
    assert lines.shape == (plain.shape[0] + more, *plain.shape[1:])
    scale = slice(-strip_rows(lungs=False), None)
    np.testing.assert_array_equal(lines[:-more][scale], plain[scale])
    below = lines[-more:]
    assert below.any()
    # No text is cut off at an edge.
    assert not below[:, :2].any()
    assert not below[:, -2:].any()
    assert not below[-1].any()
    assert {b"tEXt", b"zTXt", b"iTXt"}.isdisjoint(chunks(said))


def test_line_depends_on_the_share() -> None:
    hot = cells([8, 2], [0, -1])
    lines = [
        heatmap_png(GREY, hot, None, LungOverlay(two_lungs(), share))
        for share in (0.831, 0.829, 0.4)
    ]
    assert lines[0] == lines[1]
    assert lines[0] != lines[2]
