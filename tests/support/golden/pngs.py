"""PNG films: ISO/IEC 15948."""

from typing import Final

import numpy as np

from golden.formulas import full
from golden.phantom import ODD, luma
from golden.raster import (
    ALPHA,
    ALPHA16,
    G1,
    G2,
    G4,
    G8,
    G16,
    GREY_ALPHA,
    GREY_ALPHA16,
    ONE,
    PAINTED,
    PALETTE,
    RGB,
    RGB16,
    RGBA,
    RGBA16,
    Raster,
    over_black,
)


def _png(bits: int, kind: int, source: str = "in.pnm", more: str = "") -> tuple[str, ...]:
    """ImageMagick options for bit depth and colour type (PNG 11.2.1)."""
    define = (
        f"-define png:bit-depth={bits} -define png:color-type={kind} -define png:exclude-chunks=all"
    )
    return (f"convert {source} {more} {define} out.png",)


def _raw(layout: str, bits: int = 8) -> str:
    return f"-size {ODD[1]}x{ODD[0]} -depth {bits} -endian MSB {layout}:in.raw"


PNG: Final = (
    Raster("grey1.png", "1 bit of grey is black or white", _png(1, 0), G1, full(G1, 1), G1 / 255),
    Raster("grey2.png", "2 bits of grey end at 3", _png(2, 0), G2, full(G2, 2), G2 / 255),
    Raster("grey4.png", "4 bits of grey end at 15", _png(4, 0), G4, full(G4, 4), G4 / 255),
    Raster("grey8.png", "8 bits of grey", _png(8, 0), G8, full(G8, 8), full(G8, 8) / 2),
    Raster(
        "grey16.png",
        "16 bits of grey keep their lower half",
        _png(16, 0),
        G16,
        full(G16, 16),
        full(G16 >> 8, 8),
    ),
    Raster(
        "grey16-interlaced.png",
        "interlaced 16 bits are the same film",
        _png(16, 0, more="-interlace PNG"),
        G16,
        full(G16, 16),
        full(G16 >> 8, 8),
    ),
    Raster(
        "grey8-interlaced.png",
        "interlaced 8 bits are the same film",
        _png(8, 0, more="-interlace PNG"),
        G8,
        full(G8, 8),
        full(G8, 8) / 2,
    ),
    Raster(
        "grey1-interlaced.png",
        "interlaced single bits are the same film",
        _png(1, 0, more="-interlace PNG"),
        G1,
        full(G1, 1),
        G1 / 255,
    ),
    Raster(
        "palette.png",
        "a palette is grey by its colours",
        _png(8, 3),
        PAINTED,
        luma(PAINTED),
        G4 / 15,
        ONE,
    ),
    Raster(
        "palette4.png",
        "4 bits of a palette are grey by its colours",
        _png(4, 3),
        PAINTED,
        luma(PAINTED),
        G4 / 15,
        ONE,
    ),
    Raster(
        "rgb.png",
        "RGB is weighed as in BT.601",
        _png(8, 2),
        RGB,
        luma(RGB),
        RGB.mean(axis=-1) / 255,
        ONE,
    ),
    Raster(
        "rgb16.png",
        "16 bits of each colour",
        _png(16, 2),
        RGB16,
        luma(RGB16, 65535),
        luma(RGB16 & 255),
        ONE,
    ),
    Raster(
        "rgba.png",
        "what is transparent lies over black",
        _png(8, 6, _raw("rgba")),
        RGBA,
        over_black(RGB, ALPHA),
        luma(RGB),
        ONE,
    ),
    Raster(
        "grey-alpha.png",
        "transparent grey lies over black",
        _png(8, 4, _raw("rgba")),
        GREY_ALPHA,
        over_black(GREY_ALPHA[..., :3], ALPHA),
        full(G8, 8),
        ONE,
    ),
    Raster(
        "rgba16.png",
        "16 bits of what is transparent lie over black",
        _png(16, 6, "-size 20x16 -depth 16 -endian MSB rgba:in.raw"),
        RGBA16,
        luma(RGB16, 65535) * ALPHA16 / 65535,
        luma(RGB16, 65535),
        ONE,
    ),
    Raster(
        "grey-alpha16.png",
        "16 bits of transparent grey lie over black",
        _png(16, 4, "-size 20x16 -depth 16 -endian MSB rgba:in.raw"),
        GREY_ALPHA16,
        full(RGB16[..., 0], 16) * ALPHA16 / 65535,
        full(RGB16[..., 0], 16),
        ONE,
    ),
)

#: Transparency from tRNS: one grey, one colour, or entries of the palette.
_HIDDEN_GREY: Final = np.where(G8 == 120, 0, full(G8, 8))
_HIDDEN_RGB: Final = np.where(np.all(PALETTE[7] == PAINTED, axis=-1), 0, luma(PAINTED))
_HALF: Final = np.where(G4 == 3, 0, np.where(G4 == 4, 128, 255))

TRANSPARENT: Final = (
    Raster(
        "grey8-trns.png",
        "the grey that tRNS names is black",
        (*_png(8, 0), "transparent 0078"),
        G8,
        _HIDDEN_GREY,
        full(G8, 8),
    ),
    Raster(
        "grey16-trns.png",
        "the 16-bit grey that tRNS names is black",
        (*_png(16, 0), f"transparent {G16[20, 20]:04x}"),
        G16,
        np.where(G16[20, 20] == G16, 0, full(G16, 16)),
        full(G16, 16),
    ),
    Raster(
        "rgb-trns.png",
        "the colour that tRNS names is black",
        (*_png(8, 2), "transparent " + "".join(f"{v:04x}" for v in PALETTE[7])),
        PAINTED,
        _HIDDEN_RGB,
        luma(PAINTED),
        ONE,
    ),
    Raster(
        "rgb16-trns.png",
        "the 16-bit colour that tRNS names is black",
        (*_png(16, 2), "transparent " + "".join(f"{value:04x}" for value in RGB16[9, 9])),
        RGB16,
        np.where(np.all(RGB16[9, 9] == RGB16, axis=-1), 0, luma(RGB16, 65535)),
        luma(RGB16, 65535),
        ONE,
    ),
)
