"""A reader of HDF5 files as Keras writes them: groups, plain arrays of floats, and attributes of text.

The HDF5 library is written for files that one trusts: a damaged byte can keep it busy without end. This reader follows
"HDF5 File Format Specification Version 3.0" (hdfgroup.org) for what h5py writes by default: superblock versions 0 and
1, object headers of version 1, groups as symbol tables, contiguous or compact arrays. All else is refused by name:
links to other files, soft links, virtual, external, chunked and compressed arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_sdk.errors import FormatError
from edge_sdk.spec import Array

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = (1 << 64) - 1
DEEPEST = 32
LONGEST_NAME = 1024
MOST_MESSAGES = 1 << 12
MOST_AXES = 32
SYMBOL_BYTES = 40

DATASPACE, DATATYPE, LINK_INFO, LINK, EXTERNAL_FILES, LAYOUT = 0x1, 0x3, 0x2, 0x6, 0x7, 0x8
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0xB, 0xC, 0x10, 0x11
FLOAT, FIXED_TEXT, VARIABLE = 1, 3, 9
SOFT_LINK = 2
_IEEE = {2: (15, 10, 5, 0, 10, 15), 4: (31, 23, 8, 0, 23, 127), 8: (63, 52, 11, 0, 52, 1023)}
"""For floats of that many bytes: the places and sizes of sign, exponent and mantissa, and the exponent's bias."""


class _Message(NamedTuple):
    kind: int
    start: int
    end: int


