"""CUDA kernels: one source for each family, compiled when it is first needed, run by CuPy or emulated."""

from __future__ import annotations

from edge_sdk.kernels.gpu import activation, conv, depthwise_conv, elementwise, linear, statistics

PRECISIONS = ("float32",)
"""To what factors of products can be rounded."""

__all__ = ["PRECISIONS", "activation", "conv", "depthwise_conv", "elementwise", "linear", "statistics"]
