"""Depthwise convolutions of stored numbers."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.geometry import geometry
from edge_sdk.kernels.gpu.integer_rescaling import factors_on_device, integer_kernel, storing
from edge_sdk.kernels.gpu.launch import for_each, nothing
from edge_sdk.ops.conv import DepthwiseConv2D
from edge_sdk.quantization.arithmetic import Rescaling, product_rescaling
from edge_sdk.spec import Array

FOUR = 4
"""Channels that a thread takes at once (integer_depthwise.cu)."""


@integer_kernel(DepthwiseConv2D, constants=product_rescaling)
def depthwise_conv2d(
    op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, constants: Rescaling
) -> Call:
    if not out.size:
        return nothing()
    described = geometry(op, x.shape, out.shape, (w.shape[1], w.shape[2]))
    factors, address = factors_on_device(constants), current_driver().address
    bias = factors if b is None else b.view(np.int32)
    words = 0 if b is None else b.dtype.itemsize // 4
    numbers = (np.int32(words), np.int32(constants.input_zeros[0]), storing(constants), described)
    alike = out.shape[3] == x.shape[3] and out.shape[3] % FOUR == 0
    together = alike and not any(address(array) % (FOUR * array.dtype.itemsize) for array in (out, x, w))
    name, count = ("depthwise_conv2d_fours", FOUR) if together else ("depthwise_conv2d", 1)
    values = (out, x, w, bias, factors, *numbers)
    return for_each("integer_depthwise", name, out.size // count, *values, dtype=x.dtype.name)
