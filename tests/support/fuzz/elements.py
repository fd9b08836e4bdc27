"""Read a DICOM file as a list of elements, and write it with arbitrary changes to each.

Reads only valid files (PS3.5 chapter 7, PS3.10 chapter 7), and writes invalid ones without checks.
"""

import zlib
from dataclasses import dataclass, field
from typing import Final, Self

import pydicom.uid as uids
from pydicom.datadict import dictionary_VR

SYNTAX: Final = 0x00020010
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
PIXELS: Final = 0x7FE00010

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = b"\xfe\xff\x00\xe0"
ITEM_END: Final = b"\xfe\xff\x0d\xe0"
SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0"

_LONG: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_PREAMBLE: Final = 132


@dataclass
class Element:
    """One data element.

    Attributes:
        tag: group times 65,536 plus element.
        vr: value representation.
        value: encoded value.
        length: length field to write; by default the length of the value.
    """

    tag: int
    vr: str
    value: bytes = field(repr=False)
    length: int | None = None


@dataclass
class Dicom:
    """The parts of a DICOM file.

    Attributes:
        meta: File Meta elements, always explicit little endian; may be empty.
        body: elements of the data set.
        implicit: whether the data set is written with implicit VR.
        big_endian: whether the data set is written in big endian.
        deflated: whether the data set is written deflated.
    """

    meta: list[Element]
    body: list[Element]
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Parse a valid file.

        Raises:
            ValueError: if the file has no preamble, or an element extends beyond its end.
        """
        if data[128:_PREAMBLE] != b"DICM":
            raise ValueError("no preamble")
        end = _PREAMBLE + 12 + int.from_bytes(data[140:144], "little")
        meta = _elements(data[_PREAMBLE:end], "little", implicit=False)
        syntax = next(element.value for element in meta if element.tag == SYNTAX)
        uid = syntax.rstrip(b"\0 ").decode("ascii", "replace")
        deflated = uid == uids.DeflatedExplicitVRLittleEndian
        big_endian = uid == uids.ExplicitVRBigEndian
        implicit = uid == uids.ImplicitVRLittleEndian
        rest = zlib.decompress(data[end:], -zlib.MAX_WBITS) if deflated else data[end:]
        body = _elements(rest, "big" if big_endian else "little", implicit=implicit)
        return cls(meta, body, implicit, big_endian, deflated)

    def write(self) -> bytes:
        """Encode the file; only the length of File Meta is corrected."""
        meta = b"".join(_written(element, "little", implicit=False) for element in self.meta[1:])
        head = b""
        if self.meta:
            length = Element(0x00020000, "UL", len(meta).to_bytes(4, "little"))
            head = bytes(128) + b"DICM" + _written(length, "little", implicit=False)
        order = "big" if self.big_endian else "little"
        body = b"".join(_written(element, order, implicit=self.implicit) for element in self.body)
        if self.deflated:
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = packer.compress(body) + packer.flush()
        return head + meta + body

    def find(self, tag: int) -> Element | None:
        """Return the first element with this tag; None if it does not exist."""
        return next((one for one in (*self.meta, *self.body) if one.tag == tag), None)

    def put(self, tag: int, vr: str, value: bytes) -> Element:
        """Set an element; a new one is inserted in the order of tags."""
        found = self.find(tag)
        if found is None:
            found = Element(tag, vr, value)
            self.body.append(found)
            self.body.sort(key=lambda element: element.tag)
        found.vr, found.value = vr, value
        return found

    def word(self, number: int) -> bytes:
        """Encode a number as US, SS, UL or SL."""
        size = 2 if -(1 << 15) <= number < 1 << 16 else 4
        wrapped = number & (1 << 8 * size) - 1
        return wrapped.to_bytes(size, "big" if self.big_endian else "little")

    def fragments(self) -> list[bytes] | None:
        """Return the items of encapsulated pixel data, offset table first; None if native."""
        pixels = self.find(PIXELS)
        if pixels is None or pixels.length != UNDEFINED:
            return None
        found, position, value = [], 0, pixels.value
        while value[position : position + 4] == ITEM:
            length = int.from_bytes(value[position + 4 : position + 8], "little")
            found.append(value[position + 8 : position + 8 + length])
            position += 8 + length
        return found

    def set_fragments(self, fragments: list[bytes]) -> None:
        """Replace the pixel data by these encapsulated items."""
        pixels = self.put(PIXELS, "OB", enclosed(fragments))
        pixels.length = UNDEFINED


def enclosed(fragments: list[bytes]) -> bytes:
    """Encode the value of encapsulated pixel data (PS3.5 A.4)."""
    padded = [fragment + bytes(len(fragment) % 2) for fragment in fragments]
    items = (ITEM + len(fragment).to_bytes(4, "little") + fragment for fragment in padded)
    return b"".join(items) + SEQUENCE_END + bytes(4)


def _elements(data: bytes, order: str, *, implicit: bool) -> list[Element]:
    found, position = [], 0
    while position < len(data):
        group = int.from_bytes(data[position : position + 2], order)
        tag = group << 16 | int.from_bytes(data[position + 2 : position + 4], order)
        position += 4
        if implicit:
            vr, size = _vr_of(tag), 4
        else:
            vr = data[position : position + 2].decode("ascii")
            size = 4 if vr in _LONG else 2
            position += 4 if vr in _LONG else 2
        length = int.from_bytes(data[position : position + size], order)
        position += size
        if length == UNDEFINED:
            end_mark = SEQUENCE_END if order == "little" else b"\xff\xfe\xe0\xdd"
            end = len(data) if tag == PIXELS else data.index(end_mark, position) + 8
            found.append(Element(tag, vr, data[position:end], UNDEFINED))
        else:
            end = position + length
            if end > len(data):
                raise ValueError(f"element {tag:08x} is cut off")
            found.append(Element(tag, vr, data[position:end]))
        position = end
    return found


def _vr_of(tag: int) -> str:
    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def _written(element: Element, order: str, *, implicit: bool) -> bytes:
    length = len(element.value) if element.length is None else element.length
    tag = (element.tag >> 16).to_bytes(2, order) + (element.tag & 0xFFFF).to_bytes(2, order)
    if implicit:
        return tag + (length & UNDEFINED).to_bytes(4, order) + element.value
    vr = element.vr.encode("latin-1")[:2].ljust(2)
    if element.vr in _LONG:
        return tag + vr + bytes(2) + (length & UNDEFINED).to_bytes(4, order) + element.value
    return tag + vr + (length & 0xFFFF).to_bytes(2, order) + element.value
