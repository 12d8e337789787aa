"""The version of an operator that a use of it needs, and the oldest runtime that has it.

Sources: tensorflow/lite/tools/versioning/op_version.cc and runtime_version.cc. A runtime refuses a file with a version
above what it knows, so each use states the lowest that covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edge_sdk.converters.tflite.options import (
    FullyConnectedOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, Options
from edge_sdk.spec import Spec

# Version 1 computes floats, version 2 int8.
_INT8_IS_2 = frozenset({
    Builtin.ADD, Builtin.AVERAGE_POOL_2D, Builtin.CONCATENATION, Builtin.DEQUANTIZE, Builtin.GATHER,
    Builtin.LOG_SOFTMAX, Builtin.LOGISTIC, Builtin.MAX_POOL_2D, Builtin.MAXIMUM, Builtin.MEAN, Builtin.MINIMUM,
    Builtin.MUL, Builtin.PAD, Builtin.PADV2, Builtin.REDUCE_MAX, Builtin.RELU, Builtin.RELU6, Builtin.RESIZE_BILINEAR,
    Builtin.RESIZE_NEAREST_NEIGHBOR, Builtin.SLICE, Builtin.SOFTMAX, Builtin.SPLIT, Builtin.SPLIT_V, Builtin.SUB,
    Builtin.SUM, Builtin.TANH, Builtin.TRANSPOSE, Builtin.BATCH_MATMUL,
})  # fmt: skip
_MORE_THAN_FOUR_AXES = {
    Builtin.DIV: 2, Builtin.MAXIMUM: 3, Builtin.MINIMUM: 3, Builtin.PAD: 4, Builtin.PADV2: 4, Builtin.SLICE: 5,
    Builtin.SUB: 3, Builtin.TRANSPOSE: 4,
}  # fmt: skip
_INT64 = {Builtin.ADD: 4, Builtin.MUL: 5, Builtin.SUB: 4}
_DATA_INPUT = {Builtin.SPLIT: 1, Builtin.TRANSPOSE_CONV: 2}
"""The input whose type decides, where it is not the first."""

_SINCE: Mapping[tuple[Builtin, int], str] = {
    (Builtin.ABS, 5): "2.12.0",
    (Builtin.ADD, 4): "2.6.0",
    (Builtin.BROADCAST_TO, 2): "2.5.0",
    (Builtin.CAST, 2): "2.7.0",
    (Builtin.CONV_2D, 5): "2.4.0",
    (Builtin.FULLY_CONNECTED, 12): "2.17.0",
    (Builtin.GELU, 1): "2.9.0",
    (Builtin.MUL, 5): "2.6.0",
    (Builtin.PAD, 4): "2.6.0",
    (Builtin.PADV2, 4): "2.6.0",
    (Builtin.SLICE, 5): "2.5.0",
    (Builtin.SUB, 4): "2.4.0",
}
_OLDEST = "2.3.0"
"""What has every other version that is written here."""


def operator_version(code: Builtin, inputs: Sequence[Spec], outputs: Sequence[Spec], options: Options | None) -> int:
    """Return the lowest version of an operator that computes these types."""
    data = inputs[_DATA_INPUT.get(code, 0)] if inputs else outputs[0]
    if code in (Builtin.CONV_2D, Builtin.DEPTHWISE_CONV_2D):
        return _convolution_version(code, data, inputs[1], options)
    if code is Builtin.FULLY_CONNECTED:
        return _dense_version(data, inputs[1], options)
    if isinstance(options, ResizeBilinearOptions | ResizeNearestNeighborOptions) and (
        options.half_pixel_centers or (options.align_corners and code is Builtin.RESIZE_NEAREST_NEIGHBOR)
    ):
        return 3
    if code is Builtin.TRANSPOSE_CONV:  # with a bias
        return 3
    if code is Builtin.QUANTIZE:
        return 1 if data.dtype == "float32" else 2
    if code is Builtin.DEQUANTIZE and data.dtype == "float16":
        return 3
    if code is Builtin.BROADCAST_TO:
        return 2
    if code is Builtin.ABS and data.dtype == "int32":
        return 5
    if data.dtype == "int64" and code in _INT64:
        return _INT64[code]
    if max((spec.rank for spec in inputs), default=0) > 4 and code in _MORE_THAN_FOUR_AXES:
        return _MORE_THAN_FOUR_AXES[code]
    if code is Builtin.MUL and _product_grows(inputs, outputs):
        return 3
    return 2 if data.dtype == "int8" and code in _INT8_IS_2 else 1


def minimum_runtime(used: Iterable[tuple[Builtin, int]]) -> str:
    """Return the oldest runtime that has all these operators."""
    needed = [_OLDEST, *(_SINCE[use] for use in used if use in _SINCE)]
    return max(needed, key=lambda version: tuple(map(int, version.split("."))))


def _convolution_version(code: Builtin, x: Spec, w: Spec, options: Options | None) -> int:
    dense = code is Builtin.CONV_2D
    if w.dtype == "int8" and x.dtype == "float32":
        per_channel = w.quant is not None and len(w.quant.scale) > 1
        return (5 if per_channel else 2) if dense else (6 if per_channel else 4)
    if x.dtype == "int8":
        return 3
    dilated = max(getattr(options, "dilation_w_factor", 1), getattr(options, "dilation_h_factor", 1)) > 1
    return 2 if dilated and not dense else 1


def _dense_version(x: Spec, w: Spec, options: Options | None) -> int:
    if w.dtype == "int8" and x.dtype == "float32":
        asymmetric = isinstance(options, FullyConnectedOptions) and options.asymmetric_quantize_inputs
        return 9 if asymmetric else 3
    if x.dtype == "int8":  # a scale an output is promised from version 12 on alone
        return 12 if w.quant is not None and w.quant.axis is not None else 4
    return 1


def _product_grows(inputs: Sequence[Spec], outputs: Sequence[Spec]) -> bool:
    """Tell whether an int8 product is rescaled by 1 or more."""
    quants = [spec.quant for spec in (*inputs, *outputs)]
    if any(quant is None for quant in quants):
        return False
    a, b, y = (quant.scale[0] for quant in quants if quant is not None)
    return a * b / y >= 1
