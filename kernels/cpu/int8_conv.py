"""8-bit convolutions and dense layers: matrix products of bytes on what every output sees."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.conv_geometry import window_of
from edge_sdk.kernels.cpu.int8_gemm import multiply_window, pack_weights, packed_specs, product_scratch
from edge_sdk.kernels.cpu.patches import Window, whole_rows
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling, tensor_quant, without_residual
from edge_sdk.spec import Array, Spec


def windows(op: Conv2D, x: Spec, w: Spec) -> tuple[int, Window, int]:
    """Return how many images there are, what an output sees of them, and the outputs a group has."""
    _, p, q, k = op.infer_outputs((x, w))[0].shape
    window = window_of(op, x.shape, (w.shape[1], w.shape[2]), (p, q))
    return x.elements // (window.height * window.width * window.channels), window, k // op.groups


def _conv_scratch(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (product_scratch(*windows(op, x, w)),)


def conv_form(op: Conv2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    """Return the form of packed weights, one for each group."""
    forms = packed_specs(w.elements // w.shape[0], w.shape[0] // op.groups)
    return tuple(Spec((op.groups, *form.shape), form.dtype) for form in forms)


def pack_conv(op: Conv2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    """Pack weights (k, r, s, c / groups)."""
    outputs, depth = w.shape[0] // op.groups, w.size // w.shape[0]
    zero = tensor_quant(inputs[0])[1]
    for group in range(op.groups):
        first = group * outputs * depth
        pack_weights(w.reshape(-1), first, outputs, depth, zero, packed[0][group], packed[1][group])


@kernel(
    Conv2D,
    "cpu",
    algorithm="bytes",
    quantized=True,
    constants=product_rescaling,
    when=without_residual,
    scratch=_conv_scratch,
    packing=Packing(1, conv_form, pack_conv),
)
def conv2d(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    _, p, q, k = out.shape
    outputs = k // op.groups
    for group in range(op.groups):
        first = group * outputs
        bias = packed[1][group][:0] if b is None else b[first : first + outputs]
        window = window_of(op, x.shape, w.shape[1:3], (p, q), group)
        multiply_window(
            x, window, packed[0][group], packed[1][group], outputs, out, first, scratch[0], bias, constants
        )  # fmt: skip


def _linear_scratch(op: Linear, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    return (product_scratch(1, whole_rows(*x.shape), w.shape[0]),)


def linear_form(op: Linear, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    """Return the form of packed weights."""
    return packed_specs(w.shape[1], w.shape[0])


def pack_linear(op: Linear, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    """Pack weights (outputs, depth)."""
    pack_weights(w.reshape(-1), 0, w.shape[0], w.shape[1], tensor_quant(inputs[0])[1], *packed)


@kernel(
    Linear,
    "cpu",
    algorithm="bytes",
    quantized=True,
    constants=product_rescaling,
    scratch=_linear_scratch,
    packing=Packing(1, linear_form, pack_linear),
)
def linear(
    op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    weights, offsets = packed
    bias = offsets[:0] if b is None else b
    multiply_window(x, whole_rows(*x.shape), weights, offsets, w.shape[0], out, 0, scratch[0], bias, constants)
