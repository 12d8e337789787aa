"""Reductions over axes."""

from __future__ import annotations

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import ReducerOptions
from edge_sdk.converters.tflite.reading import Reading, axes_of, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.elementwise import Neg
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from edge_sdk.spec import Value

_REDUCTIONS = {Builtin.REDUCE_MAX: ReduceMax, Builtin.MEAN: ReduceMean, Builtin.SUM: ReduceSum}
_IMAGE_RANK = 4


@reads(Builtin.MEAN, Builtin.SUM, Builtin.REDUCE_MAX)
def reduce(r: Reading, operator: FileOperator) -> None:
    """reduce_mean, reduce_sum, reduce_max; the mean over all pixels is global_avg_pool."""
    x, axes, keep = _operands(r, operator)
    op: Op = _REDUCTIONS[Builtin(operator.code)](axes, keep)
    if operator.code == Builtin.MEAN and axes == (1, 2) and not keep and r.spec(x).rank == _IMAGE_RANK:
        op = GlobalAvgPool()
    r.emit(operator, op, x)


@reads(Builtin.REDUCE_MIN)
def reduce_min(r: Reading, operator: FileOperator) -> None:
    """-reduce_max(-x)."""
    x, axes, keep = _operands(r, operator)
    largest = r.step(operator, ReduceMax(axes, keep), r.step(operator, Neg(), x))
    r.emit(operator, Neg(), largest)


def _operands(r: Reading, operator: FileOperator) -> tuple[Value, tuple[int, ...], bool]:
    keep = operator.options(ReducerOptions).keep_dims
    x = r.value(operator, 0)
    spec = r.spec(x)
    axes = tuple(sorted(set(axes_of(r.integers(operator, 1), spec.rank))))
    if spec.symbolic and 0 in axes:
        raise FormatError("it reduces the batch")
    return x, axes, keep
