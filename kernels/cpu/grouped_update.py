"""Optimizer steps of many parameters in one parallel loop: for small ones its start costs more than the step itself.

The arrays are reached by a table of addresses, made when a Session binds them. Parameters are cut into pieces and the
pieces dealt to tasks by their sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.cpu.addresses import floats_at
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.kernels.cpu.update import BLOCK, adam_numbers, is_skipped, rmsprop_numbers, sgd_numbers, update_some
from edge_sdk.ops.update import GroupedAdamUpdate, GroupedRMSPropUpdate, GroupedSGDUpdate, GroupedUpdate
from edge_sdk.spec import Array, Spec

ROW = 8
"""Numbers of one piece: the addresses of weight, gradient, two states, their new values, and how many there are."""


class Pieces(NamedTuple):
    """Where the pieces lie, ROW numbers each, and which pieces belong to which task."""

    table: Array
    starts: Array


@parallel_jit
def _update_pieces(rule, n, pieces, starts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for task in prange(starts.size - 1):
        for piece in range(starts[task], starts[task + 1]):
            row, count = pieces[piece], pieces[piece, 7]
            w, g = floats_at(row[0], count), floats_at(row[1], count)
            s, t = floats_at(row[2], count), floats_at(row[3], count)
            new_w, new_s, new_t = floats_at(row[4], count), floats_at(row[5], count), floats_at(row[6], count)
            update_some(rule, n, w, g, 0, s, t, new_w, new_s, new_t, 0, count)


def _pieces(op: GroupedUpdate, out: tuple[Array, ...], *inputs: Array) -> Pieces:
    """Cut every parameter into pieces of at most BLOCK weights, and deal pieces of at least as many to a task."""
    rows, starts, dealt = [], [0], 0
    for (weight, gradient, *states), (new_weight, *new_states) in op.members.each(inputs, out):
        # The only state of some optimizers stands for both.
        arrays = (weight, gradient, states[0], states[-1], new_weight, new_states[0], new_states[-1])
        places = [array.ctypes.data for array in arrays]
        for first in range(0, weight.size, BLOCK):
            count = min(BLOCK, weight.size - first)
            rows.append([*(place + 4 * first for place in places), count])
            dealt += count
            if dealt >= BLOCK:
                starts.append(len(rows))
                dealt = 0
    if dealt:
        starts.append(len(rows))
    return Pieces(np.array(rows, np.int64).reshape(-1, ROW), np.array(starts, np.int64))


def _call(numbers: Callable[..., tuple[Any, ...]], op: GroupedUpdate, out: tuple[Array, ...], *inputs: Array) -> Call:
    """The call that updates all of them, or none: `numbers` reads what has changed since the last run."""
    shared = inputs[: op.members.shared]
    factor, changing = (shared[-1], shared[:-1]) if op.factored else (None, shared)
    old = [array for member, _ in op.members.each(inputs, out) for array in (member[0], *member[2:])]
    return Call(_update, (_pieces(op, out, *inputs), numbers, op, factor, out, old, changing))


def _update(
    pieces: Pieces, numbers: Callable[..., tuple[Any, ...]], op: GroupedUpdate, factor: Array | None,
    out: tuple[Array, ...], old: Sequence[Array], changing: tuple[Array, ...],
) -> None:  # fmt: skip
    if is_skipped(factor, out, old):
        return
    _update_pieces(*numbers(op, *changing, factor=1 if factor is None else float(factor)), *pieces)


def _is_float32(op: GroupedUpdate, *inputs: Spec) -> bool:
    """Whether addresses may be taken for those of float32."""
    return all(spec.dtype == "float32" for spec in inputs[op.members.shared :])


@kernel(GroupedSGDUpdate, "cpu", when=_is_float32, binds=True)
def grouped_sgd_update(op: GroupedSGDUpdate, out: tuple[Array, ...], *inputs: Array) -> Call:
    return _call(sgd_numbers, op, out, *inputs)


@kernel(GroupedAdamUpdate, "cpu", when=_is_float32, binds=True)
def grouped_adam_update(op: GroupedAdamUpdate, out: tuple[Array, ...], *inputs: Array) -> Call:
    return _call(adam_numbers, op, out, *inputs)


@kernel(GroupedRMSPropUpdate, "cpu", when=_is_float32, binds=True)
def grouped_rmsprop_update(op: GroupedRMSPropUpdate, out: tuple[Array, ...], *inputs: Array) -> Call:
    return _call(rmsprop_numbers, op, out, *inputs)
