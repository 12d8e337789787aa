"""A part of a file as a stream that takes memory for what the file holds, and not for what the file claims."""

from __future__ import annotations

import struct
from typing import BinaryIO

from edge_sdk.converters.tensor_file import Run
from edge_sdk.errors import FormatError

MAX_LINE_BYTES = 1 << 20


class BoundedReader:
    """The bytes of a file from `start` to `end`, as a stream of pickles, numbers and storages."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file = file
        self._end = end
        file.seek(start)

    def read(self, count: int, /) -> bytes:
        """Read at most `count` bytes."""
        return self._file.read(max(0, min(count, self._end - self.tell())))

    def readline(self) -> bytes:
        """Read up to a newline, at most a megabyte."""
        return self._file.readline(max(0, min(MAX_LINE_BYTES, self._end - self.tell())))

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def integers(self, count: int, what: str) -> tuple[int, ...]:
        """Read little-endian integers of 8 bytes.

        Raises:
            FormatError: the stream ends before.
        """
        data = self.read(8 * count)
        if len(data) != 8 * count:
            raise FormatError(f"the file ends before {what}")
        return struct.unpack(f"<{count}q", data)

    def skip_run(self, elements: int, dtype: str, what: str) -> Run:
        """Return where `elements` values lie that begin here, and go on behind them."""
        start = self.tell()
        run = Run(start, elements, dtype)
        if not 0 <= run.bytes <= self._end - start:
            raise FormatError(f"{what} needs {run.bytes} bytes; the file has {self._end - start} left")
        self._file.seek(start + run.bytes)
        return run
