"""CUDA kernels: one source for each family, compiled when it is first needed, run by CuPy or emulated."""

from __future__ import annotations

from edge_sdk.kernels.gpu import (
    activation,
    control,
    conv,
    dense_update,
    depthwise_conv,
    elementwise,
    fake_quantization,
    functions,
    indexing,
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
    statistics,
    update,
)

PRECISIONS = ("float32", "tf32")
"""To what factors of products can be rounded."""

__all__ = [
    "PRECISIONS",
    "activation",
    "control",
    "conv",
    "dense_update",
    "depthwise_conv",
    "elementwise",
    "fake_quantization",
    "functions",
    "indexing",
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
    "statistics",
    "update",
]
