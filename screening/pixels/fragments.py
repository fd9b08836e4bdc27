"""The first frame of encapsulated pixel data (PS3.5 A.4)."""

from typing import Final

import numpy as np
import numpy.typing as npt

from screening.errors import UnreadableFilm

_ITEM: Final = b"\xfe\xff\x00\xe0"
_END: Final = b"\xfe\xff\xdd\xe0"

# How a JPEG, JPEG-LS or JPEG 2000 stream begins: there a new frame does.
_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c")


def first_frame(
    value: bytes, frames: int, extended_offsets: bytes = b"", *, undivided: bool = False
) -> bytes | memoryview:
    """The stream of the first frame, put together from its fragments.

    A table of offsets, basic or extended (PS3.3 C.7.6.3.1.8), says where the second frame begins.
    Without one a frame is a fragment if there are as many fragments as frames; else it lasts
    until a fragment begins like a new stream.

    Args:
        value: of Pixel Data: items, the first of them the basic offset table.
        frames: Number of Frames.
        extended_offsets: value of Extended Offset Table, if there is one.
        undivided: the transfer syntax puts every frame into one fragment.

    Raises:
        UnreadableFilm: if an item goes beyond the end, or there is no frame.
    """
    table, fragments = _items(value)
    if not fragments:
        raise UnreadableFilm("not_decodable", "the pixel data hold no frame")
    offsets = np.frombuffer(extended_offsets[: len(extended_offsets) // 8 * 8], "<u8")
    if not len(offsets):
        offsets = np.frombuffer(table[: len(table) // 4 * 4], "<u4")
    last = 1 if undivided and frames > 1 else _fragments_of_one(value, fragments, offsets, frames)
    parts = [memoryview(value)[start:end] for start, end in fragments[:last]]
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _items(value: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The basic offset table, and start and end of every fragment."""
    spans: list[tuple[int, int]] = []
    position = 0
    while position + 8 <= len(value) and value[position : position + 4] == _ITEM:
        length = int.from_bytes(value[position + 4 : position + 8], "little")
        start, position = position + 8, position + 8 + length
        if position > len(value):
            raise UnreadableFilm("not_decodable", "the pixel data are cut off")
        spans.append((start, position))
    rest = value[position:]
    if rest.strip(b"\0") and not rest.startswith(_END):
        raise UnreadableFilm("not_decodable", "the pixel data are damaged")
    table = value[slice(*spans[0])] if spans else b""
    return table, spans[1:]


def _fragments_of_one(
    value: bytes,
    fragments: list[tuple[int, int]],
    offsets: npt.NDArray[np.unsignedinteger],
    frames: int,
) -> int:
    """How many fragments the first frame has."""
    if len(offsets) > 1:
        # Offsets are counted from the first item after the table, to the item's own tag.
        second = fragments[0][0] - 8 + int(offsets[1])
        starts = [start - 8 for start, _end in fragments]
        if int(offsets[0]) == 0 and second in starts[1:]:
            return starts.index(second)
    if frames <= 1:
        return len(fragments)
    if len(fragments) == frames:
        return 1
    for number, (start, _end) in enumerate(fragments[1:], 1):
        if value[start : start + 4].startswith(_STARTS):
            return number
    return len(fragments)
