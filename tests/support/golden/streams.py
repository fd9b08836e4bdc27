"""Table of encoded streams: phantom and encoder of each.

Every lossless stream was decoded by a second program when it was made (`make_golden.py`), and
equals its phantom. The contents of the lossy streams are in `decoded.npz`, also as decoded by the
second program.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from golden.phantom import EVEN, ODD, colour, phantom, smooth

#: The films before encoding, by name; all are rendered over the full range of their bits.
PHANTOMS: Final[dict[str, npt.NDArray[np.generic]]] = {
    "g8": phantom(8, ODD).astype(np.uint8),
    "g10": phantom(10, EVEN).astype(np.uint16),
    "g12": phantom(12, EVEN).astype(np.uint16),
    "g16": phantom(16, EVEN).astype(np.uint16),
    "s12": (phantom(12, EVEN) - 2**11).astype(np.int16),
    "s16": (phantom(16, EVEN) - 2**15).astype(np.int16),
    "rgb": colour(EVEN),
    "mild": smooth(EVEN),
}

BITS: Final = {"g8": 8, "g10": 10, "g12": 12, "g16": 16, "s12": 12, "s16": 16}


@dataclass(frozen=True)
class Stream:
    """One DICOM file of `golden/`.

    Attributes:
        file: its name without ``.dcm``: syntax, phantom, special property.
        proves: the tested property.
        phantom: key of :data:`PHANTOMS`.
        levels: largest allowed difference from the expected samples, in grey levels; 0 is exact.
        steps: commands that made it from ``in.dcm``, ``in.pnm`` or ``in.raw``; they end in
            ``out.dcm``, or in ``out.j2k`` or ``out.j2c``, which then becomes the only fragment.
        decoder: command of the second program, which writes ``raw.dcm`` or ``raw.pnm``.
        lossy: True if ``decoded.npz`` holds its difference from the phantom.
        syntax: transfer syntax of a code stream that became a fragment.
    """

    file: str
    proves: str
    phantom: str
    levels: float
    steps: tuple[str, ...]
    decoder: str
    lossy: bool = False
    syntax: str = ""


GDCM: Final = "gdcmconv --raw out.dcm raw.dcm"
DJPEG: Final = "dcmdjpeg +cn out.dcm raw.dcm"
DJPEG_RGB: Final = "dcmdjpeg +cp out.dcm raw.dcm"
OPENJPEG: Final = "opj_decompress -i out.j2k -o raw.pnm"
OPENJPH: Final = "ojph_expand -i out.j2c -o raw.pgm"
OPENJPH_RGB: Final = "ojph_expand -i out.j2c -o raw.ppm"


def _each(
    file: str,
    proves: str,
    phantoms: str,
    step: str,
    decoder: str,
    levels: float = 0,
    syntax: str = "",
) -> list[Stream]:
    """Apply the same encoder to several phantoms."""
    return [
        Stream(
            f"{file}-{name}",
            f"{proves}, {name}",
            name,
            levels,
            (step,),
            decoder,
            levels > 0,
            syntax,
        )
        for name in phantoms.split()
    ]


_FORMS: Final = (
    *_each(
        "fragments-table",
        "many fragments, one frame, Basic Offset Table",
        "g16",
        "dcmcjpeg +e1 +fs 1 +ot in.dcm out.dcm",
        GDCM,
    ),
    *_each(
        "fragments-bare",
        "many fragments, one frame, empty Basic Offset Table",
        "g16",
        "dcmcjpls +fs 1 -ot in.dcm out.dcm",
        GDCM,
    ),
    *_each("table", "Basic Offset Table", "g12", "dcmcjpls +ot in.dcm out.dcm", GDCM),
    *_each("bare", "empty Basic Offset Table", "g12", "dcmcjpls -ot in.dcm out.dcm", GDCM),
)

_NATIVE: Final = (
    *_each("implicit", "implicit VR", "g8 s16", "dcmconv +ti in.dcm out.dcm", GDCM),
    *_each(
        "explicit", "explicit VR", "g8 g10 g12 g16 s12 s16 rgb", "dcmconv +te in.dcm out.dcm", GDCM
    ),
    *_each("bigendian", "big endian", "g8 g12 s16", "dcmconv +tb in.dcm out.dcm", GDCM),
    *_each("deflated", "deflated data set", "g12", "dcmconv +td in.dcm out.dcm", GDCM),
    *_each(
        "nometa-implicit", "no File Meta, implicit VR", "g12", "dcmconv -F +ti in.dcm out.dcm", GDCM
    ),
    *_each(
        "nometa-explicit", "no File Meta, explicit VR", "g12", "dcmconv -F +te in.dcm out.dcm", GDCM
    ),
    *_each("groups", "group lengths in every group", "g12", "dcmconv +g +te in.dcm out.dcm", GDCM),
)

_RLE: Final = (
    *_each("rle", "RLE", "g8 g12 g16 s16 rgb", "dcmcrle in.dcm out.dcm", GDCM),
    *_each(
        "rle-gdcm",
        "RLE of another encoder",
        "g16",
        "gdcmconv -R in.dcm out.dcm",
        "dcmdrle out.dcm raw.dcm",
    ),
)

_JPEG: Final = (
    *_each("baseline", "JPEG baseline", "g8", "dcmcjpeg +un +eb +q 90 in.dcm out.dcm", GDCM, 1),
    *_each(
        "baseline-422",
        "JPEG baseline, YBR_FULL_422",
        "mild",
        "dcmcjpeg +un +eb +s2 +q 95 in.dcm out.dcm",
        DJPEG_RGB,
        1,
    ),
    *_each(
        "baseline-444",
        "JPEG baseline, YBR_FULL",
        "rgb",
        "dcmcjpeg +un +eb +s4 +q 95 in.dcm out.dcm",
        DJPEG_RGB,
        1,
    ),
    *_each(
        "baseline-rgb",
        "JPEG baseline, RGB components",
        "rgb",
        "dcmcjpeg +un +eb +cr +q 95 in.dcm out.dcm",
        DJPEG,
        1,
    ),
    *_each(
        "extended",
        "JPEG extended of 12 bits",
        "g12",
        "dcmcjpeg +un +ee +bt +q 90 in.dcm out.dcm",
        GDCM,
        1,
    ),
    *_each(
        "extended8",
        "JPEG extended of 8 bits",
        "g8",
        "dcmcjpeg +un +ee +q 90 in.dcm out.dcm",
        GDCM,
        2,
    ),
    *_each(
        "sv1",
        "JPEG lossless, first order",
        "g8 g12 g16 s16 rgb",
        "dcmcjpeg +e1 in.dcm out.dcm",
        GDCM,
    ),
    *[
        stream
        for predictor in range(1, 8)
        for stream in _each(
            f"lossless{predictor}",
            f"JPEG lossless, predictor {predictor}",
            "g8" if predictor % 2 else "g16",
            f"dcmcjpeg +el +sv {predictor} in.dcm out.dcm",
            GDCM,
        )
    ],
    *_each(
        "lossless-gdcm",
        "JPEG lossless of another encoder",
        "g12",
        "gdcmconv -J in.dcm out.dcm",
        DJPEG,
    ),
    *_each(
        "point",
        "JPEG lossless, point transform 2",
        "g12",
        "dcmcjpeg +un +el +sv 1 +pt 2 in.dcm out.dcm",
        GDCM,
        0.01,
    ),
)

_JPEG_LS: Final = (
    *_each("jls", "JPEG-LS", "g8 g12 g16 s16", "dcmcjpls in.dcm out.dcm", GDCM),
    *_each("jls-line", "JPEG-LS, line-interleaved", "rgb", "dcmcjpls +il in.dcm out.dcm", GDCM),
    *_each("jls-sample", "JPEG-LS, sample-interleaved", "rgb", "dcmcjpls +is in.dcm out.dcm", GDCM),
    *_each(
        "jls-gdcm",
        "JPEG-LS of another encoder",
        "g12",
        "gdcmconv -L in.dcm out.dcm",
        "dcmdjpls out.dcm raw.dcm",
    ),
    *_each(
        "near2",
        "JPEG-LS near-lossless 2",
        "g8 g16",
        "dcmcjpls +un +en +md 2 in.dcm out.dcm",
        GDCM,
        0.01,
    ),
)

_JPEG2000: Final = (
    *_each(
        "j2k",
        "JPEG 2000 lossless",
        "g8 g12 g16 s12 s16 rgb",
        "gdcmconv -K in.dcm out.dcm",
        GDCM,
    ),
    *_each(
        "j2k-openjpeg",
        "JPEG 2000, three resolutions, RPCL",
        "g12",
        "opj_compress -i in.pnm -o out.j2k -n 3 -p RPCL",
        OPENJPEG,
        0,
        "1.2.840.10008.1.2.4.90",
    ),
    *_each(
        "j2k-tiles",
        "JPEG 2000 in tiles",
        "g16",
        "opj_compress -i in.pnm -o out.j2k -t 24,24 -n 3",
        OPENJPEG,
        0,
        "1.2.840.10008.1.2.4.90",
    ),
    *_each(
        "j2k-lossy",
        "JPEG 2000 lossy",
        "g8 g12",
        "opj_compress -i in.pnm -o out.j2k -I -q 45",
        OPENJPEG,
        1,
        "1.2.840.10008.1.2.4.91",
    ),
    *_each(
        "j2k-ict",
        "JPEG 2000 lossy, YBR_ICT",
        "rgb",
        "opj_compress -i in.pnm -o out.j2k -I -q 45",
        OPENJPEG,
        1,
        "1.2.840.10008.1.2.4.91",
    ),
)

_HTJ2K: Final = (
    *_each(
        "ht201",
        "HTJ2K lossless",
        "g8 g10 g12 g16",
        "ojph_compress -i in.pgm -o out.j2c -reversible true",
        OPENJPH,
        0,
        "1.2.840.10008.1.2.4.201",
    ),
    *_each(
        "ht201",
        "HTJ2K lossless, YBR_RCT",
        "rgb",
        "ojph_compress -i in.ppm -o out.j2c -reversible true",
        OPENJPH_RGB,
        0,
        "1.2.840.10008.1.2.4.201",
    ),
    *_each(
        "ht202",
        "HTJ2K lossless RPCL",
        "g16",
        "ojph_compress -i in.pgm -o out.j2c -reversible true -prog_order RPCL -num_decomps 3",
        OPENJPH,
        0,
        "1.2.840.10008.1.2.4.202",
    ),
    *_each(
        "ht203",
        "HTJ2K lossy",
        "g8 g12",
        "ojph_compress -i in.pgm -o out.j2c -qstep 0.002",
        OPENJPH,
        1,
        "1.2.840.10008.1.2.4.203",
    ),
)

STREAMS: Final[tuple[Stream, ...]] = (
    *_FORMS,
    *_NATIVE,
    *_RLE,
    *_JPEG,
    *_JPEG_LS,
    *_JPEG2000,
    *_HTJ2K,
)
