"""Input gradients of convolutions with what is added to them: any of the kernels that make the gradient, then a sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_sdk.kernel import Call, Kernel, Packing, kernel, registered_kernels
from edge_sdk.kernels.cpu import bfloat16_conv, conv_gradients
from edge_sdk.kernels.cpu.elementwise import add
from edge_sdk.ops.conv import Conv2DGradInput, Conv2DGradInputAdded
from edge_sdk.ops.elementwise import Add
from edge_sdk.spec import Array, Spec

__all__ = ["bfloat16_conv", "conv_gradients"]


def _of_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a kernel of conv2d_grad_input asks its operator for, asked of the gradient in one with a sum."""

    def ask(op: Conv2DGradInputAdded, dy: Spec, w: Spec, other: Spec) -> Any:
        return function(op.gradient, dy, w)

    return ask


def _packing_of(packing: Packing | None) -> Packing | None:
    if packing is None:
        return None

    def pack(op: Conv2DGradInputAdded, packed: tuple[Array, ...], inputs: tuple[Spec, ...], array: Array) -> None:
        packing.pack(op.gradient, packed, inputs[:2], array)

    return Packing(packing.input, _of_gradient(packing.specs), pack)


def _cost_of(plain: Callable[..., float]) -> Callable[..., float]:
    """Which kernel is the fastest does not depend on the sum, which is the same behind each."""

    def cost(op: Conv2DGradInputAdded, once: bool, dy: Spec, w: Spec, other: Spec) -> float:
        return plain(op.gradient, once, dy, w)

    return cost


def _add_sum(candidate: Kernel) -> None:
    """Declare a kernel of conv2d_grad_input, followed by a sum in place."""

    @kernel(
        Conv2DGradInputAdded,
        "cpu",
        algorithm=f"{candidate.algorithm}, then a sum",
        approximate=candidate.approximate,
        when=candidate.when and _of_gradient(candidate.when),
        scratch=candidate.scratch and _of_gradient(candidate.scratch),
        packing=_packing_of(candidate.packing),
        cost=candidate.cost and _cost_of(candidate.cost),
        binds=True,
    )
    def conv2d_grad_input_then_sum(
        op: Conv2DGradInputAdded, out: Array, dy: Array, w: Array, other: Array, **keywords: tuple[Array, ...]
    ) -> Call:
        return Call(_compute_and_add, (candidate.bind(op.gradient, out, (dy, w), keywords), out, other))


def _compute_and_add(gradient: Call, out: Array, other: Array) -> None:
    gradient()
    add(Add(), out, out, other)


for _candidate in registered_kernels(Conv2DGradInput, "cpu"):
    _add_sum(_candidate)
