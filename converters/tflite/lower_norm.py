"""Normalizations."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.lower_elementwise import multiply_by
from edge_sdk.converters.tflite.lowering import FUSED, Lowering, lower
from edge_sdk.converters.tflite.options import AddOptions, LocalResponseNormalizationOptions
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.graph import Node
from edge_sdk.ops.norm import BatchNorm, LocalResponseNorm


@lower(BatchNorm)
def batch_norm(t: Lowering, op: BatchNorm, node: Node) -> None:
    """MUL and ADD with what scale, offset, mean and variance come to; most are folded into a convolution before."""
    x, y = t.read(node.inputs[0]), t.declare(node.output)
    scale, offset, mean, variance = (t.array(value).astype(np.float64) for value in node.inputs[1:])
    factor = scale / np.sqrt(variance + op.epsilon)
    scaled = t.temporary(f"{y.name}/scaled", y.spec)
    multiply_by(t, x, factor, scaled)
    summand = t.constant(f"{y.name}/summand", (offset - mean * factor).astype(x.spec.numpy_dtype))
    t.emit(Builtin.ADD, [scaled, summand], [y], AddOptions(fused_activation_function=FUSED[op.activation]))


@lower(LocalResponseNorm)
def local_response_norm(t: Lowering, op: LocalResponseNorm, node: Node) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, whose alpha multiplies the sum and not the mean, and whose size is a radius."""
    options = LocalResponseNormalizationOptions((op.size - 1) // 2, op.k, op.alpha / op.size, op.beta)
    t.emit(Builtin.LOCAL_RESPONSE_NORMALIZATION, [t.read(node.inputs[0])], [t.declare(node.output)], options)
