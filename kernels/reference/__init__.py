"""Naive NumPy kernels: slow, obvious, in any float type. What they compute is what the operators mean."""

from __future__ import annotations

from edge_sdk.kernels.reference import (
    activation,
    communication,
    control,
    conv,
    elementwise,
    fake_quantization,
    functions,
    indexing,
    int8,
    linear,
    logic,
    loss,
    loss_scaling,
    norm,
    pixels,
    pool,
    quantization,
    random,
    reduce,
    resize,
    shape,
    statistics,
    update,
)

PRECISIONS = ("float32",)
"""An operator's wish to round is not followed: this is what it is compared with."""

__all__ = [
    "PRECISIONS",
    "activation",
    "communication",
    "control",
    "conv",
    "elementwise",
    "fake_quantization",
    "functions",
    "indexing",
    "int8",
    "linear",
    "logic",
    "loss",
    "loss_scaling",
    "norm",
    "pixels",
    "pool",
    "quantization",
    "random",
    "reduce",
    "resize",
    "shape",
    "statistics",
    "update",
]
