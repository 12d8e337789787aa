"""The operators, a family a file. Importing this package declares all of them."""

from __future__ import annotations

from edge_sdk.ops import (
    activation,
    control,
    conv,
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

__all__ = [
    "activation",
    "control",
    "conv",
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
