"""Mutations of DICOM files at the level of data elements."""

from collections.abc import Callable
from random import Random
from typing import Final

import pydicom.uid as uids
from pydicom.datadict import dictionary_VR, tag_for_keyword

from fuzz.blunt import BLUNT, NUMBERS
from fuzz.coded import recode, resized, side
from fuzz.elements import (
    COLUMNS,
    ITEM,
    ITEM_END,
    PIXELS,
    ROWS,
    SEQUENCE_END,
    SYNTAX,
    UNDEFINED,
    Dicom,
    Element,
)

_VRS: Final = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "OB", "OD", "OF"),
    *("OL", "OV", "OW", "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN"),
    *("UR", "US", "UT", "UV", "  ", "\0\0", "ZZ", "ox", "\xff\xfe"),
)

#: Attributes that decoding, rendering, the gate and the report read.
KEYWORDS: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PlanarConfiguration", "NumberOfFrames", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "PhotometricInterpretation", "PresentationLUTShape"),
    *("VOILUTFunction", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence", "LUTDescriptor"),
    *("LUTData", "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
    *("GreenPaletteColorLookupTableDescriptor", "SegmentedRedPaletteColorLookupTableData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelAspectRatio"),
    *("SpecificCharacterSet", "Modality", "BodyPartExamined", "ViewPosition", "PatientID"),
    *("PatientOrientation", "PatientAge", "PatientSex", "PatientName", "Manufacturer"),
    *("StudyInstanceUID", "SOPInstanceUID", "SOPClassUID", "StudyDescription", "ProtocolName"),
    *("AnatomicRegionSequence", "ViewCodeSequence", "ProcedureCodeSequence", "CodeMeaning"),
    *("FloatPixelData", "PixelDataProviderURL", "PixelSpacing", "RequestedProcedureDescription"),
)

_TEXTS: Final = (
    *(b"", b" ", b"\\", b"\\\\\\", b"0", b"-0", b"1", b"-1", b"nan", b"inf", b"-1e400", b"1e-400"),
    *(b"1\\2\\3", b"0x10", b"1,5", b"9" * 400, b"\xff\xfe\xfd", b"\0\0", b"=1+1", b"\r\n\t", b"'"),
    *(b"MONOCHROME1", b"MONOCHROME2", b"PALETTE COLOR", b"RGB", b"YBR_FULL_422", b"YBR_ICT"),
    *(b"IDENTITY", b"INVERSE", b"SIGMOID", b"LINEAR_EXACT", b"CHEST", b"LATERAL", b"045Y"),
    *(b"ISO 2022 IR 87", b"ISO_IR 192\\GB18030", b"\\ISO 2022 IR 149", b"\x1b$B\x1b(J\x1b"),
    *(b"A" * 65534, b"A\\" * 30000, b"\xf0\x9f\xa6\xb4" * 10, b"1.2.840." * 40),
)

_SYNTAXES: Final = (
    *(uids.AllTransferSyntaxes),
    *("1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.4.110"),
    *("", "1.2", "x" * 70, "1.2.840.10008.1.2.1\\1.2.840.10008.1.2"),
)


def rewrite(rng: Random, film: Dicom) -> str:
    """Apply one mutation to `film`; return its name."""
    change = rng.choice(_CHANGES)
    change(rng, film)
    return change.__name__.strip("_")


def hostile(rng: Random, vr: str, film: Dicom) -> bytes:
    """Return a value that may or may not be valid for this VR."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.choice((1, 2, 3, 8, 100)))
    if vr in ("US", "SS", "UL", "SL", "OW", "OB", "US or SS", "US or OW", "AT"):
        count = rng.choice((0, 1, 1, 1, 1, 2, 3, 3, 3, 256, 5000))
        return b"".join(
            film.word(rng.choice((*NUMBERS[:-5], *range(20), -1))) for _ in range(count)
        )
    return rng.choice(_TEXTS)


def _value(rng: Random, film: Dicom) -> None:
    """Set an attribute of :data:`KEYWORDS` to a hostile value."""
    keyword = rng.choice(KEYWORDS)
    vr = dictionary_VR(keyword)
    film.put(tag_for_keyword(keyword) or 0, vr[:2], hostile(rng, vr, film))


def _layout(rng: Random, film: Dicom) -> None:
    """Make the Image Pixel Module inconsistent, using common numbers only."""
    for keyword in rng.sample(KEYWORDS[:8], rng.choice((1, 1, 2, 3))):
        number = rng.choice((0, 1, 1, 3, 7, 8, 11, 12, 15, 16, 31, 32, 64))
        film.put(tag_for_keyword(keyword) or 0, "US", film.word(number))
    if rng.random() < 0.5:
        value = rng.choice(_TEXTS[21:27]).ljust(16)
        film.put(tag_for_keyword("PhotometricInterpretation") or 0, "CS", value)


def _table(rng: Random, film: Dicom) -> None:
    """Add a sequence with a lookup table of arbitrary length."""
    word = film.word
    descriptor = [rng.choice((0, 1, 2, 256, 4096, 65535)), rng.choice((0, 1, 32768, 65535))]
    descriptor.append(rng.choice((0, 1, 7, 8, 10, 12, 16, 17, 65535)))
    entries = rng.choice((0, 1, 256, 4096, 30000))
    order = "big" if film.big_endian else "little"
    parts = (
        Element(0x00283002, rng.choice(("US", "SS", "OW")), b"".join(map(word, descriptor))),
        Element(0x00283006, rng.choice(("US", "OW", "UN")), rng.randbytes(2 * entries)),
    )
    inner = Dicom([], list(parts), film.implicit, film.big_endian).write()
    item = b"\xff\xfe\xe0\x00" if order == "big" else ITEM
    tag = rng.choice((0x00283000, 0x00283010, 0x20500010))
    film.put(tag, "SQ", item + len(inner).to_bytes(4, order) + inner)


def _vr(rng: Random, film: Dicom) -> None:
    _any(rng, film).vr = rng.choice(_VRS)


def _tag(rng: Random, film: Dicom) -> None:
    element = _any(rng, film)
    known = tag_for_keyword(rng.choice(KEYWORDS)) or 0
    element.tag = rng.choice((known, known, element.tag ^ 1, rng.getrandbits(32), 0xFFFEE000))


def _length(rng: Random, film: Dicom) -> None:
    """Set a wrong length of an element."""
    element = _any(rng, film)
    near = len(element.value) + rng.choice((-2, -1, 1, 2, 8))
    element.length = rng.choice((near, near, UNDEFINED, 0xFFFF, rng.choice(NUMBERS))) & UNDEFINED


def _undefined(rng: Random, film: Dicom) -> None:
    """Give an element an undefined length, with or without a delimiter."""
    element = _any(rng, film)
    element.vr, element.length = rng.choice(("SQ", "UN", "OB", "UT", element.vr)), UNDEFINED
    if rng.random() < 0.6:
        element.value += SEQUENCE_END + bytes(4)


def _nest(rng: Random, film: Dicom) -> None:
    """Insert nested sequences, some deeper than the stack of a parser."""
    depth = rng.choice((1, 3, 30, 300, 2000, 5000))
    closed = rng.random() < 0.6
    head = b"\x40\x00\x75\xa7" + (b"" if film.implicit else b"SQ\0\0") + b"\xff\xff\xff\xff"
    opened = (head + ITEM + b"\xff\xff\xff\xff") * depth
    ends = (ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)) * depth if closed else b""
    where = rng.randrange(len(film.body) + 1)
    sequence = Element(0x0040A730, "SQ", ITEM + b"\xff\xff\xff\xff" + opened + ends, UNDEFINED)
    film.body.insert(where, sequence)


def _drop(rng: Random, film: Dicom) -> None:
    film.body.remove(rng.choice(film.body))


def _double(rng: Random, film: Dicom) -> None:
    element = rng.choice(film.body)
    film.body.insert(rng.randrange(len(film.body) + 1), element)


def _shuffle(rng: Random, film: Dicom) -> None:
    rng.shuffle(film.body)


def _bytes(rng: Random, film: Dicom) -> None:
    """Damage the value of an element and keep its length field correct."""
    element = _any(rng, film)
    element.value = rng.choice(BLUNT)(rng, element.value or b"\0")


def _syntax(rng: Random, film: Dicom) -> None:
    film.put(SYNTAX, "UI", rng.choice(_SYNTAXES).encode())


def _order(rng: Random, film: Dicom) -> None:
    """Write the file in another transfer syntax than the stated one."""
    which = rng.choice(("implicit", "big_endian", "deflated"))
    setattr(film, which, not getattr(film, which))


def _size(rng: Random, film: Dicom) -> None:
    """Set the same wrong size in the header and in the stream."""
    rows, columns = side(rng), side(rng)
    if rng.random() < 0.5:  # small enough to be decoded
        rows, columns = rows % 1200, columns % 1200
    film.put(ROWS, "US", film.word(rows))
    film.put(COLUMNS, "US", film.word(columns))
    fragments = film.fragments()
    if fragments and len(fragments) > 1:
        fragments[1] = resized(fragments[1], rows, columns)
        film.set_fragments(fragments)


def _stream(rng: Random, film: Dicom) -> None:
    """Damage the compressed stream and keep the rest of the file valid."""
    fragments = film.fragments()
    if not fragments or len(fragments) < 2:
        pixels = film.find(PIXELS)
        if pixels is not None:
            pixels.value = rng.choice(BLUNT)(rng, pixels.value or b"\0")
        return
    which = rng.randrange(1, len(fragments))
    fragments[which] = recode(rng, fragments[which] or b"\0")
    film.set_fragments(fragments)


def _fragments(rng: Random, film: Dicom) -> None:
    """Split the valid stream into other fragments, with another offset table."""
    fragments = film.fragments() or [b"", b"\xff\xd8"]
    stream = b"".join(fragments[1:])
    step = max(1, len(stream) // rng.choice((1, 2, 3, 50)))
    parts = [stream[at : at + step] for at in range(0, len(stream), step)]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    table = b"".join(film.word(rng.choice(NUMBERS) & UNDEFINED) for _ in range(rng.randrange(4)))
    film.set_fragments([table, *parts, *rng.choice(([], [b""], [stream]))])


def _any(rng: Random, film: Dicom) -> Element:
    return rng.choice(film.body if rng.random() < 0.8 or not film.meta else film.meta)


#: Streams are mutated most often, because native code decodes them.
_CHANGES: Final[tuple[Callable[[Random, Dicom], None], ...]] = (
    *(_stream,) * 12,
    *(_value, _value, _value, _layout, _layout, _table, _table, _size, _size),
    *(_vr, _tag, _length, _undefined, _nest, _drop, _double, _shuffle, _bytes, _bytes),
    *(_syntax, _order, _fragments, _fragments),
)
