"""Photos as they are stored, on their way into a network."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import kernel
from edge_sdk.ops.pixels import NormalisePixels
from edge_sdk.spec import Array, Spec


def _is_single(op: NormalisePixels, *_: Spec) -> bool:
    return op.dtype == "float32"


@kernel(NormalisePixels, "cpu", when=_is_single)
def normalise_pixels(op: NormalisePixels, out: Array, pixels: Array, mean: Array, std: Array) -> None:
    np.subtract(pixels, mean, out=out, dtype=np.float32)
    np.divide(out, std, out=out)
