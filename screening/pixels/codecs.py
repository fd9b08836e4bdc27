"""Compressed DICOM pixel data, decoded with imagecodecs as a pydicom decoder plug-in.

pydicom finds :func:`is_available`, :data:`DECODER_DEPENDENCIES` and the decoding function by
name. ``imagecodecs.jpegsof3`` is left out on purpose: it crashes on damaged streams, and
``jpeg8`` reads lossless JPEG as well.
"""

from collections.abc import Callable
from typing import Any, Final

import imagecodecs
import numpy as np
import pydicom.uid as uids
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder

PLUGIN: Final = "imagecodecs"

_JPEG: Final = (
    uids.JPEGBaseline8Bit,
    uids.JPEGExtended12Bit,
    uids.JPEGLossless,
    uids.JPEGLosslessSV1,
)
_JPEG_LS: Final = (uids.JPEGLSLossless, uids.JPEGLSNearLossless)
_JPEG_2000: Final = (uids.JPEG2000Lossless, uids.JPEG2000)
_HTJ2K: Final = (uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL, uids.HTJ2K)

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = (
    dict.fromkeys(_JPEG, imagecodecs.jpeg8_decode)
    | dict.fromkeys(_JPEG_LS, imagecodecs.jpegls_decode)
    | dict.fromkeys(_JPEG_2000, imagecodecs.jpeg2k_decode)
    | dict.fromkeys(_HTJ2K, imagecodecs.htj2k_decode)
)

DECODER_DEPENDENCIES: Final = dict.fromkeys(_DECODERS, ("imagecodecs>=2026.3",))


def is_available(uid: str) -> bool:
    """True if this plug-in decodes the transfer syntax `uid`."""
    return uid in _DECODERS


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """One frame of pixel data as pydicom wants it: little-endian, colour by pixel.

    The container that a codec returns may be wider or narrower than Bits Allocated, so it is
    stated to pydicom (PS3.5 8.2; PS3.3 C.7.6.3.1).
    """
    frame = np.asarray(_DECODERS[runner.transfer_syntax](src))
    if frame.ndim == 3:
        runner.set_option("planar_configuration", 0)
        # These codecs undo the colour transform of their own stream.
        if runner.photometric_interpretation.startswith("YBR"):
            runner.set_option("photometric_interpretation", "RGB")
    runner.set_option("bits_allocated", frame.dtype.itemsize * 8)
    return bytearray(np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<"))).data)


def register() -> None:
    """Make the plug-in known to pydicom; calling it again changes nothing."""
    for uid in _DECODERS:
        decoder = get_decoder(uids.UID(uid))
        if PLUGIN not in decoder.available_plugins:
            decoder.add_plugin(PLUGIN, (__name__, decode_frame.__name__))


register()
