"""Protocol buffers' wire format: the fields of a message, each checked against the bytes that are there.

Source: "Encoding" (protobuf.dev). A field is a number and one of four kinds of values; groups, long out of use, are
refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from edge_sdk.errors import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10


class Field(NamedTuple):
    """One occurrence of a field."""

    number: int
    kind: int
    value: int
    """That of a VARINT."""
    start: int
    end: int
    """Where the bytes of the other kinds lie."""


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in data[start:end], in order; raises FormatError for what is not one."""
    at = start
    while at < end:
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if number == 0 or number >= 1 << 29:
            raise FormatError(f"a field of number {number} at byte {at}; this is no protocol buffer, or a damaged one")
        if kind == VARINT:
            value, at = _varint(data, at, end)
            yield Field(number, kind, value, at, at)
            continue
        if kind == BYTES:
            length, at = _varint(data, at, end)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise FormatError(f"field {number} at byte {at} is of kind {kind}; wanted 0, 1, 2 or 5")
        if length > end - at:
            raise FormatError(f"field {number} claims {length} bytes at byte {at}; its message has {end - at} left")
        yield Field(number, kind, 0, at, at + length)
        at += length


def integers(data: memoryview, field: Field) -> Iterator[int]:
    """Yield the numbers of a repeated integer: one a field, or many packed into one."""
    if field.kind == VARINT:
        yield field.value
        return
    if field.kind != BYTES:
        raise FormatError(f"field {field.number} at byte {field.start} holds no whole numbers")
    at = field.start
    while at < field.end:
        value, at = _varint(data, at, field.end)
        yield value


def text(data: memoryview, field: Field) -> str:
    """Return a string."""
    if field.kind != BYTES:
        raise FormatError(f"field {field.number} at byte {field.start} is no text")
    return bytes(data[field.start : field.end]).decode("utf-8", errors="replace")


def float32(data: memoryview, field: Field) -> float:
    """Return the number of a FIXED32 field."""
    return float(struct.unpack_from("<f", data, field.start)[0])


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, least first, and where it ends."""
    value = 0
    for place in range(_LONGEST_VARINT):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
    raise FormatError(f"a number at byte {at} does not end")
