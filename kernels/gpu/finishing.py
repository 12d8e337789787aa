"""What an operator adds to the product that a library makes: bias, residual, activation."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.elementwise import ACTIVATIONS
from edge_sdk.kernels.gpu.launch import for_each, sequence
from edge_sdk.kernels.gpu.moves import lanes_of
from edge_sdk.ops.geometry import Activation
from edge_sdk.spec import Array


def finished(
    product: Call, out: Array, bias: Array | None = None, residual: Array | None = None, activation: Activation = None
) -> Call:
    """Return a product (…, column), made in `out`, followed by what is added to it, in one pass in place."""
    if bias is None and residual is None and activation is None:
        return product
    flags = (out.shape[-1], int(bias is not None), int(residual is not None), ACTIVATIONS[activation])
    added = [out if one is None else one for one in (bias, residual)]
    lanes = lanes_of(out.shape[-1], out, *added[1:])
    name = "finished" if lanes == 1 else "finished_packs"
    end = for_each("finish", name, out.size // lanes, out, *added, *map(np.int32, flags), dtype=out.dtype.name)
    return sequence([product, end])
