"""Geometries of convolutions as CUDA kernels take them: the struct Geometry of patches.cuh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_sdk.errors import GraphError
from edge_sdk.kernels.gpu.products import countable, structure
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.geometry import Pair, resolve_padding

EXTENT = np.dtype([(name, "i4") for name in ("image", "result", "kernel", "stride", "dilation", "before")])
GEOMETRY = np.dtype(
    [
        *[(name, "i4") for name in ("images", "channels", "outputs", "groups")],
        ("vertical", EXTENT), ("horizontal", EXTENT),
    ],
    align=True,
)  # fmt: skip
MAX_TAP_REACH = 2**29
"""Kernels tell pixels that do not exist by a place that far outside."""

Convolution = (
    Conv2D
    | Conv2DGradInput
    | Conv2DGradWeight
    | ConvTranspose2D
    | DepthwiseConv2D
    | DepthwiseConv2DGradInput
    | DepthwiseConv2DGradWeight
)


def geometry(op: Convolution, image: Sequence[int], result: Sequence[int], kernel: Pair) -> np.void:
    """Return the struct for a convolution of an image (n, h, w, c) into a result (n, p, q, k).

    Raises:
        GraphError: there are more pixels, or numbers in an image, than kernels count.
    """
    for name, shape in (("image", image), ("result", result)):
        countable(f"{op.name}: pixels of the {name}", shape[0] * shape[1] * shape[2])
        countable(f"{op.name}: pixels and channels of one {name}", shape[1] * shape[2] * shape[3])
    size = (image[1], image[2])
    padding = resolve_padding(op.padding, size, kernel, op.stride, op.dilation)
    extents = []
    for axis in (0, 1):
        if kernel[axis] * op.dilation[axis] > MAX_TAP_REACH:
            raise GraphError(f"{op.name}: a kernel that spans {kernel[axis] * op.dilation[axis]} pixels is too large")
        before = padding[axis][0]
        extents.append((size[axis], result[1 + axis], kernel[axis], op.stride[axis], op.dilation[axis], before))
    groups = getattr(op, "groups", 1)
    return structure(GEOMETRY, (image[0], image[3], result[3], groups, *extents))
