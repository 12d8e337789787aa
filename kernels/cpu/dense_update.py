"""Updates of dense layers: weight and state are read and written once, and the gradient dyᵀ · x is never stored.

Both factors are packed in panels as for a weight gradient (weight_gradient.py). GRADIENT_ROWS rows of the gradient are
made at a time, for as many columns as stay in the first-level cache, and the optimizer's rule is applied to them there.
"""

from __future__ import annotations

import math

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.jit import parallel_jit, prange, thread_id, threads
from edge_sdk.kernels.cpu.patches import Window, line_size, pack_patches, whole_rows
from edge_sdk.kernels.cpu.simd import LANES
from edge_sdk.kernels.cpu.update import Numbers, adam_numbers, rmsprop_numbers, sgd_numbers, update_some
from edge_sdk.kernels.cpu.weight_gradient import GRADIENT_ROWS, add_gradient_tile
from edge_sdk.ops.update import LinearAdamUpdate, LinearRMSPropUpdate, LinearSGDUpdate
from edge_sdk.spec import Array, Spec

BLOCK = 16  # panels of the gradient that are made before they are used: even, for a tile is two vectors wide
SHARE = 64 << 10  # numbers of x that one task packs, for the second-level cache


@parallel_jit
def _update_dense(
    rule: int, numbers: Array, w: Array, dy: Array, of_dy: tuple[int, ...], x: Array, of_x: tuple[int, ...], s: Array,
    t: Array, new_w: Array, new_s: Array, new_t: Array, tasks: int, scratch: Array,
) -> None:  # fmt: skip
    slopes_window, window = Window(*of_dy), Window(*of_x)
    rows, outputs, depth = window.out_width, slopes_window.depth, window.depth
    pairs, output_panels = (depth + 2 * LANES - 1) // (2 * LANES), (outputs + LANES - 1) // LANES
    panel = rows * LANES
    for task in prange(tasks):
        mine = scratch[thread_id()]
        begin, end = pairs * task // tasks * 2, pairs * (task + 1) // tasks * 2
        end = min(end, (depth + LANES - 1) // LANES)
        slopes = GRADIENT_ROWS * BLOCK * LANES
        values = slopes + output_panels * panel
        line = values + (end - begin) * panel
        pack_patches(dy, slopes_window, 0, rows, 0, output_panels, mine[slopes:], panel, line - slopes)
        pack_patches(x, window, 0, rows, begin, end, mine[values:], panel, line - values)
        for k in range(0, outputs, GRADIENT_ROWS):
            slope = slopes + k // LANES * panel + k % LANES
            for first in range(begin, end, BLOCK):
                last = min(first + BLOCK, end)
                for p in range(first, last, 2):
                    left = values + (p - begin) * panel
                    right = left + panel if p + 1 < end else left
                    to = (p - first) * LANES
                    add_gradient_tile(
                        mine,
                        slope,
                        mine,
                        left,
                        right,
                        rows,
                        mine,
                        to,
                        BLOCK * LANES,
                        GRADIENT_ROWS,
                        2 * LANES,
                        fresh=True,
                    )
                count = min(last * LANES, depth) - first * LANES
                for m in range(min(GRADIENT_ROWS, outputs - k)):
                    at = (k + m) * depth + first * LANES
                    update_some(rule, numbers, w, mine, m * BLOCK * LANES, s, t, new_w, new_s, new_t, at, count)


def _tasks(rows: int, depth: int) -> int:
    """Strips of the depth, short enough for a cache and enough of them for all threads."""
    pairs = math.ceil(depth / (2 * LANES))
    return max(1, min(pairs, max(4 * threads(), math.ceil(rows * depth / SHARE))))


def _scratch(
    op: LinearSGDUpdate | LinearAdamUpdate | LinearRMSPropUpdate, weight: Spec, dy: Spec, x: Spec, *rest: Spec
) -> tuple[Spec, ...]:
    (rows, outputs), depth = dy.shape, x.shape[1]
    strip = 2 * math.ceil(math.ceil(depth / (2 * LANES)) / _tasks(rows, depth))
    lines = max(line_size(whole_rows(rows, outputs)), line_size(whole_rows(rows, depth)))
    own = GRADIENT_ROWS * BLOCK * LANES + (math.ceil(outputs / LANES) + strip) * rows * LANES + lines
    return (Spec((threads(), math.ceil(own / LANES) * LANES)),)


def _apply(
    numbers: Numbers, out: tuple[Array, ...], weight: Array, dy: Array, x: Array, state: tuple[Array, ...],
    scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    (rows, outputs), depth = dy.shape, x.shape[1]
    if not weight.size:
        return
    s, t = (state[index].reshape(-1) for index in (0, -1))
    w, new_w, new_s, new_t = (array.reshape(-1) for array in (weight, out[0], out[1], out[-1]))
    _update_dense(
        *numbers, w, dy.reshape(-1), tuple(whole_rows(rows, outputs)), x.reshape(-1), tuple(whole_rows(rows, depth)),
        s, t, new_w, new_s, new_t, _tasks(rows, depth), *scratch,
    )  # fmt: skip


@kernel(LinearSGDUpdate, "cpu", algorithm="gradient and update by tiles", scratch=_scratch)
def linear_sgd_update(
    op: LinearSGDUpdate, out: tuple[Array, Array], weight: Array, dy: Array, x: Array, rate: Array, velocity: Array, *,
    scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    _apply(sgd_numbers(op, rate), out, weight, dy, x, (velocity,), scratch)


@kernel(LinearAdamUpdate, "cpu", algorithm="gradient and update by tiles", scratch=_scratch)
def linear_adam_update(
    op: LinearAdamUpdate, out: tuple[Array, Array, Array], weight: Array, dy: Array, x: Array, rate: Array,
    first: Array, second: Array, step: Array, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    _apply(adam_numbers(op, rate, step), out, weight, dy, x, (first, second), scratch)


@kernel(LinearRMSPropUpdate, "cpu", algorithm="gradient and update by tiles", scratch=_scratch)
def linear_rmsprop_update(
    op: LinearRMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, dy: Array, x: Array, rate: Array,
    square: Array, velocity: Array, *, scratch: tuple[Array, ...],
) -> None:  # fmt: skip
    _apply(rmsprop_numbers(op, rate), out, weight, dy, x, (square, velocity), scratch)
