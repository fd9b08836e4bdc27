"""Sample layout in words, bytes and tables: PS3.3 C.7.6.3 and C.7.9, PS3.5 8."""

from typing import Final

import numpy as np
from pydicom.dataset import FileDataset

from golden.case import EXACT, Case, Grey
from golden.films import as_bytes, dicom
from golden.formulas import Values, full
from golden.phantom import EVEN, ODD, colour, luma, noise, phantom, smooth


def window(bits: int, *, signed: bool = False) -> dict[str, object]:
    """LINEAR over all of `bits`: (x - lowest) / (2^bits - 1), by C.11.2.1.2.1."""
    centre = 0 if signed else 2 ** (bits - 1)
    return {"WindowCenter": centre, "WindowWidth": 2**bits}


def case(
    proves: str,
    film: FileDataset,
    expected: Grey,
    without: Grey,
    witness: str | None = "+Wi 1",
    tolerance: float = EXACT,
) -> Case:
    """A case for one data set."""
    data = as_bytes(film)
    # dcm2pnm rounds 8-bit colours, and their grey.
    quantum = 2 / 255 if witness == "+G" else 2 / 65535
    return Case(proves, lambda: data, expected, without, tolerance, witness, quantum)


def stored(bits: int, allocated: type[np.integer] = np.uint16, *, signed: bool = False) -> Case:
    """`bits` of a word; the bits above (an old overlay, PS3.5 8.1.1) are not part of the sample."""
    words = noise(EVEN, 3) if bits < 16 else np.zeros(EVEN, np.int64)
    film = phantom(bits)
    values = film - 2 ** (bits - 1) if signed else film
    mask = 2**bits - 1
    data = (
        ((words & ~mask) | (values & mask))
        .astype(np.uint16)
        .view(np.int16 if signed else allocated)
    )
    sign = "signed" if signed else "unsigned"
    dataset = dicom(data, BitsStored=bits, **window(bits, signed=signed))
    lowest = -(2 ** (bits - 1)) if signed else 0
    other = np.clip((data.astype(np.float64) - lowest) / mask, 0, 1)
    if bits == 16:
        other = np.clip((data.view(np.uint16 if signed else np.int16) - float(lowest)) / mask, 0, 1)
    return case(f"{bits} {sign} bits of 16, others in use", dataset, full(film, bits), other)


_TWELVE: Final = phantom(12)
_BYTES: Final = phantom(8, ODD).astype(np.uint8)
_BIT: Final = (phantom(8, ODD) > 110).astype(np.uint8)
_LONG: Final = (phantom(16) * 65536 + noise(EVEN, 4)).astype(np.uint32)
_TWO: Final = np.stack([_TWELVE, 4095 - _TWELVE]).astype(np.uint16)
_OVERLAY: Final = (noise(EVEN, 8) % 2) << 15


def frames() -> FileDataset:
    """Two frames, the second the negative of the first."""
    return dicom(_TWO[0], BitsStored=12, NumberOfFrames=2, PixelData=_TWO.tobytes(), **window(12))


