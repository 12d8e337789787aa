"""8-bit transposed convolutions: convolutions of the image spread apart, with the reversed weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from edge_sdk.kernel import Packing, kernel
from edge_sdk.kernels.cpu.int8_gemm import multiply_window, pack_weights, packed_specs, product_scratch
from edge_sdk.kernels.cpu.patches import Window
from edge_sdk.ops.conv import ConvTranspose2D
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling, tensor_quant
from edge_sdk.spec import Array, Spec


@lru_cache(1024)
def spread_window(op: ConvTranspose2D, w: tuple[int, ...], out: tuple[int, ...], channels: int, group: int) -> Window:
    """Return what each output sees of the spread image, whose padding is part of it."""
    reach = [(r - 1) * d for r, d in zip(w[1:3], op.dilation, strict=True)]
    return Window(
        out[1] + reach[0], out[2] + reach[1], channels, group * w[3], w[3], w[1], w[2], 1, 1, 0, 0, *op.dilation,
        out[1], out[2],
    )  # fmt: skip


def _places(op: ConvTranspose2D, axis: int, extent: int, kernel: int, spread: int) -> tuple[slice, slice]:
    """Which pixels of an axis lie in the spread image, and where."""
    first = (kernel - 1) * op.dilation[axis] - op.padding[axis][0]
    stride = op.stride[axis]
    start = max(-(first // stride), 0)
    stop = min(extent, max((spread - 1 - first) // stride + 1, start))
    at = first + start * stride
    return slice(start, stop), slice(at, at + (stop - start - 1) * stride + 1 if stop > start else at, stride)


def spread_apart(op: ConvTranspose2D, x: Array, w: tuple[int, ...], spread: Array, zero: int) -> None:
    """Put the pixels of x where they lie in the spread image, and the zero point between them."""
    spread.fill(zero)
    (rows, to_rows), (columns, to_columns) = (
        _places(op, axis, x.shape[1 + axis], w[1 + axis], spread.shape[1 + axis]) for axis in (0, 1)
    )
    spread[:, to_rows, to_columns] = x[:, rows, columns]


def _scratch(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    out = op.infer_outputs((x, w))[0].shape
    window = spread_window(op, w.shape, out, x.shape[3], 0)
    return (
        Spec((x.shape[0], window.height, window.width, x.shape[3]), "int8"),
        product_scratch(x.shape[0], window, w.shape[0] // op.groups),
    )


def form(op: ConvTranspose2D, x: Spec, w: Spec, *_: Spec) -> tuple[Spec, ...]:
    """Return the form of packed weights, one for each group."""
    forms = packed_specs(w.elements // w.shape[0], w.shape[0] // op.groups)
    return tuple(Spec((op.groups, *form.shape), form.dtype) for form in forms)


def pack(op: ConvTranspose2D, packed: tuple[Array, ...], inputs: Sequence[Spec], w: Array) -> None:
    """Pack weights (k, r, s, c / groups), their taps reversed."""
    outputs, depth = w.shape[0] // op.groups, w.size // w.shape[0]
    reversed_taps = np.ascontiguousarray(w[:, ::-1, ::-1])
    for group in range(op.groups):
        first = group * outputs * depth
        pack_weights(
            reversed_taps.reshape(-1), first, outputs, depth, tensor_quant(inputs[0])[1], packed[0][group],
            packed[1][group],
        )  # fmt: skip


@kernel(
    ConvTranspose2D,
    "cpu",
    algorithm="bytes",
    quantized=True,
    constants=product_rescaling,
    scratch=_scratch,
    packing=Packing(1, form, pack),
)
def conv_transpose2d(
    op: ConvTranspose2D, out: Array, x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...], packed: tuple[Array, ...], constants: Rescaling,
) -> None:  # fmt: skip
    spread, panels = scratch
    spread_apart(op, x, w.shape, spread, constants.input_zeros[0])
    outputs = w.shape[0] // op.groups
    for group in range(op.groups):
        first = group * outputs
        bias = packed[1][group][:0] if b is None else b[first : first + outputs]
        window = spread_window(op, w.shape, out.shape, x.shape[3], group)
        multiply_window(
            spread, window, packed[0][group], packed[1][group], outputs, out, first, panels, bias, constants
        )  # fmt: skip
