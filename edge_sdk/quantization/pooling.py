"""Means of windows of stored numbers, as the operators of an exported file take them, by profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D
from edge_sdk.quantization.arithmetic import Rescaling, Specs, limits_of, mean_rescaling, multiplication, tensor_quant
from edge_sdk.quantization.profile import Profile
from edge_sdk.spec import Array, QuantParams, Spec


@dataclass(frozen=True)
class Windows:
    """Which pixels the cells of an average pool see, and by how many each divides.

    Attributes:
        rows: First and last row (exclusive) inside the image, (p, 2).
        columns: The same of columns, (q, 2).
        row_counts: How many rows of each window are counted (p); what is not inside is zero.
        column_counts: The same of columns (q).
        zero: The zero point.
        factors: Stored numbers (p, q) by which the stored means are multiplied, where a file has to do that.
        rescaling: What that product is stored by.
        dtype: The type of the means, int8 or int16.
    """

    rows: Array
    columns: Array
    row_counts: Array
    column_counts: Array
    zero: int
    factors: Array | None = None
    rescaling: Rescaling | None = None
    dtype: str = "int8"

    def store(self, x: Array) -> Array:
        """Return the means of stored numbers (n, h, w, c)."""
        total = np.stack([x[:, first:last].sum(axis=1, dtype=np.int64) for first, last in self.rows], axis=1)
        total = np.stack([total[:, :, first:last].sum(axis=2) for first, last in self.columns], axis=2)
        counts = np.outer(self.row_counts, self.column_counts)[:, :, np.newaxis]
        inside = np.outer(*(np.maximum(axis[:, 1] - axis[:, 0], 0) for axis in (self.rows, self.columns)))
        total = total + (counts - inside[:, :, np.newaxis]) * self.zero
        mean = np.sign(total) * ((np.abs(total) + counts // 2) // counts)  # halves away from zero
        if self.factors is None or self.rescaling is None:
            return np.asarray(mean, self.dtype)
        return self.rescaling.store((mean - self.zero) * self.factors[:, :, np.newaxis].astype(np.int64))


def windows(op: AvgPool2D, inputs: Specs, outputs: Specs, profile: Profile) -> Windows:
    """Return the windows of an average pool.

    A file's AVERAGE_POOL_2D divides by the pixels inside the image under SAME, and by all of a window else. Where the
    operator divides by something else, a product by a factor for each window follows.
    """
    x, y = inputs[0], outputs[0]
    size, cells = (x.shape[1], x.shape[2]), (y.shape[1], y.shape[2])
    pads = resolve_padding(op.padding, size, op.kernel, op.stride, (1, 1))
    same = resolve_padding("same", size, op.kernel, op.stride, (1, 1))
    rows, columns = (_inside(op, axis, size[axis], pads[axis][0], cells[axis]) for axis in (0, 1))
    row_counts, column_counts = (
        _counted(op, axis, size[axis], pads[axis], inside) for axis, inside in enumerate((rows, columns))
    )
    zero = tensor_quant(x)[1]
    counts, whole = np.outer(row_counts, column_counts), op.kernel[0] * op.kernel[1]
    inside = np.outer(*(np.maximum(axis[:, 1] - axis[:, 0], 1) for axis in (rows, columns)))
    is_same = cells == tuple(-(-extent // stride) for extent, stride in zip(size, op.stride, strict=True)) and all(
        ours[0] == theirs[0] for ours, theirs in zip(pads, same, strict=True)
    )
    if (counts == whole).all() or (is_same and np.array_equal(counts, inside)):
        return Windows(rows, columns, row_counts, column_counts, zero, dtype=y.dtype)
    real = whole / counts
    scale = float(np.float32(real.max() / limits_of(y)[1]))
    factor = Spec((), y.dtype, QuantParams((scale,), (0,)))
    return Windows(
        rows, columns, np.full(cells[0], op.kernel[0]), np.full(cells[1], op.kernel[1]), zero,
        np.rint(real / scale).astype(y.numpy_dtype), multiplication(op, (x, factor), outputs, profile), y.dtype,
    )  # fmt: skip


def _inside(op: AvgPool2D, axis: int, extent: int, before: int, count: int) -> Array:
    start = np.arange(count) * op.stride[axis] - before
    return np.stack([np.clip(start, 0, extent), np.clip(start + op.kernel[axis], 0, extent)], axis=1)


def _counted(op: AvgPool2D, axis: int, extent: int, pads: tuple[int, int], inside: Array) -> Array:
    start = np.arange(len(inside)) * op.stride[axis] - pads[0]
    with_padding = np.minimum(start + op.kernel[axis], extent + pads[1]) - start
    return np.maximum(with_padding if op.count_padding else inside[:, 1] - inside[:, 0], 1)


def cells(op: AdaptiveAvgPool2D, inputs: Specs, outputs: Specs, profile: Profile) -> Windows | tuple[Rescaling, ...]:
    """Return the windows of an adaptive pool whose cells are all alike.

    Else a file takes the means of bands of rows, then of columns: return the rescalings to both, with factors
    (…, bands).
    """
    x, y = inputs[0], outputs[0]
    if all(extent % count == 0 for extent, count in zip(x.shape[1:3], op.size, strict=True)):
        rows, columns = (grid(extent, count) for extent, count in zip(x.shape[1:3], op.size, strict=True))
        return Windows(rows, columns, rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0], 0, dtype=y.dtype)
    return tuple(
        _side_by_side([mean_rescaling(int(last - first), x, y, profile) for first, last in grid(extent, count)])
        for extent, count in zip(x.shape[1:3], op.size, strict=True)
    )


def grid(extent: int, count: int) -> Array:
    """Return first and last pixel (exclusive) of an axis's cells."""
    return np.array([(i * extent // count, -(-(i + 1) * extent // count)) for i in range(count)])


def _side_by_side(bands: Sequence[Rescaling]) -> Rescaling:
    factors = np.concatenate([band.factors[:, :1] for band in bands], axis=-1)
    return replace(bands[0], factors=np.ascontiguousarray(factors))
