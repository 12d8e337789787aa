"""Numba kernels for the processor: float32, all cores, nothing allocated in a step.

Of kernels without cost estimates the first registered is taken: those for bfloat16 are imported before the others.
conv_statistics is imported behind the convolutions, each of which it extends.
"""

from __future__ import annotations

from edge_sdk.kernels.cpu import (
    activation,
    batch_norm,
    bfloat16_conv,
    bfloat16_linear,
    control,
    conv,
    conv_gradients,
    conv_precise,
    conv_statistics,
    conv_transpose,
    dense_update,
    depthwise_conv,
    elementwise,
    fake_quantization,
    functions,
    grouped_update,
    indexing,
    int8_conv,
    int8_conv_transpose,
    int8_depthwise,
    int8_elementwise,
    int8_pool,
    int8_softmax,
    linear,
    logic,
    loss,
    norm,
    pool,
    quantization,
    random,
    reduce,
    resize,
    shape,
    update,
)
from edge_sdk.kernels.cpu.simd_bfloat16 import HAS_BFLOAT16

PRECISIONS = ("float32", "bfloat16") if HAS_BFLOAT16 else ("float32",)
"""To what factors of products can be rounded on this machine."""

__all__ = [
    "PRECISIONS",
    "activation",
    "batch_norm",
    "bfloat16_conv",
    "bfloat16_linear",
    "control",
    "conv",
    "conv_gradients",
    "conv_precise",
    "conv_statistics",
    "conv_transpose",
    "dense_update",
    "depthwise_conv",
    "elementwise",
    "fake_quantization",
    "functions",
    "grouped_update",
    "indexing",
    "int8_conv",
    "int8_conv_transpose",
    "int8_depthwise",
    "int8_elementwise",
    "int8_pool",
    "int8_softmax",
    "linear",
    "logic",
    "loss",
    "norm",
    "pool",
    "quantization",
    "random",
    "reduce",
    "resize",
    "shape",
    "update",
]
