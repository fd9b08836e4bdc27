"""Mutations of bytes without knowledge of the format."""

from collections.abc import Callable
from random import Random
from typing import Final

Change = Callable[[Random, bytes], bytes]

#: Bytes that start, end or escape something in some format.
_SHARP: Final = (0x00, 0x01, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0xD8, 0xD9, 0xDA)

#: Numbers at which decoders overflow or change behaviour.
NUMBERS: Final = (
    *(0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257),
    *(1000, 4095, 4096, 16383, 32767, 32768, 40000, 65534, 65535, 65536, 1 << 20, 1 << 24),
    *(0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF),
)


def number(rng: Random, size: int) -> bytes:
    """Encode one of :data:`NUMBERS` or any other number as `size` bytes in either byte order."""
    value = rng.choice(NUMBERS) if rng.random() < 0.8 else rng.getrandbits(8 * size)
    value &= (1 << 8 * size) - 1
    return value.to_bytes(size, rng.choice(("little", "big")))


def flip(rng: Random, data: bytes) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def poke(rng: Random, data: bytes) -> bytes:
    """Set a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        sharp = rng.random() < 0.6
        changed[rng.randrange(len(changed))] = rng.choice(_SHARP) if sharp else rng.randrange(256)
    return bytes(changed)


def renumber(rng: Random, data: bytes) -> bytes:
    """Set a number of one to eight bytes at any position."""
    value = number(rng, rng.choice((1, 2, 2, 4, 4, 8)))
    start = rng.randrange(len(data))
    return (data[:start] + value + data[start + len(value) :])[: len(data)]


def cut(rng: Random, data: bytes) -> bytes:
    """Remove the end or, rarely, the beginning."""
    if rng.random() < 0.1:
        return data[rng.randrange(len(data)) :]
    return data[: rng.randrange(len(data))]


def drop(rng: Random, data: bytes) -> bytes:
    """Remove a block."""
    start, end = _block(rng, data)
    return data[:start] + data[end:]


def double(rng: Random, data: bytes) -> bytes:
    """Repeat a block once, or a short one up to a hundred times."""
    start, end = _block(rng, data)
    times = rng.choice((1, 1, 2, 100)) if end - start < 300 else 1
    return data[:end] + data[start:end] * times + data[end:]


def insert(rng: Random, data: bytes) -> bytes:
    """Insert noise or zeros."""
    start = rng.randrange(len(data) + 1)
    length = rng.choice((1, 2, 3, 4, 16, 256))
    noise = rng.randbytes(length) if rng.random() < 0.7 else bytes(length)
    return data[:start] + noise + data[start:]


def swap(rng: Random, data: bytes) -> bytes:
    """Swap two blocks."""
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def wipe(rng: Random, data: bytes) -> bytes:
    """Overwrite a block with one byte or with noise."""
    start, end = _block(rng, data)
    length = end - start
    fill = bytes([rng.choice(_SHARP)]) * length if rng.random() < 0.7 else rng.randbytes(length)
    return data[:start] + fill + data[end:]


def splice(rng: Random, data: bytes, other: bytes) -> bytes:
    """Join the beginning of one file and the end of another."""
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _block(rng: Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data))
    length = min(int(2 ** rng.uniform(0, 11)), len(data) - start)
    return start, start + length


#: Mutations of bits and bytes are more frequent than those of blocks.
BLUNT: Final[tuple[Change, ...]] = (
    *(flip, flip, flip, poke, poke, renumber, renumber),
    *(cut, drop, double, insert, swap, wipe),
)
