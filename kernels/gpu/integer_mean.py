"""Means of stored numbers over axes, and of all pixels."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.integer_rescaling import STORING, factors_on_device, integer_kernel, storing
from edge_sdk.kernels.gpu.launch import THREADS, launch, nothing
from edge_sdk.kernels.gpu.products import countable
from edge_sdk.kernels.gpu.strides import STRIDES, contiguous_strides, strides
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.quantization.arithmetic import Rescaling, mean_of_axes, mean_of_pixels
from edge_sdk.spec import Array

MEAN = np.dtype(
    [
        ("kept", STRIDES), ("reduced", STRIDES), ("results", "i8"), ("elements", "i8"), ("zero", "i4"),
        ("channels", "i4"), ("storing", STORING),
    ],
    align=True,
)  # fmt: skip
"""The struct Mean of integer_mean.cu."""
LANES, ROWS = 32, 8
"""Results and rows of threads of a block."""
WARP, LONG_ROW = 32, 1024
"""Numbers of a result that a block of threads shares; shorter ones are left to a warp each."""


@integer_kernel(GlobalAvgPool, constants=mean_of_pixels)
def global_avg_pool(op: GlobalAvgPool, out: Array, x: Array, *, constants: Rescaling) -> Call:
    return _mean(out, x, {1, 2}, constants)


@integer_kernel(ReduceMean, constants=mean_of_axes)
def reduce_mean(op: ReduceMean, out: Array, x: Array, *, constants: Rescaling) -> Call:
    return _mean(out, x, {axis % x.ndim for axis in op.axes}, constants)


def _mean(out: Array, x: Array, axes: Collection[int], scaling: Rescaling) -> Call:
    """The launch: a block for 32 results where neighbours belong to different ones, else a warp or a block for one."""
    if not out.size:
        return nothing()
    own = contiguous_strides(x.shape)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    walked = [strides([x.shape[axis] for axis in some], [own[axis] for axis in some]) for some in (kept, sorted(axes))]
    elements = math.prod(x.shape[axis] for axis in axes)
    numbers = (out.size, elements, scaling.input_zeros[0], scaling.factors.shape[-1], storing(scaling))
    described = structure(MEAN, *walked, *numbers)
    longer = [axis for axis in range(x.ndim) if x.shape[axis] > 1]
    if not longer or longer[-1] in kept:
        name, blocks, block = "columns", -(-out.size // LANES), (LANES, ROWS, 1)
    elif elements <= LONG_ROW:
        name, blocks, block = "short_rows", -(-out.size // (THREADS // WARP)), (THREADS, 1, 1)
    else:
        name, blocks, block = "rows", out.size, (THREADS, 1, 1)
    values = (out, x, factors_on_device(scaling), described)
    grid = (countable("reduce_mean: blocks", blocks), 1, 1)
    return launch("integer_mean", f"mean_of_{name}", grid, block, *values, dtype=x.dtype.name)
