"""Feature rows that are computed once and kept: a memory-mapped file that knows which of its rows are done.

Layout: a header of `HEADER_BYTES`, which the reader does not parse but compares with the one it would write itself; a
checksum of 8 bytes for each block of rows, zero while the block is not done; a byte for each row, 1 where its photo
could be read; padding to a multiple of 64; the rows.

Nobody needs a lock. A file appears whole, with no block done, in one rename. From then on a block's bytes are a
function of the key, so that two processes that fill the same file write the same bytes, and a block counts only while
its checksum fits: one that was torn by a kill or a lost page is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge_sdk.atomic import atomic_write
from edge_sdk.cache_folder import cache_folder
from edge_sdk.errors import UsageError

FORMAT_VERSION = 1
HEADER_BYTES = 192
SUFFIX = ".features"
KEPT_BYTES = 4 << 30
"""How much the cache folder may hold; the files that were not used for longest make room."""


@dataclass(frozen=True)
class Layout:
    """`rows` of `row_bytes` each, written `block` rows at a time."""

    rows: int
    row_bytes: int
    block: int

    def __post_init__(self) -> None:
        if min(self.rows, self.row_bytes, self.block) < 1 or self.rows % self.block:
            raise UsageError(f"features: {self} makes no sense; rows are a multiple of the block, and none is 0")

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.rows // self.block

    @property
    def table_bytes(self) -> int:
        """Bytes before the rows."""
        return -(-(HEADER_BYTES + 8 * self.blocks + self.rows) // 64) * 64

    @property
    def bytes(self) -> int:
        """Bytes of the whole file."""
        return self.table_bytes + self.rows * self.row_bytes


def features_folder() -> Path:
    """Where features are kept: `features` in $EDGE_CACHE, or in the user's cache folder."""
    return cache_folder("features")


@dataclass
class _Medium:
    """Bytes that are read through a map, and written through the file below it, which says when the disk is full."""

    place: str
    map: NDArray[np.uint8]
    file: IO[bytes] | None

    def write(self, place: int, data: bytes) -> None:
        if self.file is None:
            self.map[place : place + len(data)] = np.frombuffer(data, np.uint8)
            return
        self.file.seek(place)
        if self.file.write(data) != len(data):
            raise OSError(None, "no space left")


