"""Sequences of tensors, whose lengths are known while reading: lists that no graph ever holds."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.read_shape import concatenated, movable
from edge_sdk.converters.onnx.reshaping import expanded, reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Tensor, tensor_list
from edge_sdk.ops.shape import Split

LONGEST = 4096


@reads("SequenceEmpty")
def empty(c: Call) -> Tensor:
    """No tensors."""
    return tensor_list(())


@reads("SequenceConstruct")
def construct(c: Call) -> Tensor:
    """The inputs."""
    return tensor_list(tuple(c.input(index) for index in range(len(c.inputs))))


def _place(c: Call, index: int, length: int) -> int:
    place = int(c.array(index, "the position").reshape(()))
    if not -length <= place < length:
        raise c.unsupported(f"position {place} of a sequence of {length}")
    return place % length


@reads("SequenceAt")
def at(c: Call) -> Tensor:
    """The tensor at a position."""
    parts = c.sequence(0).parts
    return parts[_place(c, 1, len(parts))]


@reads("SequenceInsert")
def insert(c: Call) -> Tensor:
    """The sequence with one more tensor, before a position or at the end."""
    parts, new = c.sequence(0).parts, c.input(1)
    if len(parts) >= LONGEST:
        raise c.unsupported(f"a sequence of more than {LONGEST}")
    place = int(c.array(2, "the position").reshape(())) if c.has(2) else len(parts)
    if not -len(parts) <= place <= len(parts):
        raise c.unsupported(f"position {place} of a sequence of {len(parts)}")
    place = place + len(parts) if place < 0 else place
    return tensor_list((*parts[:place], new, *parts[place:]))


@reads("SequenceErase")
def erase(c: Call) -> Tensor:
    """The sequence without the tensor at a position, or without the last."""
    parts = c.sequence(0).parts
    place = _place(c, 1, len(parts)) if c.has(1) else len(parts) - 1
    return tensor_list((*parts[:place], *parts[place + 1 :]))


@reads("SequenceLength")
def length(c: Call) -> Tensor:
    """How many tensors there are."""
    return c.result(Constant(np.array(len(c.sequence(0).parts), np.int64)))


@reads("SplitToSequence")
def split(c: Call) -> Tensor:
    """Parts along an axis, as long as `split` says, or each of one element."""
    x = movable(c, c.input(0))
    axis = c.axis(c.integer("axis", 0), x.rank)
    size = x.shape[axis]
    given = c.array(1, "the sizes") if c.has(1) else np.array(1, np.int64)
    if given.ndim == 0:
        each = int(given)
        if each < 1 or not 0 <= size <= LONGEST * each:
            raise c.unsupported(f"parts of {each} of an axis of size {size}")
        sizes = tuple(min(each, size - start) for start in range(0, size, each))
    else:
        sizes = tuple(int(part) for part in given.reshape(-1))
    if not sizes or sum(sizes) != size or min(sizes) < 0 or len(sizes) > LONGEST:
        raise c.unsupported(f"sizes {sizes[:16]} of an axis of size {size}")
    held = c.translation.apply_multi(Split(x.layout.order.index(axis), sizes), x.held)
    parts = [c.tensor(part, x.layout) for part in held]
    if not c.has(1) and not c.integer("keepdims", 1):
        parts = [reshaped(c, part, part.shape[:axis] + part.shape[axis + 1 :]) for part in parts]
    return tensor_list(tuple(parts))


@reads("ConcatFromSequence")
def concat(c: Call) -> Tensor:
    """The tensors one after the other along an axis, or along a new one."""
    parts = list(c.sequence(0).parts)
    if not parts:
        raise c.unsupported("an empty sequence")
    new = bool(c.integer("new_axis", 0))
    axis = c.axis(c.integer("axis"), parts[0].rank + new)
    return concatenated(c, [expanded(c, part, (axis,)) for part in parts] if new else parts, axis)
