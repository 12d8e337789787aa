"""Reductions over axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.column_sums import column_scratch, column_sums, sums_columns
from edge_sdk.kernels.gpu.launch import for_each, launch, nothing, number, sequence
from edge_sdk.kernels.gpu.strides import broadcast_strides, contiguous_strides, strides
from edge_sdk.ops.reduce import BroadcastLike, MeanScaleGrad, ReduceMax, ReduceMaxGrad, ReduceMean, ReduceSum
from edge_sdk.spec import Array, Spec, spec_of

THREADS = 256
WARP = 32
BLOCKS, MOST_PARTS = 512, 128
"""What a reduction is cut into: blocks enough for any GPU, parts few enough to be combined quickly."""
LEAST = 8
"""Elements that each thread should have."""


@dataclass(frozen=True)
class Reduction:
    """A reduction of an array of this shape over axes, as reduce.cu cuts it."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def results(self) -> int:
        """How many results there are."""
        return math.prod(size for axis, size in enumerate(self.shape) if axis not in self.axes)

    @property
    def elements(self) -> int:
        """How many elements make one."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def reduced_last(self) -> bool:
        """Whether the elements of one result, not the results, are neighbours in memory."""
        longer = [axis for axis, size in enumerate(self.shape) if size > 1]
        return bool(longer) and longer[-1] in self.axes

    @property
    def lanes(self) -> int:
        """Results of a block, a power of two."""
        if self.reduced_last:
            contiguous = min(WARP, _power_of_two(self.elements))
            return THREADS // min(THREADS, max(contiguous, _power_of_two(self.elements // LEAST)))
        fewest = THREADS // min(THREADS // WARP, _power_of_two(self.elements))
        return min(fewest, _power_of_two(self.results))

    @property
    def tiles(self) -> int:
        """Blocks along the results."""
        return -(-self.results // self.lanes)

    @property
    def parts(self) -> int:
        """Blocks along the elements."""
        shared = self.elements // (THREADS // self.lanes * LEAST)
        return max(min(MOST_PARTS, -(-BLOCKS // max(self.tiles, 1)), shared), 1)

    def launch(self, kernel: str, dtype: str, *arrays: Array, divisor: tuple[Any, ...], parts: int) -> Call:
        """Return the launch of a kernel that writes `parts` numbers for each result."""
        own = contiguous_strides(self.shape)
        kept = [axis for axis in range(len(self.shape)) if axis not in self.axes]
        walked = [
            strides([self.shape[axis] for axis in axes], [own[axis] for axis in axes])
            for axes in (kept, sorted(self.axes))
        ]
        sizes = np.int64(self.results), np.int64(self.elements), np.int32(self.lanes), np.bool_(self.reduced_last)
        grid = (self.tiles, parts, 1)
        return launch("reduce", kernel, grid, (THREADS, 1, 1), *arrays, *walked, *sizes, *divisor, dtype=dtype)


def _power_of_two(least: int) -> int:
    """The smallest power of two that is not below `least`."""
    return 1 << max(least - 1, 0).bit_length()


def reduction_scratch(x: Spec, axes: tuple[int, ...]) -> Spec:
    """Return the scratch that `reduce_over` takes: parts (part, result), none where one launch does it."""
    cut = Reduction(x.shape, axes)
    computed: str = number(0, x.dtype).dtype.name
    return Spec((cut.parts if cut.parts > 1 else 0, cut.results), computed)


def reduce_over(kernel: str, out: Array, x: Array, axes: tuple[int, ...], parts: Array, divisor: float = 1) -> Call:
    """Return the launches that reduce x over axes by `reduce_sum` or `reduce_max` of reduce.cu, then divide."""
    cut, dtype = Reduction(tuple(x.shape), axes), x.dtype.name
    if not cut.results:
        return nothing()
    last = (number(divisor, dtype),)
    if cut.parts == 1:
        return cut.launch(kernel, dtype, out, x, divisor=last, parts=1)
    whole, combined = (number(1, dtype),), Reduction((cut.parts, cut.results), (0,))
    return sequence(
        (
            cut.launch(f"{kernel}_to_parts", dtype, parts, x, divisor=whole, parts=cut.parts),
            combined.launch(f"{kernel}_of_parts", dtype, out, parts, divisor=last, parts=1),
        )
    )


def _scratch(op: ReduceSum | ReduceMean | ReduceMax, x: Spec) -> tuple[Spec, ...]:
    return (reduction_scratch(x, op.axes),)


def _sum_scratch(op: ReduceSum, x: Spec) -> tuple[Spec, ...]:
    return (column_scratch(x),) if sums_columns(x, op.axes) else _scratch(op, x)


@kernel(ReduceSum, "gpu", scratch=_sum_scratch, binds=True)
def reduce_sum(op: ReduceSum, out: Array, x: Array, *, scratch: tuple[Array, ...]) -> Call:
    if sums_columns(spec_of(x), op.axes):
        return column_sums(out, x, scratch[0])
    return reduce_over("reduce_sum", out, x, op.axes, scratch[0])


@kernel(ReduceMean, "gpu", scratch=_scratch, binds=True)
def reduce_mean(op: ReduceMean, out: Array, x: Array, *, scratch: tuple[Array, ...]) -> Call:
    count = math.prod(x.shape[axis] for axis in op.axes)
    return reduce_over("reduce_sum", out, x, op.axes, scratch[0], divisor=count)


@kernel(ReduceMax, "gpu", scratch=_scratch, binds=True)
def reduce_max(op: ReduceMax, out: Array, x: Array, *, scratch: tuple[Array, ...]) -> Call:
    return reduce_over("reduce_max", out, x, op.axes, scratch[0])


@kernel(MeanScaleGrad, "gpu", binds=True)
def mean_scale_grad(op: MeanScaleGrad, out: Array, dy: Array, like: Array) -> Call:
    count = number(math.prod(like.shape[axis] for axis in op.axes), dy.dtype.name)
    return for_each("reduce", "divide", dy.size, out, dy, count, dtype=dy.dtype.name)


def _counts(op: ReduceMaxGrad, dy: Spec, x: Spec, y: Spec) -> tuple[Spec, ...]:
    """How many elements share each result, and parts of these counts."""
    parts = reduction_scratch(x, op.axes)
    return Spec((Reduction(x.shape, op.axes).results,), parts.dtype), parts


@kernel(ReduceMaxGrad, "gpu", scratch=_counts, binds=True)
def reduce_max_grad(
    op: ReduceMaxGrad, out: Array, dy: Array, x: Array, y: Array, *, scratch: tuple[Array, ...]
) -> Call:
    if not x.size:
        return nothing()
    cut, dtype = Reduction(tuple(x.shape), op.axes), x.dtype.name
    counts, parts = scratch
    whole = (number(1, dtype),)
    counted = parts if cut.parts > 1 else counts
    calls = [cut.launch("count_largest", dtype, counted, x, y, divisor=(), parts=cut.parts)]
    if cut.parts > 1:
        combined = Reduction((cut.parts, cut.results), (0,))
        calls.append(combined.launch("add_parts", dtype, counts, parts, divisor=whole, parts=1))
    kept = tuple(1 if axis in op.axes else size for axis, size in enumerate(x.shape))
    walked = strides(x.shape, broadcast_strides(kept, x.shape))
    calls.append(for_each("reduce", "share_among_largest", x.size, out, dy, x, y, counts, walked, dtype=dtype))
    return sequence(calls)


@kernel(BroadcastLike, "gpu", binds=True)
def broadcast_like(op: BroadcastLike, out: Array, x: Array, like: Array) -> Call:
    walked = strides(out.shape, broadcast_strides(x.shape, out.shape))
    return for_each("reduce", "broadcast", out.size, out, x, walked, dtype=x.dtype.name)
