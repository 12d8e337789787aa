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
from edge_sdk.spec import Array, Spec

PIECE = 4096
"""Numbers of one parameter that a block goes through."""

Parameter = Sequence[Array]
"""Weight, gradient and states, then the new weight and states."""


def _same_type(op: object, weight: Spec, gradient: Spec, rate: Spec, *rest: Spec) -> bool:
    return rate.dtype == weight.dtype


def _grouped_same_type(op: GroupedUpdate, rate: Spec, *rest: Spec) -> bool:
    return all(spec.dtype == rate.dtype for spec in rest[op.members.shared - 1 :])


@kernel(SGDUpdate, "gpu", when=_same_type, binds=True)
def sgd_update(
    op: SGDUpdate, out: tuple[Array, Array], weight: Array, gradient: Array, rate: Array, velocity: Array
) -> Call:
    return _update("sgd", [(weight, gradient, velocity, *out)], rate, sgd_numbers(op, weight.dtype.name))


@kernel(AdamUpdate, "gpu", when=_same_type, binds=True)
def adam_update(
    op: AdamUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, first: Array,
    second: Array, step: Array,
) -> Call:  # fmt: skip
    parameter = (weight, gradient, first, second, *out)
    return _update("adam", [parameter], rate, step, adam_numbers(op, weight.dtype.name))


@kernel(RMSPropUpdate, "gpu", when=_same_type, binds=True)
def rmsprop_update(
    op: RMSPropUpdate, out: tuple[Array, Array, Array], weight: Array, gradient: Array, rate: Array, square: Array,
    velocity: Array,
) -> Call:  # fmt: skip
    parameter = (weight, gradient, square, velocity, *out)
    return _update("rmsprop", [parameter], rate, rmsprop_numbers(op, weight.dtype.name))


@kernel(GroupedSGDUpdate, "gpu", when=_grouped_same_type, binds=True)
def grouped_sgd_update(op: GroupedSGDUpdate, out: tuple[Array, ...], rate: Array, *parameters: Array) -> Call:
    return _update("sgd", _members(op, out, rate, *parameters), rate, sgd_numbers(op, rate.dtype.name))


@kernel(GroupedAdamUpdate, "gpu", when=_grouped_same_type, binds=True)
def grouped_adam_update(
    op: GroupedAdamUpdate, out: tuple[Array, ...], rate: Array, step: Array, *parameters: Array
) -> Call:
    members = _members(op, out, rate, step, *parameters)
    return _update("adam", members, rate, step, adam_numbers(op, rate.dtype.name))


@kernel(GroupedRMSPropUpdate, "gpu", when=_grouped_same_type, binds=True)
def grouped_rmsprop_update(op: GroupedRMSPropUpdate, out: tuple[Array, ...], rate: Array, *parameters: Array) -> Call:
    return _update("rmsprop", _members(op, out, rate, *parameters), rate, rmsprop_numbers(op, rate.dtype.name))


def _members(op: GroupedUpdate, out: tuple[Array, ...], *inputs: Array) -> list[Parameter]:
    return [(*member, *results) for member, results in op.members.each(inputs, out)]


def _update(kernel: str, parameters: Sequence[Parameter], rate: Array, *rest: Any) -> Call:
    """The launch of an optimizer's kernel on all parameters, a block for each piece."""
    pieces = _pieces([parameter[0].size for parameter in parameters])
    if not len(pieces):
        return nothing()
    table = address_table([array for parameter in parameters for array in parameter])
    given = (table, _on_device(pieces), rate, *rest)
    return launch("update", kernel, (len(pieces), 1, 1), (THREADS, 1, 1), *given, dtype=rate.dtype.name)


def _pieces(sizes: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return which array each piece is of, where it starts there, and how many elements it has."""
    rows = [
        (index, first, min(PIECE, size - first)) for index, size in enumerate(sizes) for first in range(0, size, PIECE)
    ]
    return np.array(rows, np.int64).reshape(-1, 3)


def _on_device(numbers: np.ndarray[Any, np.dtype[np.int64]]) -> Array:
    driver = current_driver()
    array = driver.allocate(numbers.nbytes).view(np.int64)
    driver.write(array, numbers.reshape(-1))
    return array


def _parts(op: GlobalNorm, *gradients: Spec) -> tuple[Spec, ...]:
    count = len(_pieces([spec.elements for spec in gradients]))
    return (Spec((count,), number(0, gradients[0].dtype).dtype.name),)


def _one_type(op: GlobalNorm, *gradients: Spec) -> bool:
    return len({spec.dtype for spec in gradients}) == 1


@kernel(GlobalNorm, "gpu", when=_one_type, scratch=_parts, binds=True)
def global_norm(op: GlobalNorm, out: Array, *gradients: Array, scratch: tuple[Array]) -> Call:
    dtype, parts = out.dtype.name, scratch[0]
    pieces = _pieces([gradient.size for gradient in gradients])
    last = launch("update", "norm_of_parts", (1, 1, 1), (1024, 1, 1), out, parts, np.int64(len(pieces)), dtype=dtype)
    if not len(pieces):
        return last
    given = (parts, address_table(gradients), _on_device(pieces))
    return sequence((launch("update", "squares", (len(pieces), 1, 1), (THREADS, 1, 1), *given, dtype=dtype), last))


def _norm_of_same_type(op: ClipByNorm, gradient: Spec, norm: Spec) -> bool:
    return gradient.dtype == norm.dtype


@kernel(ClipByNorm, "gpu", when=_norm_of_same_type, binds=True)
def clip_by_norm(op: ClipByNorm, out: Array, gradient: Array, norm: Array) -> Call:
    least = float(np.finfo(number(0, gradient.dtype.name).dtype.name).tiny)
    return map_elements("update", "clip_by_norm", out, gradient, norm, p=op.max_norm, q=least)
