"""Read and apply lookup tables: modality, VOI, presentation, palettes.

PS3.3 C.11.1.1 (descriptor and data), C.7.6.3.1.5 and C.7.6.3.1.6 (palettes), C.7.9.2 (segments).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from screening.imaging.attributes import numbers
from screening.imaging.colour import luma

Values = npt.NDArray[np.float64]

_DISCRETE, _LINEAR, _INDIRECT = range(3)


class TableError(ValueError):
    """A lookup table is inconsistent; the message holds only names and numbers."""


@dataclass(frozen=True, eq=False)
class Table:
    """A lookup table.

    Attributes:
        first: input value of the first entry; values outside the table get the first or last entry.
        bits: bits of an entry; the output range is 0 to ``2 ** bits - 1``.
        entries: one-dimensional.
    """

    first: int
    bits: int
    entries: Values

    @property
    def top(self) -> float:
        """The highest value of the output range."""
        return float((1 << self.bits) - 1)

    def look_up(self, values: npt.NDArray[Any]) -> Values:
        """Return the entries for `values`, which are rounded to integers."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        found: Values = self.entries[index.astype(np.intp)]
        return found


def read_table(item: Dataset, name: str, *, signed: bool, big_endian: bool = False) -> Table:
    """Read the table in an item of a Modality, VOI or Presentation LUT Sequence.

    Args:
        item: an item with LUT Descriptor and LUT Data.
        name: name of the table, for messages.
        signed: whether the input values may be negative, so that the first of them may be, too.
        big_endian: byte order of words that are stored as bytes (VR OW).

    Raises:
        TableError: if a part is missing or too short.
    """
    count, first, bits = _descriptor(item, "LUTDescriptor", name, signed=signed)
    entries = _entries(_raw(item, "LUTData", name), count, bits, name, big_endian=big_endian)
    # If the descriptor's bits are implausible, use the bits that the entries need.
    needed = max(1, int(entries.max())).bit_length()
    return Table(first, bits if needed <= bits <= 16 else needed, entries)


def read_palette(dataset: Dataset, *, signed: bool, big_endian: bool = False) -> Table:
    """Read the red, green and blue palettes as one table of grey values, 0..1 scaled to 0..65535.

    Raises:
        TableError: if a palette is missing or too short.
    """
    channels = []
    first = 0
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        count, first, bits = _descriptor(dataset, f"{name}Descriptor", name, signed=signed)
        if f"{name}Data" in dataset:
            raw = _raw(dataset, f"{name}Data", name)
            entries = _entries(raw, count, bits, name, big_endian=big_endian)
        else:
            raw = _raw(dataset, f"Segmented{name}Data", name)
            entries = _expanded(raw, count, bits, name, big_endian=big_endian)
        top = 255 if bits <= 8 and entries.max() <= 255 else 65535
        channels.append(entries / top)
    if len({len(channel) for channel in channels}) > 1:
        raise TableError("the palettes differ in length")
    return Table(first, 16, luma(*channels) * 65535)


def _descriptor(dataset: Dataset, keyword: str, name: str, *, signed: bool) -> tuple[int, int, int]:
    """Return number of entries, first value, and bits."""
    stated = numbers(dataset, keyword)
    if len(stated) != 3 or not np.isfinite(stated).all():
        raise TableError(f"{name} has no descriptor of three numbers")
    # All three are words; readers and writers disagree about which of them are signed.
    count, first, bits = (int(number) & 0xFFFF for number in stated)
    return count or 1 << 16, first - (1 << 16) if signed and first >= 1 << 15 else first, bits


def _raw(dataset: Dataset, keyword: str, name: str) -> bytes | npt.NDArray[np.uint16]:
    value = dataset.get(keyword)
    if isinstance(value, bytes) and value:
        return value
    words = [int(number) & 0xFFFF for number in numbers(dataset, keyword)]
    if not words:
        raise TableError(f"{name} is empty")
    return np.array(words, np.uint16)


def _entries(
    raw: bytes | npt.NDArray[np.uint16], count: int, bits: int, name: str, *, big_endian: bool
) -> Values:
    """Return the entries: words, or two bytes per word (lower one first) if stored that way."""
    if isinstance(raw, bytes):
        words = np.frombuffer(raw, ">u2" if big_endian else "<u2", len(raw) // 2)
        odd = raw[len(words) * 2 :]
    else:
        words, odd = raw, b""
    if bits <= 8 and len(words) < count:
        words = np.frombuffer(words.astype("<u2").tobytes() + odd, np.uint8)
    if len(words) < count:
        raise TableError(f"{name} has {len(words)} entries, its descriptor says {count}")
    return words[:count].astype(np.float64)


def _expanded(
    raw: bytes | npt.NDArray[np.uint16], count: int, bits: int, name: str, *, big_endian: bool
) -> Values:
    """Expand a segmented palette (PS3.3 C.7.9.2): discrete, linear and indirect segments."""
    data = raw if isinstance(raw, bytes) else raw.astype(">u2" if big_endian else "<u2").tobytes()
    words = np.frombuffer(data, ">u2" if big_endian else "<u2", len(data) // 2)
    size = 2
    if bits <= 8:
        words, size = np.frombuffer(words.astype("<u2").tobytes(), np.uint8), 1
    entries: list[float] = []
    try:
        _expand(words.tolist(), entries, count, size)
    except IndexError as error:
        raise TableError(f"{name} is cut off") from error
    if len(entries) < count:
        raise TableError(f"{name} has {len(entries)} entries, its descriptor says {count}")
    return np.array(entries[:count])


def _expand(words: list[int], entries: list[float], count: int, size: int) -> None:
    """Append the entries of all segments, up to `count`."""
    position = 0
    while position + 1 < len(words) and len(entries) < count:
        if words[position] != _INDIRECT:
            position = _segment(words, position, entries)
            continue
        parts = words[position + 2 : position + 2 + 4 // size]
        offset = sum(part << (8 * size * i) for i, part in enumerate(parts)) // size
        if len(parts) < 4 // size or offset >= position:
            raise TableError("a palette refers to a segment that does not exist")
        for _ in range(words[position + 1]):
            offset = _segment(words, offset, entries)
        position += 2 + 4 // size


def _segment(words: list[int], position: int, entries: list[float]) -> int:
    """Append a discrete or linear segment; return the position after it."""
    opcode, length = words[position], words[position + 1]
    if opcode == _DISCRETE:
        found = words[position + 2 : position + 2 + length]
        if len(found) < length:
            raise IndexError
        entries.extend(found)
        return position + 2 + length
    if opcode != _LINEAR or not entries:
        raise TableError("a palette has a segment of an unknown kind")
    end = words[position + 2]
    steps = np.linspace(entries[-1], end, length + 1)[1:]
    entries.extend(np.rint(steps).tolist())
    return position + 3
