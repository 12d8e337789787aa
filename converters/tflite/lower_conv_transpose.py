"""Transposed convolutions. The weights of the graph lie in memory as TFLite wants them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_sdk.converters.tflite.geometry import pad_image
from edge_sdk.converters.tflite.lower_conv import bias_of, part_of
from edge_sdk.converters.tflite.lowering import FUSED, Lowering, Tensor, lower
from edge_sdk.converters.tflite.options import (
    AddOptions,
    ConcatenationOptions,
    MulOptions,
    ShapeOptions,
    SliceOptions,
    SplitOptions,
    TransposeConvOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, Padding, TensorType
from edge_sdk.graph import Node
from edge_sdk.ops.conv import ConvTranspose2D
from edge_sdk.ops.geometry import Pair
from edge_sdk.spec import Array, Spec

FUSED_ACTIVATION = 4
"""The version of TRANSPOSE_CONV that applies an activation to its result."""


@lower(ConvTranspose2D)
def conv_transpose2d(t: Lowering, op: ConvTranspose2D, node: Node) -> None:
    """TRANSPOSE_CONV; with groups SPLIT, TRANSPOSE_CONV each and CONCATENATION; padding of its own is cut by SLICE.

    TRANSPOSE_CONV has no dilation: the weights are written with zeros between them. An activation is an operator of
    its own, unless the file is for runtimes that have it fused.
    """
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    w, quant = _dilated(t.array(node.inputs[1]), op.dilation), t.spec(node.inputs[1]).quant
    fused = t.may_use(Builtin.TRANSPOSE_CONV, FUSED_ACTIVATION)
    target = y if op.activation is None or fused else t.temporary(f"{y.name}/convolution", y.spec)
    parts = _split(t, x, op.groups, y.name)
    outputs = w.shape[0] // op.groups
    results = []
    for group, part in enumerate(parts):
        chosen = slice(group * outputs, (group + 1) * outputs)
        suffix = f"/{group}" if op.groups > 1 else ""
        result = target
        if op.groups > 1:
            result = t.temporary(f"{y.name}{suffix}", replace(y.spec, shape=(*y.spec.shape[:3], outputs)))
        # Runtimes have no form of this operator with float pixels and int8 weights.
        weight = t.constant(f"{node.inputs[1]}{suffix}", np.ascontiguousarray(w[chosen]), part_of(quant, chosen))
        _transposed(
            t,
            op if fused else replace(op, activation=None),
            part,
            weight,
            bias_of(t, node, part, weight, chosen),
            result,
        )
        results.append(result)
    if op.groups > 1:
        t.emit(Builtin.CONCATENATION, results, [target], ConcatenationOptions(axis=3))
    if target is not y:
        t.emit(Builtin.RELU if op.activation == "relu" else Builtin.RELU6, [target], [y])


def _dilated(w: Array, dilation: Pair) -> Array:
    """The kernel (k, r, s, c) with zeros between its taps."""
    k, r, s, c = w.shape
    spread = np.zeros((k, (r - 1) * dilation[0] + 1, (s - 1) * dilation[1] + 1, c), w.dtype)
    spread[:, :: dilation[0], :: dilation[1]] = w
    return spread


def _split(t: Lowering, x: Tensor, groups: int, name: str) -> list[Tensor]:
    if groups == 1:
        return [x]
    part = replace(x.spec, shape=(*x.spec.shape[:3], x.spec.shape[3] // groups))
    parts = [t.temporary(f"{name}/input_{group}", part) for group in range(groups)]
    axis = t.constant(f"{name}/channel_axis", np.array(3, np.int32))
    t.emit(Builtin.SPLIT, [axis, x], parts, SplitOptions(num_splits=groups))
    return parts


def _transposed(t: Lowering, op: ConvTranspose2D, x: Tensor, weight: Tensor, bias: Tensor, y: Tensor) -> None:
    """Y from x by one TRANSPOSE_CONV under SAME or VALID, and a SLICE of what VALID makes too much."""
    kernel, size, output = weight.spec.shape[1:3], x.spec.shape[1:3], y.spec.shape[1:3]
    rule = Padding.VALID
    beyond = [max(more - after, 0) for more, (_, after) in zip(op.output_padding, op.padding, strict=True)]
    if any(beyond):  # a row of zeros beside x makes room for what output padding keeps
        x = pad_image(t, x, ((0, min(beyond[0], 1)), (0, min(beyond[1], 1))))
        size = x.spec.shape[1:3]
    elif _is_same(op, kernel, size, output):
        rule = Padding.SAME
    natural = tuple((n - 1) * s + r for n, s, r in zip(size, op.stride, kernel, strict=True))
    made = y
    if rule is Padding.VALID and natural != output:
        made = t.temporary(f"{y.name}/whole", replace(y.spec, shape=(y.spec.shape[0], *natural, y.spec.shape[3])))
    options = TransposeConvOptions(rule, op.stride[1], op.stride[0], FUSED[op.activation])
    t.emit(Builtin.TRANSPOSE_CONV, [_shape_of(t, x, made), weight, x, bias], [made], options)
    if made is not y:
        begin = t.integers(f"{y.name}/begin", (0, op.padding[0][0], op.padding[1][0], 0))
        t.emit(Builtin.SLICE, [made, begin, t.integers(f"{y.name}/size", (-1, *y.spec.shape[1:]))], [y], SliceOptions())


def _is_same(op: ConvTranspose2D, kernel: tuple[int, ...], size: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Tell whether SAME cuts off the same pixels: half of what the kernel reaches beyond the stride, first the less."""
    return all(
        made == n * s and r >= s and before == (r - s) // 2
        for n, s, r, made, (before, _) in zip(size, op.stride, kernel, output, op.padding, strict=True)
    )


def _shape_of(t: Lowering, x: Tensor, y: Tensor) -> Tensor:
    """The shape of y as an input; an open batch is that of x, worked out when the file runs."""
    if not y.spec.symbolic:
        return t.integers(f"{y.name}/shape", y.spec.shape)
    four = Spec((4,), "int32")
    names = ("input_shape", "batch", "shape")
    found, batch, shape = (t.temporary(f"{y.name}/{name}", four) for name in names)
    t.emit(Builtin.SHAPE, [x], [found], ShapeOptions(out_type=TensorType.int32))
    t.emit(Builtin.MUL, [found, t.integers(f"{y.name}/first", (1, 0, 0, 0))], [batch], MulOptions())
    rest = t.integers(f"{y.name}/rest", (0, *y.spec.shape[1:]))
    t.emit(Builtin.ADD, [batch, rest], [shape], AddOptions())
    return shape
