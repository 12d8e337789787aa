"""Optimizer steps of dense layers, whose gradients dyᵀ · x are made tile by tile and never stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import launch, nothing
from edge_sdk.kernels.gpu.rules import adam_numbers, rmsprop_numbers, sgd_numbers
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.ops.update import LinearAdamUpdate, LinearRMSPropUpdate, LinearSGDUpdate
from edge_sdk.spec import Array, Spec

TILE, SIDE = 64, 16
DENSE = np.dtype([("rows", "i4"), ("outputs", "i4"), ("inputs", "i4")], align=True)
"""The struct Dense of dense_update.cu."""


def _same_type(op: object, weight: Spec, dy: Spec, x: Spec, rate: Spec, *rest: Spec) -> bool:
    return weight.dtype == dy.dtype == x.dtype == rate.dtype


@kernel(LinearSGDUpdate, "gpu", when=_same_type, binds=True)
def linear_sgd_update(
    op: LinearSGDUpdate, out: tuple[Array, Array], weight: Array, dy: Array, x: Array, *rest: Array
) -> Call:
    return _update("dense_sgd", out, weight, dy, x, *rest, sgd_numbers(op, weight.dtype.name))


@kernel(LinearAdamUpdate, "gpu", when=_same_type, binds=True)
def linear_adam_update(
    op: LinearAdamUpdate, out: tuple[Array, Array, Array], weight: Array, dy: Array, x: Array, *rest: Array
) -> Call:
    return _update("dense_adam", out, weight, dy, x, *rest, adam_numbers(op, weight.dtype.name))


@kernel(LinearRMSPropUpdate, "gpu", when=_same_type, binds=True)
def linear_rmsprop_update(
    op: LinearRMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, dy: Array, x: Array, *rest: Array
) -> Call:
    return _update("dense_rmsprop", out, weight, dy, x, *rest, rmsprop_numbers(op, weight.dtype.name))


def _update(kernel: str, out: tuple[Array, ...], weight: Array, dy: Array, x: Array, *rest: Any) -> Call:
    """The launch of one of the kernels of dense_update.cu, a block for each tile of the weight."""
    if weight.size == 0:
        return nothing()
    outputs, inputs = weight.shape
    grid = (-(-inputs // TILE), -(-outputs // TILE), 1)
    if grid[1] > np.iinfo(np.uint16).max:
        raise GraphError(f"a dense layer on device 'gpu' has at most {65535 * TILE} outputs; this one has {outputs}")
    shape = structure(DENSE, dy.shape[0], outputs, inputs)
    arrays = (*out, weight, dy, x, *rest, shape)
    return launch("dense_update", kernel, grid, (SIDE, SIDE, 1), *arrays, dtype=weight.dtype.name)
