"""Flatbuffer tables read with every offset checked: a truncated or hostile file gives a FormatError, never a crash."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_sdk.errors import FormatError
from edge_sdk.spec import Array

MAX_TABLES = 1_000_000
"""Tables read from one file. Many references to one table could otherwise keep a reader busy for ever."""

_FORMATS = {"bool": "<?", "int8": "<b", "uint8": "<B", "int32": "<i", "uint32": "<I", "float32": "<f", "uint64": "<Q"}


@dataclass
class Source:
    """The bytes of a flatbuffer and what messages call them."""

    data: memoryview
    name: str
    tables: int = field(default=0)

    def unpack(self, kind: str, position: int) -> Any:
        """Return the number of a type at a position."""
        try:
            if position < 0:
                raise self.error(f"an offset points before its start ({position})")
            return struct.unpack_from(_FORMATS[kind], self.data, position)[0]
        except struct.error:
            raise self.error(f"byte {position:,} is wanted, the data ends at {len(self.data):,}") from None

    def error(self, problem: str) -> FormatError:
        """Return the error for a problem with these bytes."""
        return FormatError(f"{self.name}: truncated or corrupt: {problem}")


@dataclass(frozen=True)
class Table:
    """A table at a position. Fields are named by their slot; a field left out reads as None or the default."""

    source: Source
    position: int

    @classmethod
    def root(cls, data: bytes | memoryview, identifier: bytes, name: str) -> Table:
        """Open the root table; raises FormatError unless the four-letter identifier is there."""
        source = Source(memoryview(data), name)
        if len(data) < 8 or bytes(source.data[4:8]) != identifier:
            wanted = identifier.decode()
            raise FormatError(
                f"{name}: not a {wanted} file; bytes 4 to 8 are {bytes(source.data[4:8])!r}, wanted {wanted!r}"
            )
        return cls._at(source, source.unpack("uint32", 0))

    @classmethod
    def _at(cls, source: Source, position: int) -> Table:
        source.tables += 1
        if source.tables > MAX_TABLES:
            raise source.error(f"more than {MAX_TABLES:,} tables")
        table = cls(source, position)
        start, size = table._vtable()
        if size < 4 or size % 2 or start + size > len(source.data):
            raise source.error(f"the table at byte {position:,} has a layout of {size} bytes")
        inline, *fields = struct.unpack_from(f"<{size // 2 - 1}H", source.data, start + 2)
        if position + inline > len(source.data) or any(field and not 4 <= field < inline for field in fields):
            raise source.error(f"the table at byte {position:,} has fields outside its {inline} bytes")
        return table

    def number(self, slot: int, kind: str, default: float = 0) -> Any:
        """Return a number or flag."""
        position = self._field(slot)
        return default if position is None else self.source.unpack(kind, position)

    def table(self, slot: int) -> Table | None:
        """Return a child table."""
        target = self._target(slot)
        return None if target is None else self._at(self.source, target)

    def tables(self, slot: int) -> list[Table]:
        """Return a vector of tables; empty when left out."""
        return [self._at(self.source, position) for position in self._elements(slot)]

    def string(self, slot: int) -> str | None:
        """Return a string."""
        data = self.bytes(slot)
        if data is None:
            return None
        try:
            return bytes(data).decode()
        except UnicodeDecodeError as error:
            raise self.source.error(f"a text is not UTF-8 ({error})") from None

    def bytes(self, slot: int) -> memoryview | None:
        """Return a vector of bytes, as a view."""
        start, count = self._vector(slot, 1)
        return None if start is None else self.source.data[start : start + count]

    def numbers(self, slot: int, dtype: str) -> Array | None:
        """Return a vector of numbers, as a view."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self._vector(slot, kind.itemsize)
        return None if start is None else np.frombuffer(self.source.data, kind, count, start)

    def _elements(self, slot: int) -> list[int]:
        start, count = self._vector(slot, 4)
        if start is None:
            return []
        if count > MAX_TABLES:
            raise self.source.error(f"a list of {count:,} tables")
        places = range(start, start + 4 * count, 4)
        return [place + self.source.unpack("uint32", place) for place in places]

    def _vector(self, slot: int, item_bytes: int) -> tuple[int | None, int]:
        start = self._target(slot)
        if start is None:
            return None, 0
        count = self.source.unpack("uint32", start)
        if start + 4 + count * item_bytes > len(self.source.data):
            raise self.source.error(
                f"{count:,} elements at byte {start:,} reach past the end at {len(self.source.data):,}"
            )
        return start + 4, count

    def _target(self, slot: int) -> int | None:
        position = self._field(slot)
        return None if position is None else position + int(self.source.unpack("uint32", position))

    def _field(self, slot: int) -> int | None:
        start, size = self._vtable()
        place = 4 + 2 * slot
        if place + 2 > size:
            return None
        offset = struct.unpack_from("<H", self.source.data, start + place)[0]
        return self.position + offset if offset else None

    def _vtable(self) -> tuple[int, int]:
        start = self.position - int(self.source.unpack("int32", self.position))
        size = int(self.source.unpack("uint32", start)) & 0xFFFF
        return start, size
