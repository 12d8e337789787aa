"""3×3 convolutions and their input gradients as a Session takes them where precision comes before speed."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu import winograd_precise as winograd
from edge_sdk.kernels.cpu.conv_geometry import transposed_layer, winograd_applies, winograd_layer
from edge_sdk.kernels.cpu.fused_activation import LIMITS
from edge_sdk.kernels.cpu.winograd import Layer
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput
from edge_sdk.spec import Array, Spec


def _applies(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> bool:
    return winograd_applies(op, (w.shape[1], w.shape[2]), x.shape[3], w.shape[0])


def _layer(op: Conv2D, x: Spec, w: Spec) -> Layer:
    return winograd_layer(op, x.shape, op.infer_outputs((x, w))[0].shape)


def _scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return winograd.convolve_scratch(_layer(op, x, w))


def _form(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return winograd.transformed_weights(w.shape[0], w.shape[3]), winograd.weight_scratch()


def _transform(op: Conv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    winograd.transform_weights(w.reshape(-1), w.shape[0], w.shape[3], *packed)


def _cost(op: Conv2D, once: bool, x: Spec, w: Spec, *_: Spec) -> float:
    return winograd.cost(_layer(op, x, w), once)


@kernel(
    Conv2D,
    "cpu",
    algorithm="winograd 2x2",
    when=_applies,
    scratch=_scratch,
    packing=Packing(1, _form, _transform),
    cost=_cost,
)
def conv2d_winograd_precise(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...],
) -> None:  # fmt: skip
    u = packed[0]
    added = (u[:0] if b is None else b, u[:0] if residual is None else residual)
    winograd.convolve(x, winograd_layer(op, x.shape, out.shape), u, out, scratch[0], *added, LIMITS[op.activation])


def _grad_input_applies(op: Conv2DGradInput, dy: Spec, w: Spec) -> bool:
    return winograd_applies(op, (w.shape[1], w.shape[2]), dy.shape[3], w.shape[3])


def _grad_input_layer(op: Conv2DGradInput, dy: Spec, w: Spec) -> Layer:
    return transposed_layer(op, dy.shape, op.infer(dy, w).shape)


def _grad_input_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    return winograd.convolve_scratch(_grad_input_layer(op, dy, w))


def _grad_input_form(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    return (winograd.transformed_weights(w.shape[0], w.shape[3]),)


def _transform_flipped(op: Conv2DGradInput, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    winograd.transform_flipped_weights(w.reshape(-1), w.shape[0], w.shape[3], *packed)


def _grad_input_cost(op: Conv2DGradInput, once: bool, dy: Spec, w: Spec) -> float:
    return winograd.cost(_grad_input_layer(op, dy, w), once)


@kernel(
    Conv2DGradInput,
    "cpu",
    algorithm="winograd 2x2",
    when=_grad_input_applies,
    scratch=_grad_input_scratch,
    packing=Packing(1, _grad_input_form, _transform_flipped),
    cost=_grad_input_cost,
)
def conv2d_grad_input_winograd_precise(
    op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...], packed: tuple[Array, ...]
) -> None:
    nothing = packed[0][:0]
    layer = transposed_layer(op, dy.shape, out.shape)
    winograd.convolve(dy, layer, packed[0], out, scratch[0], nothing, nothing, LIMITS[None])
