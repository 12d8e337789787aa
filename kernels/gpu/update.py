"""Optimizer steps, in place where the plan allows, and norms: many parameters in one launch.

Those of dense layers, whose gradients are not stored, are in dense_update.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.launch import THREADS, address_table, launch, nothing, number, sequence
from edge_sdk.kernels.gpu.loops import map_elements
from edge_sdk.kernels.gpu.rules import adam_numbers, rmsprop_numbers, sgd_numbers
from edge_sdk.ops.update import (
    AdamUpdate,
    ClipByNorm,
    GlobalNorm,
    GroupedAdamUpdate,
    GroupedRMSPropUpdate,
    GroupedSGDUpdate,
    GroupedUpdate,
    RMSPropUpdate,
    SGDUpdate,
)
from edge_sdk.spec import Array, Spec, accumulated

PIECE = 4096
"""Numbers of one parameter that a block goes through."""

Parameter = Sequence[Array]
"""Weight, gradient and states, then the new weight and states."""


def _fits(gradients: Sequence[Spec], *others: Spec) -> bool:
    """Whether gradients are of one type, and all else of the one that is computed with for it."""
    stored = {spec.dtype for spec in gradients}
    return len(stored) == 1 and {spec.dtype for spec in others} == {accumulated(stored.pop())}


def _one_fits(op: object, weight: Spec, gradient: Spec, rate: Spec, *rest: Spec) -> bool:
    return _fits([gradient], weight, rate)


def _all_fit(op: GroupedUpdate, rate: Spec, *rest: Spec) -> bool:
    own = rest[op.members.shared - 1 :]
    return _fits(own[1 :: op.members.inputs], rate, *own[:: op.members.inputs])


@kernel(SGDUpdate, "gpu", when=_one_fits, binds=True)
def sgd_update(
    op: SGDUpdate, out: tuple[Array, Array], weight: Array, gradient: Array, rate: Array, velocity: Array,
    factor: Array | None = None,
) -> Call:  # fmt: skip
    parameter = (weight, gradient, velocity, *out)
    return _update("sgd", [parameter], factor, rate, sgd_numbers(op, weight.dtype.name))


@kernel(AdamUpdate, "gpu", when=_one_fits, binds=True)
def adam_update(
    op: AdamUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, first: Array,
    second: Array, step: Array, factor: Array | None = None,
) -> Call:  # fmt: skip
    parameter = (weight, gradient, first, second, *out)
    return _update("adam", [parameter], factor, rate, step, adam_numbers(op, weight.dtype.name))


@kernel(RMSPropUpdate, "gpu", when=_one_fits, binds=True)
def rmsprop_update(
    op: RMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, square: Array,
    velocity: Array, factor: Array | None = None,
) -> Call:  # fmt: skip
    parameter = (weight, gradient, square, velocity, *out)
    return _update("rmsprop", [parameter], factor, rate, rmsprop_numbers(op, weight.dtype.name))


@kernel(GroupedSGDUpdate, "gpu", when=_all_fit, binds=True)
def grouped_sgd_update(op: GroupedSGDUpdate, out: tuple[Array, ...], rate: Array, *rest: Array) -> Call:
    factor, members = _members(op, out, rate, *rest)
    return _update("sgd", members, factor, rate, sgd_numbers(op, rate.dtype.name))


@kernel(GroupedAdamUpdate, "gpu", when=_all_fit, binds=True)
def grouped_adam_update(op: GroupedAdamUpdate, out: tuple[Array, ...], rate: Array, step: Array, *rest: Array) -> Call:
    factor, members = _members(op, out, rate, step, *rest)
    return _update("adam", members, factor, rate, step, adam_numbers(op, rate.dtype.name))


@kernel(GroupedRMSPropUpdate, "gpu", when=_all_fit, binds=True)
def grouped_rmsprop_update(op: GroupedRMSPropUpdate, out: tuple[Array, ...], rate: Array, *rest: Array) -> Call:
    factor, members = _members(op, out, rate, *rest)
    return _update("rmsprop", members, factor, rate, rmsprop_numbers(op, rate.dtype.name))


def _members(op: GroupedUpdate, out: tuple[Array, ...], *inputs: Array) -> tuple[Array | None, list[Parameter]]:
    """The factor, the last of what is shared, and the parameters."""
    factor = inputs[op.members.shared - 1] if op.factored else None
    return factor, [(*member, *results) for member, results in op.members.each(inputs, out)]


def _update(kernel: str, parameters: Sequence[Parameter], factor: Array | None, rate: Array, *rest: Any) -> Call:
    """The launch of an optimizer's kernel on all parameters, a block for each piece."""
    pieces = pieces_of([parameter[0].size for parameter in parameters])
    if not len(pieces):
        return nothing()
    table = address_table([array for parameter in parameters for array in parameter])
    given = (table, on_device(pieces), rate if factor is None else factor, np.bool_(factor is not None), rate, *rest)
    dtype = parameters[0][1].dtype.name
    return launch("update", kernel, (len(pieces), 1, 1), (THREADS, 1, 1), *given, dtype=dtype)


def pieces_of(sizes: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return which array each piece is of, where it starts there, and how many elements it has."""
    rows = [
        (index, first, min(PIECE, size - first)) for index, size in enumerate(sizes) for first in range(0, size, PIECE)
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def on_device(numbers: np.ndarray[Any, np.dtype[np.int64]]) -> Array:
    """Return whole numbers on the device, in a row."""
    driver = current_driver()
    array = driver.allocate(numbers.nbytes).view(np.int64)
    driver.write(array, numbers.reshape(-1))
    return array


def _parts(op: GlobalNorm, *gradients: Spec) -> tuple[Spec, ...]:
    count = sum(len(pieces_of([spec.elements])) for spec in gradients)
    return (Spec((count,), accumulated(gradients[0].dtype)),)


def _computed_alike(op: GlobalNorm, *gradients: Spec) -> bool:
    return len({accumulated(spec.dtype) for spec in gradients}) == 1


@kernel(GlobalNorm, "gpu", when=_computed_alike, scratch=_parts, binds=True)
def global_norm(op: GlobalNorm, out: Array, *gradients: Array, scratch: tuple[Array]) -> Call:
    """A launch for the gradients of each type, then one that adds their parts up."""
    calls, done = [], 0
    for dtype in dict.fromkeys(gradient.dtype.name for gradient in gradients):
        chosen = [gradient for gradient in gradients if gradient.dtype.name == dtype]
        pieces = pieces_of([gradient.size for gradient in chosen])
        if len(pieces):
            given = (scratch[0][done : done + len(pieces)], address_table(chosen), on_device(pieces))
            calls.append(launch("update", "squares", (len(pieces), 1, 1), (THREADS, 1, 1), *given, dtype=dtype))
        done += len(pieces)
    last = (out, scratch[0], np.int64(done))
    return sequence([*calls, launch("update", "norm_of_parts", (1, 1, 1), (1024, 1, 1), *last, dtype=out.dtype.name)])


def _norm_of_same_type(op: ClipByNorm, gradient: Spec, norm: Spec) -> bool:
    return accumulated(gradient.dtype) == norm.dtype


@kernel(ClipByNorm, "gpu", when=_norm_of_same_type, binds=True)
def clip_by_norm(op: ClipByNorm, out: Array, gradient: Array, norm: Array) -> Call:
    least = float(np.finfo(number(0, gradient.dtype.name).dtype.name).tiny)
    return map_elements("update", "clip_by_norm", out, gradient, norm, p=op.max_norm, q=least)
