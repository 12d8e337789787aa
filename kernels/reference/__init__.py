"""Naive NumPy kernels: slow, obvious, in any float type. What they compute is what the operators mean."""

from __future__ import annotations

from edge_sdk.kernels.reference import (
    activation,
    control,
    conv,
    elementwise,
    indexing,
    int8,
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
    "control",
    "conv",
    "elementwise",
    "indexing",
    "int8",
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
