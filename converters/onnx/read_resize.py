"""Resizing: the engine's operator where it means the same, else a product with a constant matrix for each axis."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.layout import channels_last
from edge_sdk.converters.onnx.read_shape import movable
from edge_sdk.converters.onnx.resampling import Rule, matrix
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.geometry import Pair
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import Transpose
from edge_sdk.spec import Array


@reads("Resize", "Upsample")
def resize(c: Call) -> Tensor:
    """Another size along some axes, in any of ONNX's ways; each axis by itself."""
    x = movable(c, c.input(0))
    rule, axes, scales, sizes = _asked(c, x)
    regions = _regions(c, axes)
    moving = [index for index, (size, axis) in enumerate(zip(sizes, axes, strict=True)) if size != x.shape[axis]]
    if rule.coordinates == "tf_crop_and_resize":
        moving = list(range(len(axes)))
    op = _as_engine(rule, x, [axes[index] for index in moving], {axes[i]: sizes[i] for i in moving})
    if op is not None and x.dtype == "float32":
        return c.tensor(c.apply(op, c.images(x)), channels_last(4))
    held = x.held
    for index in moving:
        axis = axes[index]
        c.translation.budget.take(24 * (x.shape[axis] + 16) * sizes[index], described(c.node))
        weights, offset = matrix(rule, x.shape[axis], sizes[index], scales[index], regions[index])
        held = _along(c, held, x.layout.order.index(axis), weights, offset, nearest=rule.mode == "nearest")
    return c.tensor(held, x.layout)


def _asked(c: Call, x: Tensor) -> tuple[Rule, list[int], list[float], list[int]]:
    """The rule, and for each axis its number, its scale and its new size."""
    rank = x.rank
    mode = c.text("mode", "nearest")
    if c.node.op_type == "Upsample" or c.opset < 11:
        factors = c.reals("scales") if c.node.op_type == "Upsample" and c.opset < 9 else _numbers(c, 1)
        rule = Rule({"bilinear": "linear"}.get(mode, mode), "asymmetric", "floor")
        return rule, list(range(rank)), list(factors), [_size(c, x, a, f) for a, f in enumerate(factors)]
    rule = Rule(
        mode,
        c.text("coordinate_transformation_mode", "half_pixel"),
        c.text("nearest_mode", "round_prefer_floor"),
        c.real("cubic_coeff_a", -0.75),
        exclude_outside=bool(c.integer("exclude_outside", 0)),
        antialias=bool(c.integer("antialias", 0)),
        extrapolation=c.real("extrapolation_value", 0.0),
    )
    axes = [c.axis(axis, rank) for axis in c.integers("axes", tuple(range(rank)))]
    if c.has(3) and c.input(3).shape != (0,):
        sizes = list(c.sizes(3, "the sizes"))
        if len(sizes) != len(axes):
            raise c.unsupported(f"sizes {sizes} for axes {axes}")
        policy = c.text("keep_aspect_ratio_policy", "stretch")
        scales = [size / x.shape[axis] for size, axis in zip(sizes, axes, strict=True)]
        if policy != "stretch":
            scale = min(scales) if policy == "not_larger" else max(scales)
            sizes = [math.floor(scale * x.shape[axis] + 0.5) for axis in axes]
            scales = [scale] * len(axes)
        # A size that stays as it is, an open batch's too, is not resized.
        return rule, axes, scales, [x.shape[a] if s == x.shape[a] else s for s, a in zip(sizes, axes, strict=True)]
    factors = _numbers(c, 2)
    if len(factors) != len(axes):
        raise c.unsupported(f"scales {factors} for axes {axes}")
    return rule, axes, list(factors), [_size(c, x, a, f) for a, f in zip(axes, factors, strict=True)]


def _numbers(c: Call, index: int) -> tuple[float, ...]:
    return tuple(float(number) for number in c.array(index, "the scales").reshape(-1))


