"""TIFF and BMP films."""

from typing import Final

import numpy as np

from golden.formulas import full
from golden.phantom import luma
from golden.raster import G1, G4, G8, G16, ONE, PAINTED, RGB, Raster

_TIFF: Final = "convert in.pnm -compress none -endian {} tiff.tif"


def _tiff(options: str, order: str = "LSB") -> tuple[str, ...]:
    return (_TIFF.format(order), f"tiffcp {options} tiff.tif out.tif")


TIFF: Final = (
    Raster("grey8.tif", "8 bits", _tiff("-L -c none"), G8, full(G8, 8), full(G8, 8) / 2),
    Raster(
        "grey16-little.tif",
        "16 bits, little endian",
        _tiff("-L -c none"),
        G16,
        full(G16, 16),
        full(G16.byteswap(), 16),
    ),
    Raster(
        "grey16-big.tif",
        "16 bits, big endian",
        _tiff("-B -c none", "MSB"),
        G16,
        full(G16, 16),
        full(G16.byteswap(), 16),
    ),
    Raster("lzw.tif", "LZW", _tiff("-c lzw"), G8, full(G8, 8), full(G8, 8) / 2),
    Raster(
        "lzw-predictor.tif",
        "LZW of differences of 16 bits",
        _tiff("-c lzw:2"),
        G16,
        full(G16, 16),
        full(G16 >> 8, 8),
    ),
    Raster("deflate.tif", "deflate", _tiff("-c zip"), G16, full(G16, 16), full(G16 >> 8, 8)),
    Raster("packbits.tif", "PackBits", _tiff("-c packbits"), G8, full(G8, 8), full(G8, 8) / 2),
    Raster(
        "tiles.tif", "tiles", _tiff("-t -w 16 -l 16 -c none"), G16, full(G16, 16), full(G16 >> 8, 8)
    ),
    # ImageMagick inverts single bits when it writes them, but only relabels deeper samples. It and
    # tifftopnm read all three back as expected here.
    Raster(
        "white8.tif",
        "WhiteIsZero of 8 bits is turned over",
        ("convert in.pnm -define quantum:polarity=min-is-white -compress none out.tif",),
        G8,
        1 - full(G8, 8),
        full(G8, 8),
    ),
    Raster(
        "white16.tif",
        "WhiteIsZero of 16 bits is turned over",
        ("convert in.pnm -define quantum:polarity=min-is-white -compress none out.tif",),
        G16,
        1 - full(G16, 16),
        full(G16, 16),
    ),
    Raster(
        "white1.tif",
        "WhiteIsZero of 1 bit is turned over",
        ("convert in.pnm -define quantum:polarity=min-is-white -compress none -depth 1 out.tif",),
        G1,
        full(G1, 1),
        1 - full(G1, 1),
    ),
    Raster(
        "rgb.tif",
        "RGB is weighed as in BT.601",
        _tiff("-c lzw"),
        RGB,
        luma(RGB),
        RGB.mean(axis=-1) / 255,
        ONE,
    ),
    Raster(
        "rgb-planes.tif",
        "RGB by plane",
        _tiff("-p separate -c none"),
        RGB,
        luma(RGB),
        RGB.mean(axis=-1) / 255,
        ONE,
    ),
    Raster(
        "palette.tif",
        "a palette is grey by its colours",
        ("convert in.pnm -type palette -compress none out.tif",),
        PAINTED,
        luma(PAINTED),
        G4 / 15,
        ONE,
    ),
    Raster(
        "pages.tif",
        "of several pages the first is read",
        (
            "convert in.pnm -compress none one.tif",
            "convert in.pnm -negate -compress none two.tif",
            "tiffcp one.tif two.tif out.tif",
        ),
        G8,
        full(G8, 8),
        1 - full(G8, 8),
    ),
)

BMP: Final = (
    Raster(
        "grey1.bmp",
        "1 bit is black or white",
        ("convert in.pnm -type bilevel BMP3:out.bmp",),
        G1,
        full(G1, 1),
        G1 / 255,
    ),
    Raster(
        "grey8.bmp",
        "8 bits of a grey palette",
        ("convert in.pnm -type grayscale -compress none BMP3:out.bmp",),
        G8,
        full(G8, 8),
        full(np.argsort(np.argsort(np.unique(G8)))[np.searchsorted(np.unique(G8), G8)], 8),
    ),
    Raster(
        "palette.bmp",
        "a palette is grey by its colours",
        ("convert in.pnm -type palette BMP3:out.bmp",),
        PAINTED,
        luma(PAINTED),
        G4 / 15,
        ONE,
    ),
    Raster(
        "rgb24.bmp",
        "24 bits are blue, green, red",
        ("convert in.pnm -type truecolor BMP3:out.bmp",),
        RGB,
        luma(RGB),
        luma(RGB[..., ::-1]),
        ONE,
    ),
    Raster(
        "topdown.bmp",
        "a negative height is top-down",
        ("convert in.pnm -type truecolor BMP3:out.bmp", "top-down"),
        RGB,
        luma(RGB),
        luma(RGB[::-1]),
        ONE,
    ),
)
