"""In which order of axes the engine holds an ONNX tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_sdk.spec import BATCH, Array

Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Old axes and the new axes that hold the same elements."""


@dataclass(frozen=True)
class Layout:
    """Axis i of what is held is the ONNX tensor's axis `order[i]`.

    `inner` is for matrices (n, k) that are flattened images: k counts channels, rows, columns in ONNX, whose sizes
    `inner` gives, and is held as rows, columns, channels, so that flattening moves nothing.
    """

    order: tuple[int, ...]
    inner: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.order)

    @property
    def plain(self) -> bool:
        """Whether the tensor is held as ONNX orders it."""
        return self.order == tuple(range(self.rank)) and not self.inner

    @property
    def inverse(self) -> tuple[int, ...]:
        """Where each ONNX axis is held."""
        return tuple(self.order.index(axis) for axis in range(self.rank))

    def held_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which a tensor of ONNX shape `shape` is held."""
        return tuple(shape[axis] for axis in self.order)

    def onnx_shape(self, held: tuple[int, ...]) -> tuple[int, ...]:
        """The ONNX shape of what is held."""
        return tuple(held[place] for place in self.inverse)

    def hold(self, array: Array) -> Array:
        """Order an ONNX array, whose axes may have size 1 to be broadcast, as this layout holds it."""
        if self.inner and array.shape[1] > 1:
            images = array.reshape(array.shape[0], *self.inner)
            return np.moveaxis(images, 1, -1).reshape(array.shape)
        return array.transpose(self.order)

    def release(self, held: Array) -> Array:
        """The inverse of `hold`."""
        if self.inner and held.shape[1] > 1:
            images = held.reshape(held.shape[0], *self.inner[1:], self.inner[0])
            return np.moveaxis(images, -1, 1).reshape(held.shape)
        return held.transpose(self.inverse)


def plain(rank: int) -> Layout:
    """ONNX's own order."""
    return Layout(tuple(range(rank)))


def channels_last(rank: int) -> Layout:
    """(n, c, d…) held as (n, d…, c)."""
    return Layout((0, *range(2, rank), 1)) if rank > 2 else plain(rank)


def common_groups(old: tuple[int, ...], new: tuple[int, ...]) -> list[Group] | None:
    """Cut both shapes into the shortest runs with equally many elements; None where there is no such cut."""
    groups: list[Group] = []
    if 0 in old or 0 in new:
        return None
    i = j = 0
    while i < len(old) and j < len(new):
        left, right = [i], [j]
        many, wanted = old[i], new[j]
        i, j = i + 1, j + 1
        if BATCH in (many, wanted) and many != wanted:
            return None
        while many != wanted:
            if many < wanted:
                if i == len(old):
                    return None
                many, left, i = many * old[i], [*left, i], i + 1
            else:
                if j == len(new):
                    return None
                wanted, right, j = wanted * new[j], [*right, j], j + 1
        groups.append((tuple(left), tuple(right)))
    if not groups:
        return None
    # Axes of size 1 at the end belong to the last group.
    last_old, last_new = groups[-1]
    if any(size != 1 for size in (*old[i:], *new[j:])):
        return None
    groups[-1] = (*last_old, *range(i, len(old))), (*last_new, *range(j, len(new)))
    return groups
