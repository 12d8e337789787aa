"""Tensors that the file states or computes from sizes."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.proto import dtype_name, tensor_array
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Tensor, constant
from edge_sdk.converters.onnx.translation import OPEN
from edge_sdk.spec import BATCH

ONNX_FLOAT = 1
LARGEST_ELEMENTS = 1 << 31


@reads("Constant")
def constant_tensor(c: Call) -> Tensor:
    """A tensor, number or list of numbers."""
    name = c.node.output[0] if c.node.output else ""
    if c.given("value"):
        return constant(tensor_array(c.proto("value", "t"), None), name)
    if c.given("value_float"):
        return constant(np.array(c.real("value_float"), np.float32), name)
    if c.given("value_int"):
        return constant(np.array(c.integer("value_int"), np.int64), name)
    if c.given("value_floats"):
        return constant(np.array(c.reals("value_floats"), np.float32), name)
    if c.given("value_ints"):
        return constant(np.array(c.integers("value_ints"), np.int64), name)
    raise c.unsupported("strings and sparse tensors are not read")


@reads("ConstantOfShape")
def constant_of_shape(c: Call) -> Tensor:
    """One number, broadcast: it takes no memory before it is used."""
    filled = tensor_array(c.proto("value", "t"), None) if c.given("value") else np.zeros(1, np.float32)
    if filled.size != 1:
        raise c.unsupported(f"its value has {filled.size} elements, wanted 1")
    shape = _sizes(c, c.sizes(0, "the shape"))
    c.translation.budget.allow(int(np.prod(shape, dtype=np.float64)) * filled.itemsize, described(c.node))
    return constant(np.broadcast_to(filled.reshape(()), shape), c.node.output[0])


def _sizes(c: Call, shape: tuple[int, ...]) -> tuple[int, ...]:
    total = 1
    for size in shape:
        total *= max(size, 1)
        if size < 0 or total > LARGEST_ELEMENTS:
            raise c.unsupported(f"shape {shape} is too large, or has a negative or open size")
    return shape


@reads("Shape")
def shape(c: Call) -> Tensor:
    """The sizes of x, from `start` to `end`."""
    x = c.input(0)
    sizes = [OPEN if size == BATCH else size for size in x.shape]
    start, end = c.integer("start", 0), c.integer("end", x.rank)
    return c.result(Constant(np.array(sizes[slice(start, end)], np.int64)))


@reads("Size")
def size(c: Call) -> Tensor:
    """How many elements x has."""
    return c.result(Constant(np.array(int(np.prod(c.fixed(c.input(0)), dtype=np.int64)), np.int64)))


@reads("Range")
def numbers(c: Call) -> Tensor:
    """Numbers from start to limit by steps."""
    start, limit, delta = (c.array(index, "a bound").reshape(()) for index in range(3))
    if delta == 0 or not all(np.isfinite([start, limit, delta])):
        raise c.unsupported(f"from {start} to {limit} in steps of {delta}")
    count = max(int(np.ceil((float(limit) - float(start)) / float(delta))), 0)
    if start.dtype.kind == "i":
        count = max(-((int(start) - int(limit)) // int(delta)), 0)
    c.translation.budget.take(count * start.itemsize, described(c.node))
    steps = np.arange(count, dtype=np.float64 if start.dtype.kind == "f" else np.int64)
    return c.result(Constant((start + steps * delta).astype(start.dtype)))


@reads("EyeLike")
def eye_like(c: Call) -> Tensor:
    """1 on a diagonal."""
    x = c.input(0)
    rows, columns = _sizes(c, c.fixed(x))
    dtype = dtype_name(c.integer("dtype"), "the result") if c.given("dtype") else x.dtype
    c.translation.budget.take(rows * columns * np.dtype(dtype).itemsize, described(c.node))
    return c.result(Constant(np.eye(rows, columns, k=c.integer("k", 0), dtype=dtype)))


@reads("If")
def branch(c: Call) -> tuple[Tensor | None, ...]:
    """The branch that a constant condition takes, in place of the node."""
    condition = c.array(0, "the condition")
    if condition.size != 1:
        raise c.unsupported(f"the condition has {condition.size} elements")
    return c.inline(c.proto("then_branch" if condition.reshape(()) else "else_branch", "g"), ())
