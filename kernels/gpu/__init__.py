"""CUDA kernels: one source for each family, compiled when it is first needed, run by CuPy or emulated."""

from __future__ import annotations

from edge_sdk.kernels.gpu import (
    activation,
    communication,
    control,
    conv,
    cublas_products,
    cudnn_conv,
    dense_update,
    depthwise_conv,
    elementwise,
    fake_quantization,
    functions,
    indexing,
    linear,
    logic,
    loss,
    loss_scaling,
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

PRECISIONS = ("float32", "float16", "bfloat16", "tf32")
"""In what the factors of products can be stored, or to what they can be rounded."""

__all__ = [
    "PRECISIONS",
    "activation",
    "communication",
    "control",
    "conv",
    "cublas_products",
    "cudnn_conv",
    "dense_update",
    "depthwise_conv",
    "elementwise",
    "fake_quantization",
    "functions",
    "indexing",
    "linear",
    "logic",
    "loss",
    "loss_scaling",
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
