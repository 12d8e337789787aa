"""Reductions over axes."""

from __future__ import annotations

from edge_sdk.converters.tflite.lowering import Lowering, lower
from edge_sdk.converters.tflite.options import ReducerOptions
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum

_CODES: dict[type[Op], Builtin] = {ReduceMax: Builtin.REDUCE_MAX, ReduceMean: Builtin.MEAN, ReduceSum: Builtin.SUM}


@lower(ReduceMax, ReduceMean, ReduceSum)
def reduce(t: Lowering, op: ReduceMax | ReduceMean | ReduceSum, node: Node) -> None:
    """REDUCE_MAX, MEAN, SUM; over no axis they change nothing."""
    x = t.read(node.inputs[0])
    if not op.axes:
        t.alias(node.output, x)
        return
    y = t.declare(node.output)
    axes = t.integers(f"{y.name}/axes", op.axes)
    t.emit(_CODES[type(op)], [x, axes], [y], ReducerOptions(keep_dims=op.keep_dims))
