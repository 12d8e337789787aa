"""Selecting by index."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each, sequence
from edge_sdk.kernels.gpu.moves import WIDE, are_aligned
from edge_sdk.ops.indexing import Gather, GatherGrad, OneHot
from edge_sdk.spec import Array, Spec


@kernel(Gather, "gpu", binds=True)
def gather(op: Gather, out: Array, x: Array, indices: Array) -> Call:
    rows, rest = x.shape[op.axis], math.prod(x.shape[op.axis + 1 :])
    lanes, index = WIDE // x.dtype.itemsize, indices.dtype.name
    name = f"gather_wide_{index}"
    if rest % lanes or not are_aligned(out, x):
        name, lanes = f"gather_{index}", 1
    sizes = (np.int64(indices.size), np.int64(rows), np.int64(rest // lanes))
    return for_each("indexing", name, out.size // lanes, out, x, indices, *sizes, dtype=x.dtype.name)


def _chains(op: GatherGrad, dy: Spec, indices: Spec, like: Spec) -> tuple[Spec, Spec]:
    return Spec((indices.elements,), "int32"), Spec((indices.elements,), "int32")


@kernel(GatherGrad, "gpu", binds=True, scratch=_chains)
def gather_grad(
    op: GatherGrad, out: Array, dy: Array, indices: Array, like: Array, *, scratch: tuple[Array, Array]
) -> Call:
    rows, rest = out.shape[op.axis], math.prod(out.shape[op.axis + 1 :])
    sizes = (np.int64(indices.size), np.int64(rows), np.int64(rest))
    index, dtype, last = indices.dtype.name, dy.dtype.name, (indices, *scratch, *sizes)
    return sequence(
        [
            for_each("indexing", "clear", out.size, out, dtype=dtype),
            for_each("indexing", f"chain_{index}", indices.size, *scratch, indices, np.int32(rows), dtype=dtype),
            for_each("indexing", f"sum_chains_{index}", dy.size, out, dy, *last, dtype=dtype),
        ]
    )


@kernel(OneHot, "gpu", binds=True)
def one_hot(op: OneHot, out: Array, indices: Array) -> Call:
    return for_each("indexing", f"one_hot_{indices.dtype.name}", out.size, out, indices, np.int32(op.depth))
