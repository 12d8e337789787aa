"""Dynamic loss scaling: what gradients are multiplied by, the next scale, and results that are taken or left."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import THREADS, address_table, launch, nothing, number
from edge_sdk.kernels.gpu.update import on_device, pieces_of
from edge_sdk.ops.loss_scaling import LARGEST_SCALE, LEAST_SCALE, AcceptUpdates, GradientFactor, LossScaleUpdate
from edge_sdk.spec import Array, Spec

ONE = (1, 1, 1)


@kernel(GradientFactor, "gpu", binds=True)
def gradient_factor(op: GradientFactor, out: Array, norm: Array, scale: Array | None = None) -> Call:
    dtype = norm.dtype.name
    given = (norm, norm if scale is None else scale, np.bool_(scale is not None), np.bool_(op.max_norm is not None))
    numbers = (number(op.max_norm or 0, dtype), number(float(np.finfo(np.float32).tiny), dtype))
    return launch("loss_scaling", "gradient_factor", ONE, ONE, out, *given, *numbers, dtype=dtype)


@kernel(LossScaleUpdate, "gpu", binds=True)
def loss_scale_update(
    op: LossScaleUpdate, out: tuple[Array, Array], norm: Array, scale: Array, good_steps: Array
) -> Call:
    dtype = norm.dtype.name
    changes = (number(op.growth, dtype), number(op.backoff, dtype), np.int64(op.interval))
    borders = (number(LEAST_SCALE, dtype), number(LARGEST_SCALE, dtype))
    given = (*out, norm, scale, good_steps, *changes, *borders)
    return launch("loss_scaling", "loss_scale_update", ONE, ONE, *given, dtype=dtype)


def _one_type(op: AcceptUpdates, factor: Spec, *pairs: Spec) -> bool:
    return factor.dtype == "float32" and len({spec.dtype for spec in pairs}) == 1


@kernel(AcceptUpdates, "gpu", when=_one_type, binds=True)
def accept_updates(op: AcceptUpdates, out: Array | tuple[Array, ...], factor: Array, *pairs: Array) -> Call:
    results = out if isinstance(out, tuple) else (out,)
    pieces = pieces_of([result.size for result in results])
    if not len(pieces):
        return nothing()
    rows = zip(results, pairs[::2], pairs[1::2], strict=True)
    given = (address_table([array for row in rows for array in row]), on_device(pieces), factor)
    grid, block = (len(pieces), 1, 1), (THREADS, 1, 1)
    return launch("loss_scaling", "taken_or_left", grid, block, *given, dtype=results[0].dtype.name)
