"""Dense layers and matrix products."""

from __future__ import annotations

import math

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import BatchMatMulOptions, FullyConnectedOptions
from edge_sdk.converters.tflite.read_conv import bias
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.shape import Reshape
from edge_sdk.spec import BATCH


@reads(Builtin.FULLY_CONNECTED)
def fully_connected(r: Reading, operator: FileOperator) -> None:
    """Linear on rows as long as the weights are, whatever the rank of x.

    Where an example has many rows, they become the pixels of an image and the layer a convolution of 1×1.
    """
    options = operator.options(FullyConnectedOptions)
    if options.weights_format:
        raise FormatError(f"its weights are stored in the order {options.weights_format}, which is not read")
    x = r.value(operator, 0)
    w = r.weight(operator, 1, x)
    rest = bias(r, operator, x)
    spec, weights = r.spec(x), r.spec(w)
    if weights.rank != 2 or 0 in weights.shape:
        raise FormatError(f"its weights are {weights}, wanted (out, in)")
    depth, per_example = weights.shape[1], math.prod(spec.shape[1:])
    if spec.symbolic and per_example != depth:
        x = r.step(operator, Reshape((BATCH, per_example // depth, 1, depth)), x)
        w = r.step(operator, Reshape((weights.shape[0], 1, 1, depth)), w)
        op: Op = Conv2D()
    else:
        if spec.rank != 2 or spec.shape[1] != depth:
            x = r.step(operator, Reshape((BATCH, depth)), x)
        op = Linear()
    r.emit(operator, op, x, w, *rest, activation=options.fused_activation_function, reshaped=True)


@reads(Builtin.BATCH_MATMUL)
def batch_matmul(r: Reading, operator: FileOperator) -> None:
    """Matmul."""
    options = operator.options(BatchMatMulOptions)
    r.emit(operator, MatMul(options.adj_x, options.adj_y), *r.values(operator, 2))