class FeatureStore:
    """The rows of one key, in the first of these that works: the folder's file, a temporary file, memory.

    `remark` is empty, or says that a damaged file was replaced or why the folder's file is not used.
    """

    def __init__(self, folder: Path, key: str, layout: Layout) -> None:
        self.layout = layout
        self.remark = ""
        self._key = bytes.fromhex(key)
        self._done = np.zeros(layout.blocks, bool)
        self._others: list[Callable[[], _Medium]] = [self._temporary, self._memory]
        try:
            self._medium = self._kept(folder / f"{key}{SUFFIX}")
        except OSError as error:
            self._medium = self._next_medium(f"{folder} cannot be used ({error.strerror or error})")
        for block in range(layout.blocks):
            self._done[block] = self._verified(block)

    @property
    def rows(self) -> NDArray[np.uint8]:
        """All rows, uint8 (rows, row_bytes); those of blocks that are not done hold anything."""
        return self._medium.map[self.layout.table_bytes :].reshape(self.layout.rows, self.layout.row_bytes)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Of each row, whether its photo could be read (rows,)."""
        start = HEADER_BYTES + 8 * self.layout.blocks
        return np.asarray(self._medium.map[start : start + self.layout.rows] == 1)

    @property
    def place(self) -> str:
        """Where the rows are, for a message."""
        return self._medium.place

    def done(self, block: int) -> bool:
        """Tell whether a block is there; its checksum was verified when the store was opened."""
        return bool(self._done[block])

    def put(self, block: int, rows: NDArray[np.uint8], readable: NDArray[np.bool_]) -> None:
        """Keep the rows of a block, uint8 (block, row_bytes), and which of them are of a readable photo (block,)."""
        data, flags = np.ascontiguousarray(rows).tobytes(), readable.astype(np.uint8).tobytes()
        try:
            self._write(self._medium, block, data, flags)
        except OSError as error:
            before = self._medium
            self._medium = self._next_medium(f"{before.place} cannot be written ({error.strerror or error})", before)
            self._write(self._medium, block, data, flags)
        self._done[block] = True

    def block(self, block: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return copies of what `put` was given: the rows, and 1 for each that is of a readable photo."""
        rows = slice(block * self.layout.block, (block + 1) * self.layout.block)
        return self.rows[rows].copy(), self.readable[rows].astype(np.uint8)

    def look_again(self) -> None:
        """Take note of blocks that other processes have finished in this file since it was opened."""
        for block in np.flatnonzero(~self._done).tolist():
            self._done[block] = self._verified(block)

    def forget(self, block: int) -> None:
        """Take a block as not done."""
        self._done[block] = False

    def sync(self) -> None:
        """Bring what was written to the disk."""
        if self._medium.file is not None:
            with contextlib.suppress(OSError):  # the checksums tell what has arrived
                os.fsync(self._medium.file.fileno())

    def _kept(self, path: Path) -> _Medium:
        """The folder's file, made or made anew if it is missing or not of this key and layout."""
        if path.exists():
            found = self._mapped(path)
            if found is not None:
                return found
            self.remark = f"{path.name} was damaged, and is built anew"
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, self.layout.bytes)
        free = shutil.disk_usage(path.parent).free
        if free < self.layout.bytes:
            raise OSError(None, f"{self.layout.bytes / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")
        with atomic_write(path) as file:
            file.write(self._header())
            file.truncate(self.layout.bytes)
        made = self._mapped(path)
        if made is None:
            raise OSError(None, f"{path.name} is not what was written")
        return made

    def _mapped(self, path: Path) -> _Medium | None:
        if not path.is_file():
            return None
        file = path.open("r+b", buffering=0)
        try:
            if os.fstat(file.fileno()).st_size != self.layout.bytes or file.read(HEADER_BYTES) != self._header():
                file.close()
                return None
            with contextlib.suppress(OSError):
                os.utime(path)  # the folder's files are kept in the order of their use
            return self._map(file, str(path.parent))
        except BaseException:
            file.close()
            raise

    def _temporary(self) -> _Medium:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the store
        try:
            file.truncate(self.layout.bytes)
            return self._map(file, "a temporary file")
        except BaseException:
            file.close()
            raise

    def _memory(self) -> _Medium:
        return _Medium("memory", np.zeros(self.layout.bytes, np.uint8), None)

    def _map(self, file: IO[bytes], place: str) -> _Medium:
        medium = _Medium(place, np.memmap(file, np.uint8, mode="r", shape=(self.layout.bytes,)), file)
        weakref.finalize(medium, file.close)
        return medium

    def _next_medium(self, reason: str, before: _Medium | None = None) -> _Medium:
        """Return the next best medium that takes the blocks that are done."""
        while True:
            try:
                medium = self._others.pop(0)()
                if before is not None:
                    self._copy(before, medium)
            except OSError:
                if not self._others:
                    raise
                continue
            self.remark = f"{reason}; the features are kept in {medium.place}, for this run only"
            return medium

    def _copy(self, before: _Medium, medium: _Medium) -> None:
        """Write the blocks that are done into another medium."""
        size = self.layout.block
        for block in np.flatnonzero(self._done).tolist():
            _, flags, rows = self._places(block)
            data = before.map[rows : rows + size * self.layout.row_bytes].tobytes()
            self._write(medium, block, data, before.map[flags : flags + size].tobytes())

    def _header(self) -> bytes:
        layout = self.layout
        text = f"edge-sdk features {FORMAT_VERSION} {self._key.hex()} {layout.rows} {layout.row_bytes} {layout.block}\n"
        return text.encode().ljust(HEADER_BYTES, b"\0")

    def _places(self, block: int) -> tuple[int, int, int]:
        """Where a block's checksum, its row flags and its rows start."""
        first = block * self.layout.block
        flags = HEADER_BYTES + 8 * self.layout.blocks + first
        return HEADER_BYTES + 8 * block, flags, self.layout.table_bytes + first * self.layout.row_bytes

    def _verified(self, block: int) -> bool:
        checksum, flags, rows = self._places(block)
        kept = self._medium.map[checksum : checksum + 8].tobytes()
        if kept == bytes(8):
            return False
        data = self._medium.map[rows : rows + self.layout.block * self.layout.row_bytes]
        return kept == self._checksum(block, data.data, self._medium.map[flags : flags + self.layout.block].tobytes())

    def _checksum(self, block: int, data: bytes | memoryview, flags: bytes) -> bytes:
        hashed = hashlib.blake2b(digest_size=8, key=self._key, salt=block.to_bytes(8, "little"))
        hashed.update(flags)
        hashed.update(data)
        return hashed.digest()

    def _write(self, medium: _Medium, block: int, data: bytes, flags: bytes) -> None:
        checksum_place, flags_place, rows_place = self._places(block)
        medium.write(rows_place, data)
        medium.write(flags_place, flags)
        # Last, so that whoever opens the file after a kill in between finds the block not done.
        medium.write(checksum_place, self._checksum(block, data, flags))


def _make_room(folder: Path, size: int) -> None:
    """Remove the files of the folder that were not used for longest until another of `size` bytes may be added."""
    kept: list[tuple[float, int, Path]] = []
    for path in folder.glob(f"*{SUFFIX}*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            kept.append((status.st_mtime, status.st_size, path))
    total = sum(entry[1] for entry in kept)
    for _, length, path in sorted(kept):
        if total + size <= KEPT_BYTES:
            return
        with contextlib.suppress(OSError):  # another process was faster, or Windows keeps an open file
            path.unlink()
            total -= length