WORDS: Final = (
    *(stored(bits) for bits in (10, 12, 14, 15, 16)),
    *(stored(bits, signed=True) for bits in (10, 12, 15, 16)),
    case(
        "8 bits, odd rows and columns, and a pad byte",
        dicom(_BYTES, **window(8)),
        full(_BYTES, 8),
        full(np.roll(_BYTES, 1, axis=1), 8),
    ),
    case(
        "12 bits at the top of the word: HighBit 15",
        dicom(
            (_TWELVE << 4 | noise(EVEN, 3) % 16).astype(np.uint16),
            BitsStored=12,
            HighBit=15,
            **window(12),
        ),
        full(_TWELVE, 12),
        full((_TWELVE << 4 | noise(EVEN, 3) % 16) & 4095, 12),
    ),
    case(
        "12 signed bits in the middle of the word: HighBit 13",
        dicom(
            ((_TWELVE - 2048 & 4095) << 2 | (noise(EVEN, 3) & 0xC003))
            .astype(np.uint16)
            .view(np.int16),
            BitsStored=12,
            HighBit=13,
            **window(12, signed=True),
        ),
        full(_TWELVE, 12),
        full(((_TWELVE - 2048 & 4095) << 2 & 4095), 12),
    ),
    case(
        "an overlay in the highest bit is no sample",
        dicom((_TWELVE | _OVERLAY).astype(np.uint16), BitsStored=12, **window(12)),
        full(_TWELVE, 12),
        np.where(_OVERLAY > 0, 1.0, full(_TWELVE, 12)),
    ),
    case("32 bits of 32", dicom(_LONG, **window(32)), full(_LONG, 32), full(_LONG & 65535, 16)),
    case(
        "1 bit, the first sample in the lowest, rows not padded",
        dicom(
            _BIT,
            BitsAllocated=1,
            BitsStored=1,
            PixelData=np.packbits(_BIT, axis=None, bitorder="little").tobytes()
            + b"\0" * (-(-_BIT.size // 8) % 2),
            **window(1),
        ),
        _BIT.astype(float),
        np.unpackbits(np.packbits(_BIT, bitorder="little"))[: _BIT.size].reshape(ODD).astype(float),
    ),
    case("the first of two frames", frames(), full(_TWELVE, 12), full(4095 - _TWELVE, 12)),
)

_RGB: Final = colour(ODD)
_MILD: Final = smooth(EVEN)


def ybr(rgb: Values) -> Values:
    """PS3.3 C.7.6.3.1.2, YBR_FULL, rounded to bytes."""
    forward = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.round(rgb @ forward.T + [0, 128, 128]).astype(np.uint8)


_YBR: Final = ybr(_MILD)
#: Two samples of Y, then Cb and Cr of the first one.
_SHARED: Final = np.stack(
    [_YBR[:, 0::2, 0], _YBR[:, 1::2, 0], _YBR[:, 0::2, 1], _YBR[:, 0::2, 2]], axis=-1
)
#: Each of R, G and B may be rounded to a byte: half a level of 255.
_ROUNDED: Final = 1.01 / 255

COLOUR: Final = (
    case(
        "RGB by pixel is weighed as in BT.601",
        dicom(_RGB),
        luma(_RGB),
        _RGB.mean(axis=-1) / 255,
        "+G",
    ),
    case(
        "RGB by plane is weighed as in BT.601",
        dicom(_RGB, PlanarConfiguration=1, PixelData=np.moveaxis(_RGB, -1, 0).tobytes() + b"\0"),
        luma(_RGB),
        luma(np.moveaxis(_RGB, -1, 0).reshape(*ODD, 3)),
        "+G",
    ),
    case(
        "16 bits of each colour",
        dicom(_RGB.astype(np.uint16) * 257),
        luma(_RGB),
        luma(_RGB[..., ::-1]),
        "+G",
    ),
    case(
        "YBR_FULL is grey in its Y",
        dicom(_YBR, PhotometricInterpretation="YBR_FULL"),
        _YBR[..., 0] / 255,
        luma(_YBR),
        "+G",
        _ROUNDED,
    ),
    case(
        "YBR_FULL by plane",
        dicom(
            _YBR,
            PhotometricInterpretation="YBR_FULL",
            PlanarConfiguration=1,
            PixelData=np.moveaxis(_YBR, -1, 0).tobytes(),
        ),
        _YBR[..., 0] / 255,
        luma(_YBR),
        "+G",
        _ROUNDED,
    ),
    case(
        "YBR_FULL_422 has two samples of Y for one of Cb and Cr",
        dicom(_YBR, PhotometricInterpretation="YBR_FULL_422", PixelData=_SHARED.tobytes()),
        _YBR[..., 0] / 255,
        luma(_YBR),
        "+G",
        _ROUNDED,
    ),
)

CASES: Final = (*WORDS, *COLOUR)
