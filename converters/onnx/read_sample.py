"""Images read at the places that a grid names (Jaderberg et al. 2015)."""

from __future__ import annotations

import itertools
import math

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import channels_last
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.ops.elementwise import Abs, Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.functions import Apply, Remainder
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.logic import Compare, Where

CUBIC = -0.75
Tap = tuple[Held, Held]
"""Along one axis: whole places as real numbers, and the weight of what stands there."""


@reads("GridSample")
def grid_sample(c: Call) -> Tensor:
    """Σ over the taps around each place of weight · pixel."""
    x, grid = c.input(0), c.input(1)
    shape, places = c.fixed(x), c.fixed(grid)
    axes = x.rank - 2
    if not 1 <= axes <= 3 or grid.rank != x.rank or places[0] != shape[0] or places[-1] != axes or 0 in shape:
        raise c.unsupported(f"x has shape {shape}, the grid {places}")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(c.text("mode", "linear"), c.text("mode", "linear"))
    if mode not in ("nearest", "linear", "cubic"):
        raise c.unsupported(f"mode {mode!r}")
    held = c.cast(c.plain(grid), x.dtype)
    taps = [
        _taps(
            c,
            c.apply(Gather(grid.rank - 1), held, Constant(np.array(axes - 1 - axis, np.int64))),
            shape[axis + 2],
            mode,
        )
        for axis in range(axes)
    ]
    pixels = c.translation.reshape(c.images(x), (shape[0] * math.prod(shape[2:]), shape[1]))
    first = np.arange(shape[0], dtype=np.int64).reshape(-1, *(1,) * axes) * math.prod(shape[2:])
    total: Held | None = None
    for chosen in itertools.product(*taps):
        index: Held = Constant(first)
        weight: Held | None = None
        for axis, (place, share) in enumerate(chosen):
            stride = Constant(np.array(math.prod(shape[axis + 3 :]), np.int64))
            index = c.apply(Add(), index, c.apply(Mul(), c.cast(place, "int64"), stride))
            weight = share if weight is None else c.apply(Mul(), weight, share)
        if weight is None:
            raise c.unsupported("a grid of no axes")
        column = c.translation.reshape(weight, (*c.shape(weight), 1))
        part = c.apply(Mul(), c.apply(Gather(0), pixels, index), column)
        total = part if total is None else c.apply(Add(), total, part)
    if total is None:
        raise c.unsupported("a grid of no axes")
    return c.tensor(total, channels_last(x.rank))


def _taps(c: Call, position: Held, size: int, mode: str) -> list[Tap]:
    """What is read along an axis at positions from -1 to 1."""
    corners, padding = bool(c.integer("align_corners", 0)), c.text("padding_mode", "zeros")
    if padding not in ("zeros", "border", "reflection"):
        raise c.unsupported(f"padding_mode {padding!r}")
    extent = size - 1 if corners else size
    x = c.apply(Mul(), c.apply(Add(), position, c.number(1.0, position)), c.number(extent / 2, position))
    x = x if corners else c.apply(Sub(), x, c.number(0.5, x))
    if mode == "nearest":
        x = c.apply(Apply("round"), x)
    x = _inside(c, x, size, padding, corners=corners)
    if mode == "nearest":
        return [
            _tap(c, x, c.apply(Add(), c.apply(Mul(), x, c.number(0.0, x)), c.number(1.0, x)), size, padding, corners)
        ]
    base = c.apply(Apply("floor"), x)
    part = c.apply(Sub(), x, base)
    reach = range(2) if mode == "linear" else range(-1, 3)
    result = []
    for step in reach:
        place = c.apply(Add(), base, c.number(step, base))
        distance = c.apply(Abs(), c.apply(Sub(), part, c.number(step, part)))
        weight = c.apply(Sub(), c.number(1.0, part), distance)
        weight = weight if mode == "linear" else _cubic(c, distance, far=step in (-1, 2))
        result.append(_tap(c, place, weight, size, padding, corners))
    return result


def _inside(c: Call, x: Held, size: int, padding: str, *, corners: bool) -> Held:
    """Places brought into the image: clamped, or reflected at its border."""
    if padding == "zeros":
        return x
    if padding == "border":
        return c.apply(Minimum(), c.apply(Maximum(), x, c.number(0.0, x)), c.number(size - 1, x))
    start, length = (0.0, size - 1.0) if corners else (-0.5, float(size))
    if length == 0:
        return c.apply(Mul(), x, c.number(0.0, x))
    moved = c.apply(Remainder(), c.apply(Sub(), x, c.number(start, x)), c.number(2 * length, x))
    back = c.apply(Abs(), c.apply(Sub(), moved, c.number(length, x)))
    return c.apply(Sub(), c.number(length + start, x), back)


def _tap(c: Call, place: Held, weight: Held, size: int, padding: str, corners: bool) -> Tap:
    """A place inside of the image; what lies outside weighs nothing where the padding is zeros."""
    if padding == "zeros":
        zero = c.number(0.0, place)
        early = c.apply(Compare("less"), place, zero)
        late = c.apply(Compare("greater"), place, c.number(size - 1, place))
        weight = c.apply(Where(), early, zero, c.apply(Where(), late, zero, weight))
        return _inside(c, place, size, "border", corners=corners), weight
    return _inside(c, place, size, padding, corners=corners), weight


def _cubic(c: Call, distance: Held, *, far: bool) -> Held:
    """Keys' kernel (1981) by Horner's rule, near and far of the middle."""
    coefficients = (CUBIC, -5 * CUBIC, 8 * CUBIC, -4 * CUBIC) if far else (CUBIC + 2, -CUBIC - 3, 0.0, 1.0)
    y: Held = c.number(coefficients[0], distance)
    for each in coefficients[1:]:
        y = c.apply(Add(), c.apply(Mul(), y, distance), c.number(each, distance))
    return y
