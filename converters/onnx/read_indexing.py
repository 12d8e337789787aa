"""Selecting and placing by index."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.layout import Layout
from edge_sdk.converters.onnx.read_shape import movable
from edge_sdk.converters.onnx.reshaping import reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.op import Op
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.indexing import OneHot as EngineOneHot
from edge_sdk.ops.logic import Compare, Where
from edge_sdk.ops.shape import Concat
from edge_sdk.spec import BATCH, Array


def counted_from_start(c: Call, indices: Held, size: int) -> Held:
    """int64 indices in which negative ones, counted from the end, are replaced."""
    if isinstance(indices, Constant):
        array = indices.array.astype(np.int64)
        if array.size and not (-size <= array.min() and array.max() < size):
            raise c.unsupported(f"an index lies outside of an axis of size {size}")
        return Constant(np.where(array < 0, array + size, array))
    whole = c.cast(indices, "int64")
    negative = c.apply(Compare("less"), whole, c.number(0, whole))
    return c.apply(Where(), negative, c.apply(Add(), whole, c.number(size, whole)), whole)


@reads("Gather")
def gather(c: Call) -> Tensor:
    """What stands at the indices along an axis."""
    x, indices = movable(c, c.input(0)), c.input(1)
    axis = c.axis(c.integer("axis", 0), x.rank)
    if x.shape[axis] == BATCH:
        raise c.unsupported("it takes images out of an open batch")
    rank = indices.rank
    place = x.layout.order.index(axis)
    held = c.apply(Gather(place), x.held, counted_from_start(c, c.plain(indices), x.shape[axis]))

    def moved(old: int) -> int:
        return old if old < axis else old + rank - 1

    order = [moved(old) for old in x.layout.order if old != axis]
    order[place:place] = range(axis, axis + rank)
    return c.tensor(held, Layout(tuple(order)))


def _flat_gather(c: Call, x: Tensor, places: Held, shape: Sequence[int]) -> Tensor:
    """Y = x at places counted through all of it."""
    flat = c.translation.reshape(c.plain(x), (math.prod(c.fixed(x)),))
    return c.result(c.translation.reshape(c.apply(Gather(0), flat, places), tuple(shape)))


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


@reads("GatherElements")
def gather_elements(c: Call) -> Tensor:
    """For each element of the indices, what stands there along an axis."""
    x, indices = c.input(0), c.input(1)
    axis = c.axis(c.integer("axis", 0), x.rank)
    shape = c.fixed(indices)
    wanted = counted_from_start(c, c.plain(indices), c.fixed(x)[axis])
    strides = _strides(x.shape)
    step = c.apply(Mul(), wanted, Constant(np.array(strides[axis], np.int64)))
    offset = _offsets(c, shape, strides, axis)
    return _flat_gather(c, x, c.apply(Add(), step, Constant(offset)), shape)


def _offsets(c: Call, shape: Sequence[int], strides: Sequence[int], axis: int) -> Array:
    """Where each element's own place along the other axes is."""
    c.translation.budget.take(16 * math.prod(shape), described(c.node))
    total = np.zeros(shape, np.int64)
    for other, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        if other != axis:
            total += (np.arange(size) * stride).reshape(-1, *(1,) * (len(shape) - other - 1))
    return total


