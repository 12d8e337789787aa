"""Numba kernels for the processor: float32, all cores, nothing allocated in a step."""

from __future__ import annotations

from edge_sdk.kernels.cpu import (
    activation,
    batch_norm,
    control,
    conv,
    conv_gradients,
    conv_precise,
    dense_update,
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
    "control",
    "conv",
    "conv_gradients",
    "conv_precise",
    "dense_update",
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
