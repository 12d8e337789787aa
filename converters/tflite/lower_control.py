"""Constants, copies, and the borders of quantization."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.lowering import Lowering, lower
from edge_sdk.converters.tflite.options import DequantizeOptions, FillOptions, QuantizeOptions, ShapeOptions
from edge_sdk.converters.tflite.runtime_table import NEWEST
from edge_sdk.converters.tflite.schema import Builtin, TensorType
from edge_sdk.errors import ExportError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.control import Full, FullLike, Identity, StopGradient
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.random import Dropout
from edge_sdk.spec import QuantParams, Spec

EXACT = 1e-6
"""How far float32 may leave the ratio of two scales from a whole number."""


@lower(Identity, StopGradient)
def identity(t: Lowering, op: Op, node: Node) -> None:
    """Nothing: the value is its input."""
    t.alias(node.output, t.read(node.inputs[0]))


@lower(Dropout)
def dropout(t: Lowering, op: Dropout, node: Node) -> None:
    """Nothing, in its inference form."""
    if len(node.inputs) > 1:
        raise ExportError(
            f"dropout (node {node.output!r}) has a step, its training form; run the pass to_inference first"
        )
    t.alias(node.output, t.read(node.inputs[0]))


@lower(Full)
def full(t: Lowering, op: Full, node: Node) -> None:
    """A constant."""
    t.alias(node.output, t.constant(node.output, np.full(op.shape, op.value, op.dtype)))


@lower(FullLike)
def full_like(t: Lowering, op: FullLike, node: Node) -> None:
    """SHAPE and FILL."""
    like, y = t.read(node.inputs[0]), t.declare(node.output)
    shape = t.temporary(f"{y.name}/shape", Spec((like.spec.rank,), "int32"))
    t.emit(Builtin.SHAPE, [like], [shape], ShapeOptions(out_type=TensorType.int32))
    value = t.constant(f"{y.name}/value", np.array(op.value, y.spec.numpy_dtype))
    t.emit(Builtin.FILL, [shape, value], [y], FillOptions())


@lower(Quantize)
def quantize(t: Lowering, op: Quantize, node: Node) -> None:
    """QUANTIZE, from floats or from another quantization; from 8 bits to 16 by way of floats where these are exact.

    Runtimes before LiteRT 2 (tflite-runtime 2.14, ai-edge-litert 1.4) refuse a QUANTIZE from bytes to int16. The real
    numbers of bytes are whole multiples of the finer step in networks that were quantized here, so nothing is rounded
    on the way; other networks keep the operator, and need such a runtime.
    """
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    if x.spec.dtype in ("int8", "uint8") and y.spec.dtype == "int16":
        if _is_multiple(x.spec, y.spec):
            real = t.temporary(f"{y.name}/real", Spec(y.spec.shape))
            t.emit(Builtin.DEQUANTIZE, [x], [real], DequantizeOptions())
            x = real
        else:
            t.require(Builtin.QUANTIZE, NEWEST, y)
    t.emit(Builtin.QUANTIZE, [x], [y], QuantizeOptions())


def _is_multiple(coarse: Spec, fine: Spec) -> bool:
    """Whether a step of the coarser numbers is a whole number of steps of the finer ones, whose zero is 0."""
    if coarse.quant is None or fine.quant is None or fine.quant.zero_point != (0,):
        return False
    ratio = coarse.quant.scale[0] / fine.quant.scale[0]
    return ratio >= 1 and abs(ratio - round(ratio)) <= EXACT * ratio


@lower(Dequantize)
def dequantize(t: Lowering, op: Dequantize, node: Node) -> None:
    """DEQUANTIZE, which reads the numbers of its input's quantization; so they must be those of the operator."""
    x = t.read(node.inputs[0])
    quant = QuantParams((op.scale,), (op.zero_point,))
    if x.spec.quant != quant:
        raise ExportError(
            f"dequantize ({node.output}): its input {x.name!r} is quantized by {x.spec.quant}, wanted {quant}"
        )
    t.emit(Builtin.DEQUANTIZE, [x], [t.declare(node.output)], DequantizeOptions())
