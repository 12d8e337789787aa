"""Numba kernels for the processor: float32, all cores, nothing allocated in a step.

Of kernels without cost estimates the first registered is taken: those for bfloat16 are imported before the others.
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
    depthwise_conv,
    elementwise,
    indexing,
    linear,
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

__all__ = [
    "activation",
    "batch_norm",
    "bfloat16_conv",
    "bfloat16_linear",
    "control",
    "conv",
    "conv_gradients",
    "depthwise_conv",
    "elementwise",
    "indexing",
    "linear",
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
