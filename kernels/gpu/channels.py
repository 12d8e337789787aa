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
BLOCKS = 1024
"""What a sum over rows is cut into: a large GPU runs about so many blocks at once, and needs all of them to read at
its full bandwidth."""
LEAST_ROWS = 8
"""Rows that each thread should have."""
MOST_LANES, FEWEST_LANES, MERGING_LANES = 32, 8, 8
"""Threads along the channels: at most a warp; at least what reads 64 bytes in a row; and those that merge parts, of
which many threads should take some each."""
MOST_BLOCKS = 8192
"""Of a grid that writes all rows."""


@dataclass(frozen=True)
class Walk:
    """How the threads of a block share rows of channels."""

    rows: int
    channels: int
    width: int = 1
    """Channels of one thread."""
    most_lanes: int = MOST_LANES

    @property
    def suffix(self) -> str:
        """What ends the names of kernels of this width."""
        return "" if self.width == 1 else f"_{self.width}"

    @property
    def lanes(self) -> int:
        """Threads along the channels: a power of two, that of which the fewest have none, the largest of these."""
        packs = -(-self.channels // self.width)
        lanes = most = min(self.most_lanes, 1 << max(packs - 1, 0).bit_length())
        while most > FEWEST_LANES:
            most //= 2
            if -(-packs // most) * most < -(-packs // lanes) * lanes:
                lanes = most
        return lanes

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
        return self.cut(1)

    def cut(self, given: int) -> int:
        """Return into how many pieces each of the `given` parts of the rows is cut: blocks that fill a GPU."""
        blocks, rows = given * self.tiles, given * self.groups * LEAST_ROWS
        return max(min(-(-BLOCKS // max(blocks, 1)), self.rows // rows), 1)

    @property
    def everywhere(self) -> tuple[int, int, int]:
        """The grid that writes all rows."""
        rows = -(-self.rows // (self.groups * 4))
        return self.tiles, max(min(rows, MOST_BLOCKS // self.tiles, 65535), 1), 1

    @property
    def sizes(self) -> tuple[np.generic, ...]:
        """The last arguments of such a kernel: rows, channels, lanes."""
        return np.int64(self.rows), np.int32(self.channels), np.int32(self.lanes)


def part_count(shape: tuple[int, ...], given: int = 1) -> int:
    """Return into how many parts a sum over all but the last axis is cut, at most, whatever the width of loads.

    Where the sum is of `given` parts already, it is the count of pieces of each.
    """
    return max(_walk(shape, width).cut(given) for width in (1, PACK))


def merging(threads: int, channels: int) -> Walk:
    """Return the walk of a kernel that merges parts channel by channel: few channels a block."""
    return Walk(threads, channels, most_lanes=MERGING_LANES)


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