def _size(c: Call, x: Tensor, axis: int, scale: float) -> int:
    if axis >= x.rank or not 0 < scale < 1 << 20:
        raise c.unsupported(f"scale {scale} of axis {axis}")
    return x.shape[axis] if scale == 1 else math.floor(x.shape[axis] * scale)


def _regions(c: Call, axes: list[int]) -> list[tuple[float, float]]:
    if c.node.op_type == "Upsample" or c.opset < 11 or not c.has(1) or c.input(1).shape == (0,):
        return [(0.0, 1.0)] * len(axes)
    numbers = [float(number) for number in c.array(1, "the region").reshape(-1)]
    if len(numbers) != 2 * len(axes):
        raise c.unsupported(f"a region of {len(numbers)} numbers for {len(axes)} axes")
    return list(zip(numbers[: len(axes)], numbers[len(axes) :], strict=True))


def _as_engine(rule: Rule, x: Tensor, axes: list[int], sizes: dict[int, int]) -> Resize | None:
    """The engine's operator, where it reads the same positions."""
    if x.rank != 4 or not axes or not set(axes) <= {2, 3} or rule.antialias or min(sizes.values()) < 1:
        return None
    size: Pair = sizes.get(2, x.shape[2]), sizes.get(3, x.shape[3])
    exact = all(size[a - 2] % x.shape[a] == 0 for a in (2, 3))
    if rule.mode == "linear" and exact:
        if rule.coordinates == "asymmetric":
            return Resize(size, "bilinear", half_pixel_centers=False)
        if rule.coordinates in ("half_pixel", "pytorch_half_pixel") and min(size) > 1:
            return Resize(size, "bilinear")
    if rule.mode == "linear" and rule.coordinates == "align_corners" and min(size) > 1:
        return Resize(size, "bilinear", align_corners=True, half_pixel_centers=False)
    # Enlarging by whole numbers repeats pixels, however the nearest is chosen between its two rules.
    if rule.mode == "nearest" and exact and rule.coordinates == "asymmetric" and rule.nearest == "floor":
        return Resize(size, "nearest", half_pixel_centers=False)
    return None


def _along(c: Call, held: Held, place: int, weights: Array, offset: Array | None, *, nearest: bool) -> Held:
    """Y = weights · x along an axis as held."""
    if nearest and offset is None:
        return c.apply(Gather(place), held, Constant(weights.argmax(axis=1).astype(np.int64)))
    shape = c.shape(held)
    real = c.dtype(held)
    before, behind = shape[:place], shape[place + 1 :]
    if place == 0:  # the batch itself is resized
        before = (1,)
    matrices = c.translation.reshape(held, (*before[:1], math.prod(before[1:]), shape[place], math.prod(behind)))
    lead = c.shape(matrices)[:2]
    left = Constant(np.broadcast_to(weights.astype(real), (*(1 if n < 0 else n for n in lead), *weights.shape)))
    if lead[0] < 0:  # an open batch is no leading dimension of a constant: x · weightsᵀ on rows
        turned = c.apply(Transpose((0, 1, 3, 2)), matrices)
        rows = c.translation.reshape(turned, (-1, math.prod(lead[1:]) * math.prod(behind), 1, shape[place]))
        from edge_sdk.ops.conv import Conv2D

        by_output = Constant(weights.astype(real)[:, np.newaxis, np.newaxis, :])
        mixed = c.translation.reshape(
            c.apply(Conv2D(), rows, by_output), (-1, lead[1], math.prod(behind), len(weights))
        )
        y = c.apply(Transpose((0, 1, 3, 2)), mixed)
    else:
        y = c.apply(MatMul(), left, matrices)
    y = c.translation.reshape(y, (*shape[:place], len(weights), *behind))
    if offset is not None:
        y = c.apply(Add(), y, Constant(offset.astype(real).reshape(-1, *(1,) * len(behind))))
    return y
