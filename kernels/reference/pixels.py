"""Naive kernels of photos on their way into a network: the executable specification."""

from __future__ import annotations

from edge_sdk.kernel import kernel
from edge_sdk.ops.pixels import NormalisePixels
from edge_sdk.spec import Array


@kernel(NormalisePixels, "reference")
def normalise_pixels(op: NormalisePixels, out: Array, pixels: Array, mean: Array, std: Array) -> None:
    out[...] = (pixels - mean) / std
