"""JPEG films; `decoded.npz` holds their contents as decoded by djpeg and ImageMagick."""

from typing import Final

from golden.formulas import full
from golden.phantom import EVEN
from golden.raster import CMYK, G8, ONE, RGB, SOFT, Raster, ink

_DJPEG: Final = "djpeg -pnm -outfile raw.{} out.jpg"
_GREY_OUT: Final = _DJPEG.format("pgm")
_RGB_OUT: Final = _DJPEG.format("ppm")
_CMYK_OUT: Final = "convert out.jpg -depth 8 cmyk:raw.cmyk"
_CMYK_IN: Final = f"-size {EVEN[1]}x{EVEN[0]} -depth 8 cmyk:in.raw"

JPEG: Final = (
    Raster(
        "grey.jpg",
        "grey",
        ("cjpeg -grayscale -quality 95 -outfile out.jpg in.pgm",),
        G8,
        None,
        full(G8, 8) / 2,
        ONE,
        _GREY_OUT,
    ),
    Raster(
        "progressive.jpg",
        "progressive scans",
        ("cjpeg -grayscale -progressive -quality 95 -outfile out.jpg in.pgm",),
        G8,
        None,
        full(G8, 8) / 2,
        ONE,
        _GREY_OUT,
    ),
    Raster(
        "restart.jpg",
        "restart intervals",
        ("cjpeg -grayscale -restart 1 -quality 95 -outfile out.jpg in.pgm",),
        G8,
        None,
        full(G8, 8) / 2,
        ONE,
        _GREY_OUT,
    ),
    Raster(
        "ycc444.jpg",
        "YCbCr",
        ("cjpeg -sample 1x1 -quality 95 -outfile out.jpg in.ppm",),
        RGB,
        None,
        RGB.mean(axis=-1) / 255,
        2 * ONE,
        _RGB_OUT,
    ),
    Raster(
        "ycc420.jpg",
        "YCbCr with a quarter of the chroma",
        ("cjpeg -sample 2x2 -quality 95 -outfile out.jpg in.ppm",),
        SOFT,
        None,
        SOFT.mean(axis=-1) / 255,
        2 * ONE,
        _RGB_OUT,
    ),
    Raster(
        "ycc-progressive.jpg",
        "progressive scans of YCbCr",
        ("cjpeg -progressive -quality 95 -outfile out.jpg in.ppm",),
        SOFT,
        None,
        SOFT.mean(axis=-1) / 255,
        2 * ONE,
        _RGB_OUT,
    ),
    Raster(
        "rgb.jpg",
        "RGB components, by their Adobe marker",
        ("cjpeg -rgb -quality 95 -outfile out.jpg in.ppm",),
        RGB,
        None,
        RGB[..., 0] / 255,
        2 * ONE,
        _RGB_OUT,
    ),
    Raster(
        "cmyk.jpg",
        "Adobe's CMYK is stored inverted",
        (f"convert {_CMYK_IN} -quality 98 out.jpg",),
        CMYK,
        None,
        ink(255 - CMYK),
        2 * ONE,
        _CMYK_OUT,
    ),
    Raster(
        "ycck.jpg",
        "YCCK is turned into CMYK first",
        ("imagecodecs ycck",),
        CMYK,
        None,
        ink(255 - CMYK),
        2 * ONE,
        _CMYK_OUT,
    ),
)
