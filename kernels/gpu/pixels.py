"""Photos as they are stored, on their way into a network."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import for_each
from edge_sdk.ops.pixels import NormalisePixels
from edge_sdk.spec import Array, Spec, dtype_of


def _in_single(op: NormalisePixels, pixels: Spec, mean: Spec, std: Spec) -> bool:
    return mean.dtype == std.dtype == "float32"


@kernel(NormalisePixels, "gpu", when=_in_single, binds=True)
def normalise_pixels(op: NormalisePixels, out: Array, pixels: Array, mean: Array, std: Array) -> Call:
    given = (out, pixels, mean, std, np.int32(pixels.shape[-1]))
    return for_each("pixels", "normalise_pixels", out.size, *given, dtype=dtype_of(out))
