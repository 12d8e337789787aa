"""Tables, vectors and strings of a flatbuffer, typed; a thin layer over flatbuffers.Builder.

Source: https://flatbuffers.dev/internals. A flatbuffer is written from its end: children first, then what refers to
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NewType

import flatbuffers
import numpy as np

from edge_sdk.errors import ExportError
from edge_sdk.spec import Array

Offset = NewType("Offset", int)
"""Where a finished child lies, counted from the end of the file."""

MAX_BYTES = 2**31 - 1
"""A flatbuffer's offsets are 32-bit and signed in places."""


class TableWriter:
    """Collects the parts of one flatbuffer. `expected_bytes` avoids copying while it grows."""

    def __init__(self, expected_bytes: int = 1024) -> None:
        if expected_bytes > MAX_BYTES:
            raise ExportError(
                f"the file would have {expected_bytes:,} bytes, but a flatbuffer holds at most {MAX_BYTES:,}; "
                "quantize the weights or take a smaller network"
            )
        self._builder: Any = flatbuffers.Builder(expected_bytes)

    def string(self, text: str) -> Offset:
        """Add a string."""
        return Offset(self._builder.CreateString(text))

    def numbers(self, values: Sequence[float] | Array, dtype: str) -> Offset:
        """Add a vector of numbers."""
        return Offset(self._builder.CreateNumpyVector(np.asarray(values, dtype)))

    def offsets(self, children: Sequence[Offset]) -> Offset:
        """Add a vector of tables or strings."""
        self._builder.StartVector(4, len(children), 4)
        for child in reversed(children):
            self._builder.PrependUOffsetTRelative(child)
        return Offset(self._builder.EndVector())

    def aligned_bytes(self, data: memoryview, alignment: int) -> Offset:
        """Add a vector of bytes whose first byte is aligned (`force_align` of the schema)."""
        builder = self._builder
        builder.StartVector(1, len(data), alignment)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        builder.vectorNumElems = len(data)
        return Offset(builder.EndVector())

    def table(self, *fields: tuple[int, str, Any] | tuple[int, str, Any, Any]) -> Offset:
        """Add a table of fields (slot, type, value[, default]).

        A value equal to the default (0 when not given) is left out, and so is an offset that is None. Types are
        "offset", "bool", "float32" and the whole numbers "int8" to "uint32".
        """
        builder = self._builder
        builder.StartObject(max((field[0] for field in fields), default=-1) + 1)
        for index, kind, value, *default in fields:
            if kind == "offset":
                if value is not None:
                    builder.PrependUOffsetTRelativeSlot(index, value, 0)
            else:
                getattr(builder, f"Prepend{kind.capitalize()}Slot")(index, value, *(default or (0,)))
        return Offset(builder.EndObject())

    def finish(self, root: Offset, identifier: bytes) -> bytes:
        """Return the file with its root table and its four-letter identifier."""
        self._builder.Finish(root, identifier)
        return bytes(self._builder.Output())
