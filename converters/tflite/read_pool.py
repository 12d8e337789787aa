"""Pools."""

from __future__ import annotations

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import Pool2DOptions
from edge_sdk.converters.tflite.read_conv import RULES
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.ops.pool import AvgPool2D, MaxPool2D


@reads(Builtin.MAX_POOL_2D, Builtin.AVERAGE_POOL_2D)
def pool(r: Reading, operator: FileOperator) -> None:
    """max_pool2d, and avg_pool2d, whose means are over the pixels inside the image."""
    options = operator.options(Pool2DOptions)
    kernel = (options.filter_height, options.filter_width)
    stride = (options.stride_h, options.stride_w)
    kind = MaxPool2D if operator.code == Builtin.MAX_POOL_2D else AvgPool2D
    op = kind(kernel, stride, RULES[options.padding])
    r.emit(operator, op, r.value(operator, 0), activation=options.fused_activation_function)