@dataclass(frozen=True)
class Dataset:
    """An array of floats: where its numbers lie."""

    shape: tuple[int, ...]
    dtype: str
    start: int
    end: int

    def read(self, data: memoryview) -> Array:
        """Return the numbers as a read-only view of the file."""
        return np.frombuffer(data[self.start : self.end], self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Item:
    """What a path leads to: an array of floats or None, and the attributes of text of a group."""

    path: str
    dataset: Dataset | None
    attributes: dict[str, str]


def walk(data: memoryview) -> Iterator[Item]:
    """Yield every group and every array of floats in a file, parents first; arrays of other types are passed over.

    Raises:
        FormatError: the file is damaged, or uses what is refused.
    """
    yield from _Reader(data).items()


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._seen: set[int] = set()
        self._names_left = len(data)
        if bytes(data[:8]) != SIGNATURE:
            raise FormatError("not an HDF5 file: its signature is missing")
        version = self._number(8, 1)
        if version not in (0, 1):
            raise FormatError(
                f"an HDF5 superblock of version {version}; wanted 0 or 1, which h5py writes unless told libver='latest'"
            )
        if (self._number(13, 1), self._number(14, 1)) != (8, 8):
            raise FormatError("addresses in the HDF5 file are not of 8 bytes")
        entry = 24 + 4 * version + 32
        if self._number(24 + 4 * version, 8) != 0:
            raise FormatError("the HDF5 file starts behind other data; wanted a file of its own")
        self._root = self._number(entry + 8, 8)

    def items(self) -> Iterator[Item]:
        """The root, and all that it leads to; a stack stands for the depth of paths."""
        pending = [("", self._root, 0)]
        while pending:
            path, address, depth = pending.pop()
            if depth > DEEPEST:
                raise FormatError(f"groups nest deeper than {DEEPEST} (at {path[:80]!r})")
            messages = self._messages(address, path)
            kinds = {message.kind for message in messages}
            if SYMBOL_TABLE in kinds:
                yield Item(path, None, self._attributes(messages))
                table = next(message for message in messages if message.kind == SYMBOL_TABLE)
                children = list(self._children(table, path))
                pending.extend((f"{path}/{name}", child, depth + 1) for name, child in reversed(children))
            elif LINK in kinds or LINK_INFO in kinds:
                raise FormatError(f"group {path[:80]!r} is in the newer form; write it with h5py's default libver")
            elif LAYOUT in kinds:
                dataset = self._dataset(messages, path)
                if dataset is not None:
                    yield Item(path, dataset, {})

    def _number(self, at: int, size: int) -> int:
        if at < 0 or at + size > len(self._data):
            raise FormatError(f"the HDF5 file points to byte {at}, but has {len(self._data)}")
        return int.from_bytes(self._data[at : at + size], "little")

    def _once(self, address: int, what: str) -> None:
        """Everything has one parent: what is met again is a cycle, or would be read without end."""
        if address in self._seen:
            raise FormatError(f"the HDF5 file leads to the same {what} twice (byte {address})")
        self._seen.add(address)

    def _messages(self, address: int, path: str) -> list[_Message]:
        self._once(address, "object")
        if self._number(address, 1) != 1:
            raise FormatError(
                f"object {path[:80]!r} has a header of another version than 1; write it with h5py's defaults"
            )
        found: list[_Message] = []
        blocks = [(address + 16, self._number(address + 8, 4))]
        while blocks:
            at, length = blocks.pop()
            self._number(at, length)
            end = at + length
            while at + 8 <= end:
                kind, size, flags = self._number(at, 2), self._number(at + 2, 2), self._number(at + 4, 1)
                start = at + 8
                at = start + size
                if at > end or len(found) > MOST_MESSAGES:
                    raise FormatError(f"the header of {path[:80]!r} has a message that leaves it, or too many")
                if kind == CONTINUATION:
                    place = self._number(start, 8)
                    self._once(place, "part of a header")
                    blocks.append((place, self._number(start + 8, 8)))
                elif kind:
                    if flags & 2 and kind in (DATASPACE, DATATYPE, LAYOUT):
                        raise FormatError(f"{path[:80]!r} shares its type with others; wanted arrays of their own")
                    found.append(_Message(kind, start, at))
        return found

    def _children(self, table: _Message, path: str) -> Iterator[tuple[str, int]]:
        """The names and headers of a group's members: leaves of a B-tree, names in a heap."""
        tree, heap = self._number(table.start, 8), self._number(table.start + 8, 8)
        self._expect(heap, b"HEAP", path)
        names_size, names = self._number(heap + 8, 8), self._number(heap + 24, 8)
        self._number(names, names_size)
        pending = [tree]
        while pending:
            node = pending.pop()
            self._once(node, "part of a group")
            self._expect(node, b"TREE", path)
            level, used = self._number(node + 5, 1), self._number(node + 6, 2)
            places = [self._number(node + 32 + 16 * i, 8) for i in range(used)]
            if level > 0:
                pending.extend(reversed(places))
                continue
            for leaf in places:
                self._once(leaf, "part of a group")
                self._expect(leaf, b"SNOD", path)
                for i in range(self._number(leaf + 6, 2)):
                    symbol = leaf + 8 + SYMBOL_BYTES * i
                    if self._number(symbol + 16, 4) == SOFT_LINK:
                        raise FormatError(f"group {path[:80]!r} has a soft link; wanted the arrays themselves")
                    yield self._name(names, names_size, self._number(symbol, 8)), self._number(symbol + 8, 8)

    def _name(self, start: int, size: int, offset: int) -> str:
        window = bytes(self._data[start + min(offset, size) : start + min(offset + LONGEST_NAME, size)])
        length = window.find(b"\0")
        self._names_left -= length
        if length < 1 or self._names_left < 0:
            raise FormatError("a name in the HDF5 file is empty, too long, or does not end")
        return window[:length].decode("utf-8", errors="replace")

    def _expect(self, at: int, signature: bytes, path: str) -> None:
        if bytes(self._data[at : at + 4]) != signature:
            raise FormatError(f"group {path[:80]!r} is damaged: {signature.decode()} is missing at byte {at}")

    def _dataset(self, messages: list[_Message], path: str) -> Dataset | None:
        """The place of an array of floats; None for another type."""
        parts = {message.kind: message for message in messages}
        if EXTERNAL_FILES in parts:
            raise FormatError(f"array {path[:80]!r} lies in another file; wanted its numbers in this one")
        if DATASPACE not in parts or DATATYPE not in parts:
            raise FormatError(f"array {path[:80]!r} has no shape or no type")
        dtype = self._float_type(parts[DATATYPE])
        if dtype is None:
            return None
        layout = parts[LAYOUT]
        version, kind = self._number(layout.start, 1), self._number(layout.start + 1, 1)
        if version != 3 or kind not in (0, 1) or FILTERS in parts:
            raise FormatError(
                f"array {path[:80]!r} is chunked, compressed or virtual; wanted plain ones, as Keras writes them"
            )
        shape = self._shape(parts[DATASPACE], path)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if kind == 0:
            start, stored = layout.start + 4, self._number(layout.start + 2, 2)
        else:
            start, stored = self._number(layout.start + 2, 8), self._number(layout.start + 10, 8)
        if stored != size or size == 0 or start == UNDEFINED:
            raise FormatError(
                f"array {path[:80]!r} of shape {list(shape)} needs {size} bytes; the file has {stored} of it"
            )
        self._number(start, size)
        return Dataset(shape, dtype, start, start + size)

    def _shape(self, message: _Message, path: str) -> tuple[int, ...]:
        version, rank = self._number(message.start, 1), self._number(message.start + 1, 1)
        first = message.start + {1: 8, 2: 4}.get(version, 0)
        if version not in (1, 2) or rank > MOST_AXES or first + 8 * rank > message.end:
            raise FormatError(f"array {path[:80]!r} has a shape of unknown form")
        return tuple(self._number(first + 8 * i, 8) for i in range(rank))

    def _float_type(self, message: _Message) -> str | None:
        """NumPy's name of an IEEE float in either byte order."""
        size = self._number(message.start + 4, 4)
        if self._number(message.start, 1) & 0xF != FLOAT or size not in _IEEE or message.end - message.start < 20:
            return None
        at = message.start
        order, sign = self._number(at + 1, 1), self._number(at + 2, 1)
        layout = (sign, *(self._number(at + i, 1) for i in (12, 13, 14, 15)), self._number(at + 16, 4))
        return f"{'>' if order & 1 else '<'}f{size}" if layout == _IEEE[size] else None

    def _attributes(self, messages: list[_Message]) -> dict[str, str]:
        """The attributes that are one piece of text."""
        found = {}
        for message in messages:
            if message.kind == ATTRIBUTE:
                name, value = self._attribute(message)
                if value is not None:
                    found[name] = value
        return found

    def _attribute(self, message: _Message) -> tuple[str, str | None]:
        at = message.start
        version = self._number(at, 1)
        sizes = [self._number(at + 2 + 2 * i, 2) for i in range(3)]
        at += 9 if version == 3 else 8
        places = []
        for size in sizes:
            places.append(at)
            at += -(-size // 8) * 8 if version == 1 else size
        if version not in (1, 2, 3) or at > message.end or sizes[1] < 8 or sizes[2] < 4:
            return "", None
        self._number(message.start, message.end - message.start)
        name = bytes(self._data[places[0] : places[0] + sizes[0]]).rstrip(b"\0").decode("utf-8", errors="replace")
        kind, length = self._number(places[1], 1) & 0xF, self._number(places[1] + 4, 4)
        if self._number(places[2] + 1, 1) != 0:  # several pieces
            return name, None
        if kind == FIXED_TEXT and length <= min(LONGEST_NAME, message.end - at):
            return name, bytes(self._data[at : at + length]).rstrip(b"\0").decode("utf-8", errors="replace")
        if kind == VARIABLE and self._number(places[1] + 1, 1) & 0xF == 1 and message.end - at >= 16:
            return name, self._heap_text(self._number(at, 4), self._number(at + 4, 8), self._number(at + 12, 4))
        return name, None

    def _heap_text(self, length: int, collection: int, index: int) -> str | None:
        """Text in the global heap; longer pieces, such as a model's definition, are not looked at."""
        if length > LONGEST_NAME:
            return None
        if bytes(self._data[collection : collection + 4]) != b"GCOL":
            raise FormatError(f"text of the HDF5 file is damaged: GCOL is missing at byte {collection}")
        at, end = collection + 16, collection + self._number(collection + 8, 8)
        for _ in range(MOST_MESSAGES):
            found, size = self._number(at, 2), self._number(at + 8, 8)
            if found == index:
                if length > size or at + 16 + length > min(end, len(self._data)):
                    break
                return bytes(self._data[at + 16 : at + 16 + length]).decode("utf-8", errors="replace")
            at += 16 + -(-size // 8) * 8
            if found == 0 or at + 16 > end:
                break
        raise FormatError("text of the HDF5 file is not where it should be")
