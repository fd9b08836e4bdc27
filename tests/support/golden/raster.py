"""One row of the table of PNG, JPEG, TIFF and BMP films, and the samples encoded in them.

Grey is the luma of ITU-R BT.601; transparency is composited over black; CMYK is ink, so a colour
is ``(255 - C) * (255 - K) / 255``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from golden.phantom import EVEN, ODD, colour, luma, noise, phantom

Samples = npt.NDArray[np.generic]
Grey = npt.NDArray[np.floating]

G1: Final = (phantom(8, ODD) > 110).astype(np.uint8)
G2: Final = (phantom(8, ODD) // 64).astype(np.uint8)
G4: Final = (phantom(8, ODD) // 16).astype(np.uint8)
G8: Final = phantom(8, ODD).astype(np.uint8)
G16: Final = phantom(16, ODD).astype(np.uint16)
RGB: Final = colour(ODD)
RGB16: Final = np.stack([G16, G16[::-1], 65535 - G16[:, ::-1]], axis=-1)[:16, :20]
ALPHA: Final = (noise(ODD, 6) % 256).astype(np.uint8)
RGBA: Final = np.dstack([RGB, ALPHA])
GREY_ALPHA: Final = np.dstack([G8, G8, G8, ALPHA])
ALPHA16: Final = noise((16, 20), 5).astype(np.uint16)
RGBA16: Final = np.dstack([RGB16, ALPHA16])
GREY_ALPHA16: Final = np.dstack([RGB16[..., :1]] * 3 + [ALPHA16])
#: 16 colours, and an image that uses them.
PALETTE: Final = (np.arange(48) * 89 % 256).astype(np.uint8).reshape(16, 3)
PAINTED: Final = PALETTE[G4]
#: Ink, 255 is full: cyan, magenta, yellow, key.
CMYK: Final = np.dstack([colour(EVEN), phantom(8, EVEN, seed=8) // 2]).astype(np.uint8)
#: Smooth, so that subsampled chroma and quantisation hardly show; all orientations differ.
_Y, _X = np.mgrid[: ODD[0], : ODD[1]]
SMOOTH: Final = (40 + 3 * _X + 2 * _Y).astype(np.uint8)
SOFT: Final = np.stack([SMOOTH, SMOOTH // 2 + 20, 250 - SMOOTH], axis=-1).astype(np.uint8)


@dataclass(frozen=True)
class Raster:
    """One file of `golden/`.

    Attributes:
        file: its name; the suffix is the format.
        proves: the rule, as a sentence.
        steps: the commands that made it, from ``in.raw`` or ``in.pnm`` to ``out.*``, or an edit of
            the bytes by `make_golden.py` itself (``transparent``, ``top-down``).
        source: the samples that were encoded.
        expected: grey values, or None if they come from the `decoder` of a lossy file.
        without: grey values of a reader without the rule.
        tolerance: largest difference, in grey.
        decoder: command for a lossy file; writes ``raw.pgm``, ``raw.ppm`` or ``raw.cmyk``.
    """

    file: str
    proves: str
    steps: tuple[str, ...]
    source: Samples
    expected: Grey | None
    without: Grey
    tolerance: float = 1e-6
    decoder: str = ""


def over_black(colours: Samples, alpha: Samples) -> Grey:
    """Luma multiplied by opacity."""
    return luma(colours) * alpha / 255


def ink(cmyk: Samples) -> Grey:
    """Grey of a print: each ink absorbs light, the key absorbs all colours."""
    light = 255.0 - cmyk
    return luma(light[..., :3] * light[..., 3:] / 255)


#: One level of 8 bits: readers may convert colours to grey in bytes.
ONE: Final = 1 / 255
