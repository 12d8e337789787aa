"""Selecting by index."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.tflite.lowering import Lowering, Tensor, lower
from edge_sdk.converters.tflite.options import GatherOptions, MaximumMinimumOptions, OneHotOptions
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.graph import Node
from edge_sdk.ops.indexing import Gather, OneHot


@lower(Gather)
def gather(t: Lowering, op: Gather, node: Node) -> None:
    """GATHER, which stops at an index out of range; so computed indices are clamped before, as the operator says."""
    x, indices = t.read(node.inputs[0]), t.read(node.inputs[1])
    if not t.is_constant(node.inputs[1]):
        indices = _clamp(t, indices, x.spec.shape[op.axis], f"{node.output}/indices")
    t.emit(Builtin.GATHER, [x, indices], [t.declare(node.output)], GatherOptions(axis=op.axis))


@lower(OneHot)
def one_hot(t: Lowering, op: OneHot, node: Node) -> None:
    """ONE_HOT along a new last axis."""
    indices, y = t.read(node.inputs[0]), t.declare(node.output)
    depth = t.constant(f"{y.name}/depth", np.array(op.depth, np.int32))
    on, off = (t.constant(f"{y.name}/{name}", np.array(v, np.float32)) for name, v in (("on", 1), ("off", 0)))
    t.emit(Builtin.ONE_HOT, [indices, depth, on, off], [y], OneHotOptions(axis=-1))


def _clamp(t: Lowering, indices: Tensor, extent: int, name: str) -> Tensor:
    dtype = indices.spec.numpy_dtype
    raised = t.temporary(f"{name}_raised", indices.spec)
    zero = t.constant(f"{name}_lowest", np.array(0, dtype))
    t.emit(Builtin.MAXIMUM, [indices, zero], [raised], MaximumMinimumOptions())
    if extent < 0:  # the open batch has no last index that is known
        return raised
    clamped = t.temporary(f"{name}_clamped", indices.spec)
    last = t.constant(f"{name}_highest", np.array(extent - 1, dtype))
    t.emit(Builtin.MINIMUM, [raised, last], [clamped], MaximumMinimumOptions())
    return clamped
