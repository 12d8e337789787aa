"""Grids of kernels that walk over rows of channels (channels.cuh), chosen by shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.spec import Array, Spec

THREADS = 256
PACK = 4
"""Channels that one thread reads at once where they are multiples of so many."""
BLOCKS, MOST_PARTS = 512, 128
"""What a sum over rows is cut into: blocks enough for any GPU, parts few enough to be added quickly."""
LEAST_ROWS = 8
"""Rows that each thread should have."""
MOST_BLOCKS = 8192
"""Of a grid that writes all rows."""


@dataclass(frozen=True)
class Walk:
    """How the threads of a block share rows of channels."""

    rows: int
    channels: int
    width: int = 1
    """Channels of one thread."""

    @property
    def suffix(self) -> str:
        """What ends the names of kernels of this width."""
        return "" if self.width == 1 else f"_{self.width}"

    @property
    def lanes(self) -> int:
        """Threads along the channels: a power of two, at most a warp."""
        packs = -(-self.channels // self.width)
        return min(32, 1 << max(packs - 1, 0).bit_length())

    @property
    def groups(self) -> int:
        """Rows that a block reads at the same time."""
        return THREADS // self.lanes

    @property
    def tiles(self) -> int:
        """Blocks along the channels."""
        return -(-self.channels // (self.lanes * self.width))

    @property
    def parts(self) -> int:
        """Blocks along the rows, where each makes a sum of its own."""
        wanted = min(MOST_PARTS, -(-BLOCKS // self.tiles), self.rows // (self.groups * LEAST_ROWS))
        return max(wanted, 1)

    @property
    def everywhere(self) -> tuple[int, int, int]:
        """The grid that writes all rows."""
        rows = -(-self.rows // (self.groups * 4))
        return self.tiles, max(min(rows, MOST_BLOCKS // self.tiles, 65535), 1), 1

    @property
    def sizes(self) -> tuple[np.generic, ...]:
        """The last arguments of such a kernel: rows, channels, lanes."""
        return np.int64(self.rows), np.int32(self.channels), np.int32(self.lanes)


def part_count(shape: tuple[int, ...]) -> int:
    """Return into how many parts a sum over all but the last axis is cut, whatever the width of loads."""
    return max(_walk(shape, width).parts for width in (1, PACK))


def walk(*arrays: Array) -> Walk:
    """Return the walk over arrays of one shape (…, c): by packs where channels and addresses allow it."""
    x, driver = arrays[0], current_driver()
    wide = x.shape[-1] % PACK == 0 and all(driver.address(a) % (PACK * a.dtype.itemsize) == 0 for a in arrays)
    return _walk(x.shape, PACK if wide else 1)


def computed(x: Spec) -> str:
    """Return the dtype of scratch that holds sums of x."""
    return "float64" if x.dtype == "float64" else "float32"


def _walk(shape: tuple[int, ...], width: int) -> Walk:
    return Walk(math.prod(shape[:-1]), shape[-1], width)
