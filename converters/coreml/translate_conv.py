"""Convolutions, dense layers, norms and pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.converters.coreml.translation import MILNode, Result, translates


def _window(c: MILNode) -> dict[str, Any]:
    """Strides and padding in MIL's order: (top, bottom, left, right)."""
    top, left, bottom, right = c.attribute("pads", [0, 0, 0, 0])
    return {"strides": list(c.attribute("strides", [1, 1])), "pad_type": "custom", "pad": [top, bottom, left, right]}


@translates("Conv")
def conv(c: MILNode) -> Result:
    """The same of MIL."""
    bias = {"bias": c.input(2)} if c.has(2) else {}
    return c.mb.conv(
        x=c.input(0), weight=c.weight(1), dilations=list(c.attribute("dilations", [1, 1])),
        groups=c.attribute("group", 1), name=c.name, **bias, **_window(c),
    )  # fmt: skip


@translates("ConvTranspose")
def conv_transpose(c: MILNode) -> Result:
    """The same of MIL, whose output shape says what output padding keeps."""
    bias = {"bias": c.input(2)} if c.has(2) else {}
    return c.mb.conv_transpose(
        x=c.input(0), weight=c.weight(1), dilations=list(c.attribute("dilations", [1, 1])),
        groups=c.attribute("group", 1), output_shape=list(c.output_shape()), name=c.name, **bias, **_window(c),
    )  # fmt: skip


@translates("Gemm")
def gemm(c: MILNode) -> Result:
    """Linear."""
    bias = {"bias": c.input(2)} if c.has(2) else {}
    return c.mb.linear(x=c.input(0), weight=c.weight(1), name=c.name, **bias)


@translates("MatMul")
def matmul(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.matmul(x=c.input(0), y=c.input(1), name=c.name)


@translates("BatchNormalization")
def batch_normalization(c: MILNode) -> Result:
    """A product and a sum."""
    scale, offset, mean, variance = (c.array(index).astype(np.float64) for index in range(1, 5))
    factor = scale / np.sqrt(variance + c.attribute("epsilon", 1e-5))
    shape = (1, -1, *(1,) * (len(c.shape(0)) - 2))
    summand = (offset - mean * factor).reshape(shape).astype(np.float32)
    product = c.mb.mul(x=c.input(0), y=factor.reshape(shape).astype(np.float32))
    return c.mb.add(x=product, y=summand, name=c.name)


@translates("LRN")
def local_response_norm(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.local_response_norm(
        x=c.input(0), size=c.attribute("size"), alpha=c.attribute("alpha"), beta=c.attribute("beta"),
        k=c.attribute("bias"), name=c.name,
    )  # fmt: skip


@translates("MaxPool")
def max_pool(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.max_pool(x=c.input(0), kernel_sizes=list(c.attribute("kernel_shape")), name=c.name, **_window(c))


@translates("AveragePool")
def average_pool(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.avg_pool(
        x=c.input(0), kernel_sizes=list(c.attribute("kernel_shape")), name=c.name,
        exclude_padding_from_average=not c.attribute("count_include_pad", 0), **_window(c),
    )  # fmt: skip


@translates("GlobalAveragePool")
def global_average_pool(c: MILNode) -> Result:
    """A mean over rows and columns."""
    return c.mb.reduce_mean(x=c.input(0), axes=[2, 3], keep_dims=True, name=c.name)


_MODES = {"half_pixel": "UNALIGN_CORNERS", "align_corners": "STRICT_ALIGN_CORNERS", "asymmetric": "DEFAULT"}


@translates("Resize")
def resize(c: MILNode) -> Result:
    """Bilinear in each of the three ways; nearest where pixels are only repeated."""
    height, width = c.output_shape()[2:]
    mode = c.attribute("coordinate_transformation_mode")
    if c.attribute("mode") == "linear":
        return c.mb.resize_bilinear(
            x=c.input(0), target_size_height=height, target_size_width=width, sampling_mode=_MODES[mode], name=c.name
        )
    rows, columns = c.shape(0)[2:]
    if height % rows or width % columns or mode == "align_corners":
        raise c.no_form("to the nearest pixel, unless each is repeated equally often")
    return c.mb.upsample_nearest_neighbor(
        x=c.input(0), scale_factor_height=height // rows, scale_factor_width=width // columns, name=c.name
    )
