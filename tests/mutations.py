"""Damaged files for the tests of readers: `mutated(data, seed)` is the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable

# What a lying length or count likes to say: nothing, one off, the limits of signed and unsigned integers, and far more
# than any file holds.
LIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63)
WIDTHS = (1, 2, 4, 8)
LONGEST_BLOCK = 256


def mutated(data: bytes, seed: int) -> bytes:
    """Return `data`, which is not empty, with one to three damages of one kind, chosen by `seed`."""
    chance = random.Random(seed)
    mutate = MUTATIONS[seed % len(MUTATIONS)]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = mutate(data, chance) or b"\0"
    return data


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    """One to eight bits of one byte."""
    result = bytearray(data)
    result[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    return bytes(result)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """The file's beginning."""
    return data[: chance.randrange(len(data))]


def lie(data: bytes, chance: random.Random) -> bytes:
    """An integer of 1 to 8 bytes somewhere, in either byte order: one of the lies, or near what it was."""
    width = chance.choice(WIDTHS)
    order = "little" if chance.random() < 0.75 else "big"
    at = chance.randrange(max(len(data) - width, 0) + 1)
    was = int.from_bytes(data[at : at + width], order)
    said = chance.choice((*LIES, was + 1, was - 1, was * 2, was + chance.randrange(1 << 16)))
    return data[:at] + (said % (1 << 8 * width)).to_bytes(width, order) + data[at + width :]


def duplicate_block(data: bytes, chance: random.Random) -> bytes:
    """A block stands twice, or many times: lists grow and nesting deepens."""
    start, end = _block(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 1000 // (end - start) + 1)) + data[end:]


def remove_block(data: bytes, chance: random.Random) -> bytes:
    """A block is missing: all that follows has moved."""
    start, end = _block(data, chance)
    return data[:start] + data[end:]


def copy_block(data: bytes, chance: random.Random) -> bytes:
    """A block is overwritten with another one of the same file."""
    start, end = _block(data, chance)
    at = chance.randrange(len(data) - (end - start) + 1)
    return data[:at] + data[start:end] + data[at + end - start :]


def overwrite(data: bytes, chance: random.Random) -> bytes:
    """A block is noise, zeros or ones."""
    start, end = _block(data, chance)
    noise = chance.choice((chance.randbytes(end - start), b"\0" * (end - start), b"\xff" * (end - start)))
    return data[:start] + noise + data[end:]


def _block(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + chance.randrange(1, LONGEST_BLOCK + 1))


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bits,
    truncate,
    lie,
    flip_bits,
    duplicate_block,
    lie,
    remove_block,
    copy_block,
    overwrite,
)