@reads("GatherND")
def gather_nd(c: Call) -> Tensor:
    """Blocks of x at places that the last axis of the indices names."""
    x, indices, batch = c.input(0), c.input(1), c.integer("batch_dims", 0)
    shape, places = c.fixed(x), c.fixed(indices)
    depth = places[-1]
    if not 0 <= batch < min(x.rank, indices.rank) or batch + depth > x.rank or shape[:batch] != places[:batch]:
        raise c.unsupported(f"x of shape {shape}, indices {places}, batch_dims {batch}")
    block = shape[batch + depth :]
    strides = [stride // max(math.prod(block), 1) for stride in _strides(shape)[: batch + depth]]
    total: Held = Constant(_offsets(c, places[:-1], [*strides[:batch], *(0,) * (len(places) - 1 - batch)], -1))
    for column in range(depth):
        one = c.apply(Gather(indices.rank - 1), c.plain(indices), Constant(np.array(column, np.int64)))
        wanted = counted_from_start(c, one, shape[batch + column])
        step = c.apply(Mul(), wanted, Constant(np.array(strides[batch + column], np.int64)))
        total = c.apply(Add(), total, step)
    rows = c.translation.reshape(c.plain(x), (math.prod(shape[: batch + depth]), *block))
    return c.result(c.apply(Gather(0), rows, total))


def _scatter(c: Call, x: Tensor, updates: Tensor, places: Array, mode: str) -> Tensor:
    """Y = x (flattened) with updates (flattened) at constant places: chosen, or combined one after the other."""
    shape = c.fixed(x)
    count = math.prod(shape)
    c.translation.budget.take(16 * (count + places.size), described(c.node))
    flat = c.translation.reshape(c.plain(x), (count,))
    new = c.translation.reshape(c.plain(updates), (places.size,))
    operators: dict[str, Op] = {"add": Add(), "mul": Mul(), "max": Maximum(), "min": Minimum()}
    if mode == "none":
        source = np.arange(count)
        source[places.reshape(-1)] = count + np.arange(places.size)  # of equal places the last one stays
        both = c.apply(Concat(0), flat, new)
        return c.result(c.translation.reshape(c.apply(Gather(0), both, Constant(source)), shape))
    if mode not in operators:
        raise c.unsupported(f"reduction {mode!r}")
    for chosen in _rounds(c, places.reshape(-1)):
        source = np.zeros(count, np.int64)
        there = np.zeros(count, bool)
        source[places.reshape(-1)[chosen]], there[places.reshape(-1)[chosen]] = chosen, True
        combined = c.apply(operators[mode], flat, c.apply(Gather(0), new, Constant(source)))
        flat = c.apply(Where(), Constant(there), combined, flat)
    return c.result(c.translation.reshape(flat, shape))


def _rounds(c: Call, places: Array) -> list[Array]:
    """Cut updates into rounds in which no place comes twice, each place's in their order."""
    order = np.argsort(places, kind="stable")
    ranks = np.zeros(places.size, np.int64)
    same = places[order]
    first = np.searchsorted(same, same, side="left")
    ranks[order] = np.arange(places.size) - first
    rounds = int(ranks.max(initial=-1)) + 1
    if rounds > 256:
        raise c.unsupported(f"{rounds} updates of one element")
    return [np.flatnonzero(ranks == number) for number in range(rounds)]


@reads("ScatterElements", "Scatter")
def scatter_elements(c: Call) -> Tensor:
    """Y = x with updates at constant indices along an axis."""
    x, updates = c.input(0), c.input(2)
    indices = c.array(1, "the indices")
    axis = c.axis(c.integer("axis", 0), x.rank)
    wanted = counted_from_start(c, Constant(indices), c.fixed(x)[axis])
    if not isinstance(wanted, Constant) or indices.ndim != x.rank or updates.shape != indices.shape:
        raise c.unsupported(f"indices of shape {indices.shape}, updates {updates.shape}")
    if any(n > m for place, (n, m) in enumerate(zip(indices.shape, x.shape, strict=True)) if place != axis):
        raise c.unsupported(f"indices of shape {indices.shape} for x of shape {x.shape}")
    strides = _strides(x.shape)
    places = wanted.array * strides[axis] + _offsets(c, indices.shape, strides, axis)
    return _scatter(c, x, updates, places, c.text("reduction", "none"))


@reads("ScatterND")
def scatter_nd(c: Call) -> Tensor:
    """Y = x with blocks of updates at constant places."""
    x, updates = c.input(0), c.input(2)
    indices = c.array(1, "the indices").astype(np.int64)
    shape = c.fixed(x)
    depth = indices.shape[-1] if indices.ndim else 0
    if not 1 <= depth <= x.rank or updates.shape != (*indices.shape[:-1], *shape[depth:]):
        raise c.unsupported(f"indices of shape {indices.shape}, updates {updates.shape} for x of shape {shape}")
    sizes = np.array(shape[:depth])
    if indices.size and (np.any(indices < -sizes) or np.any(indices >= sizes)):
        raise c.unsupported("an index lies outside of x")
    block = math.prod(shape[depth:])
    rows = (np.where(indices < 0, indices + sizes, indices) * np.array(_strides(shape)[:depth])).sum(axis=-1)
    c.translation.budget.take(8 * rows.size * block, described(c.node))
    places = rows[..., np.newaxis] + np.arange(block)
    return _scatter(c, x, updates, places, c.text("reduction", "none"))


@reads("OneHot")
def one_hot(c: Call) -> Tensor:
    """Two values: one at the index, the other elsewhere."""
    indices, values = c.input(0), c.input(2)
    depth = int(c.array(1, "the depth").reshape(-1)[0])
    if not 1 <= depth <= 1 << 24:
        raise c.unsupported(f"depth {depth}")
    axis = c.axis(c.integer("axis", -1), indices.rank + 1)
    whole = c.cast(c.plain(indices), "int64")
    negative = c.apply(Compare("less"), whole, c.number(0, whole))
    whole = c.apply(Where(), negative, c.apply(Add(), whole, c.number(depth, whole)), whole)
    hot = c.apply(Compare("equal"), c.apply(EngineOneHot(depth), whole), Constant(np.array(1, np.float32)))
    off, on = (c.apply(Gather(0), c.plain(values), Constant(np.array(each, np.int64))) for each in (0, 1))
    chosen = c.apply(Where(), hot, on, off)
    order = [each if each < axis else each + 1 for each in range(indices.rank)]
    return c.tensor(chosen, Layout((*order, axis)))


@reads("Trilu")
def triangle(c: Call) -> Tensor:
    """The upper or lower triangle of matrices, 0 elsewhere."""
    x = c.input(0)
    if x.rank < 2:
        raise c.unsupported(f"x has shape {x.shape}, wanted matrices")
    rows, columns = x.shape[-2:]
    shift = int(c.array(1, "the diagonal").reshape(())) if c.has(1) else 0
    shift = max(min(shift, columns + 1), -rows - 1)
    c.translation.budget.take(rows * columns, described(c.node))
    below = np.arange(rows)[:, np.newaxis] + shift > np.arange(columns)
    below = below if c.integer("upper", 1) else np.arange(rows)[:, np.newaxis] + shift < np.arange(columns)
    held = c.plain(x)
    return c.result(c.apply(Where(), Constant(below), c.number(0, held), held))


@reads("ReverseSequence")
def reverse_sequence(c: Call) -> Tensor:
    """The first so many steps of each example, backwards."""
    x, lengths = c.input(0), c.array(1, "the lengths").astype(np.int64)
    batch, time = c.axis(c.integer("batch_axis", 1), x.rank), c.axis(c.integer("time_axis", 0), x.rank)
    shape = c.fixed(x)
    if lengths.shape != (shape[batch],) or batch == time or np.any((lengths < 0) | (lengths > shape[time])):
        raise c.unsupported(f"lengths {lengths.shape} for x of shape {shape}")
    steps = np.arange(shape[time])
    places = np.where(steps < lengths[:, np.newaxis], lengths[:, np.newaxis] - 1 - steps, steps)
    places = places if batch < time else places.T
    between = [1] * x.rank
    between[batch], between[time] = shape[batch], shape[time]
    strides = _strides(shape)
    full = np.broadcast_to(places.reshape(between) * strides[time], shape) + _offsets(c, shape, strides, time)
    return _flat_gather(c, x, Constant(np.ascontiguousarray(full)), shape)


@reads("Compress")
def compress(c: Call) -> Tensor:
    """Where a constant condition holds along an axis, or of all elements."""
    x, condition = movable(c, c.input(0)), c.array(1, "the condition")
    if not c.given("axis"):
        x = reshaped(c, x, (math.prod(c.fixed(x)),))
    axis = c.axis(c.integer("axis", 0), x.rank)
    chosen = np.flatnonzero(condition)
    if condition.ndim != 1 or len(condition) > x.shape[axis]:
        raise c.unsupported(f"a condition of shape {condition.shape} for axis {axis} of x of shape {x.shape}")
    held = c.apply(Gather(x.layout.order.index(axis)), x.held, Constant(chosen.astype(np.int64)))
    return c.tensor(held, x.layout)
