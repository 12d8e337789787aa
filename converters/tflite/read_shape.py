"""Operators that change shapes and cut or join. In a file the batch has a size; here it is open where it was."""

from __future__ import annotations

import math

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import (
    ConcatenationOptions,
    DepthToSpaceOptions,
    PackOptions,
    ReshapeOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    SpaceToDepthOptions,
    SqueezeOptions,
    UnpackOptions,
)
from edge_sdk.converters.tflite.reading import Reading, axes_of, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import BroadcastTo, Concat, ExpandDims, Flatten, Reshape, Split, Squeeze, Transpose
from edge_sdk.spec import BATCH, Value

MOST_COPIES = 64
"""Copies that a TILE may make along an axis."""


@reads(Builtin.RESHAPE)
def reshape(r: Reading, operator: FileOperator) -> None:
    """reshape, or flatten; the batch stays the first axis."""
    x = r.value(operator, 0)
    spec = r.spec(x)
    wanted = _wanted_shape(r, operator)
    sizes = (r.batch or 1, *spec.shape[1:]) if spec.symbolic else spec.shape
    shape = resolve_shape(wanted, math.prod(sizes), r.batch if r.depends_on_batch(operator) else None)
    if spec.symbolic and (not shape or shape[0] != sizes[0]):
        raise FormatError(f"it makes {list(shape)} of {list(sizes)}, which does not keep the batch as the first axis")
    if spec.symbolic:
        shape = (BATCH, *shape[1:])
    op: Op = Flatten() if len(shape) == 2 < spec.rank and shape[0] == spec.shape[0] else Reshape(shape)
    r.emit(operator, op, x)


def _wanted_shape(r: Reading, operator: FileOperator) -> tuple[int, ...]:
    if r.has(operator, 1) and r.known(operator, 1) is not None:
        return r.integers(operator, 1)
    return operator.options(ReshapeOptions).new_shape or r.file.tensors[operator.outputs[0]].shape


def resolve_shape(wanted: tuple[int, ...], elements: int, batch: int | None) -> tuple[int, ...]:
    """Return a shape for so many elements whose −1 follows from the others, or is the batch where two are −1."""
    if wanted.count(-1) == 2 and wanted[0] == BATCH and batch is not None:
        wanted = (batch, *wanted[1:])
    known = math.prod(size for size in wanted if size != -1)
    if wanted.count(-1) > 1 or any(size < -1 for size in wanted) or (-1 in wanted and (not known or elements % known)):
        raise FormatError(f"no shape like {list(wanted)} has {elements} elements")
    return tuple(elements // known if size == -1 else size for size in wanted)


@reads(Builtin.SQUEEZE)
def squeeze(r: Reading, operator: FileOperator) -> None:
    """Squeeze; without axes all of size 1 but the batch."""
    x = r.value(operator, 0)
    spec = r.spec(x)
    stated = operator.options(SqueezeOptions).squeeze_dims
    axes = axes_of(stated, spec.rank) or tuple(axis for axis, size in enumerate(spec.shape) if size == 1)
    r.chain(operator, x, [(Squeeze(tuple(sorted(set(axes)))), ())] if axes else [])


@reads(Builtin.EXPAND_DIMS)
def expand_dims(r: Reading, operator: FileOperator) -> None:
    """expand_dims."""
    x = r.value(operator, 0)
    r.emit(operator, ExpandDims(axes_of(r.integers(operator, 1), r.spec(x).rank + 1)), x)


@reads(Builtin.TRANSPOSE)
def transpose(r: Reading, operator: FileOperator) -> None:
    """Transpose."""
    x = r.value(operator, 0)
    r.emit(operator, Transpose(axes_of(r.integers(operator, 1), r.spec(x).rank)), x)


@reads(Builtin.CONCATENATION)
def concatenation(r: Reading, operator: FileOperator) -> None:
    """Concat."""
    options = operator.options(ConcatenationOptions)
    values = r.values(operator, len(operator.inputs))
    if not values:
        raise FormatError("it joins nothing")
    (axis,) = axes_of((options.axis,), r.spec(values[0]).rank)
    r.emit(operator, Concat(axis), *values, activation=options.fused_activation_function)


@reads(Builtin.SPLIT)
def split(r: Reading, operator: FileOperator) -> None:
    """Split into equal parts."""
    x = r.value(operator, 1)
    axis = _one_axis(r, operator, 0, x)
    extent, parts = r.spec(x).shape[axis], len(operator.outputs)
    if not parts or extent % parts:
        raise FormatError(f"it cuts {extent} into {parts} equal parts")
    r.emit(operator, Split(axis, (extent // parts,) * parts), x)


@reads(Builtin.SPLIT_V)
def split_v(r: Reading, operator: FileOperator) -> None:
    """Split into parts of given sizes, of which one may be what is left."""
    x = r.value(operator, 0)
    axis = _one_axis(r, operator, 2, x)
    sizes = r.integers(operator, 1)
    rest = r.spec(x).shape[axis] - sum(size for size in sizes if size != -1)
    r.emit(operator, Split(axis, tuple(rest if size == -1 else size for size in sizes)), x)


@reads(Builtin.PACK)
def pack(r: Reading, operator: FileOperator) -> None:
    """Concat along a new axis."""
    values = r.values(operator, len(operator.inputs))
    if not values:
        raise FormatError("it joins nothing")
    (axis,) = axes_of((operator.options(PackOptions).axis,), r.spec(values[0]).rank + 1)
    r.emit(operator, Concat(axis), *(r.step(operator, ExpandDims((axis,)), value) for value in values))


@reads(Builtin.UNPACK)
def unpack(r: Reading, operator: FileOperator) -> None:
    """Split into parts of size 1, whose axis goes."""
    x = r.value(operator, 0)
    (axis,) = axes_of((operator.options(UnpackOptions).axis,), r.spec(x).rank)
    parts = r.steps(operator, Split(axis, (1,) * len(operator.outputs)), x)
    r.alias(operator, *(r.step(operator, Squeeze((axis,)), part) for part in parts))


@reads(Builtin.TILE)
def tile(r: Reading, operator: FileOperator) -> None:
    """Concat of copies, axis by axis."""
    x, copies = r.value(operator, 0), r.integers(operator, 1)
    if len(copies) != r.spec(x).rank or not all(1 <= count <= MOST_COPIES for count in copies):
        raise FormatError(f"it repeats {r.spec(x)} {copies} times; up to {MOST_COPIES} along each axis are read")
    for axis, count in enumerate(copies):
        if count > 1:
            x = r.step(operator, Concat(axis), *(x,) * count)
    r.alias(operator, x)


@reads(Builtin.BROADCAST_TO)
def broadcast_to(r: Reading, operator: FileOperator) -> None:
    """broadcast_to."""
    x, shape = r.value(operator, 0), r.integers(operator, 1)
    if r.spec(x).symbolic and len(shape) == r.spec(x).rank and shape[0] in (BATCH, r.batch):
        shape = (BATCH, *shape[1:])
    r.emit(operator, BroadcastTo(shape), x)


@reads(Builtin.RESIZE_BILINEAR)
def resize_bilinear(r: Reading, operator: FileOperator) -> None:
    """Resize by mixing pixels."""
    options = operator.options(ResizeBilinearOptions)
    op = Resize(_two(r, operator), "bilinear", options.align_corners, options.half_pixel_centers)
    r.emit(operator, op, r.value(operator, 0))


@reads(Builtin.RESIZE_NEAREST_NEIGHBOR)
def resize_nearest(r: Reading, operator: FileOperator) -> None:
    """Resize by choosing pixels."""
    options = operator.options(ResizeNearestNeighborOptions)
    op = Resize(_two(r, operator), "nearest", options.align_corners, options.half_pixel_centers)
    r.emit(operator, op, r.value(operator, 0))


@reads(Builtin.SPACE_TO_DEPTH)
def space_to_depth(r: Reading, operator: FileOperator) -> None:
    """Squares of pixels as channels, the pixel the slower index."""
    x, size = _image(r, operator), operator.options(SpaceToDepthOptions).block_size
    n, h, w, c = r.spec(x).shape
    if size < 1 or h % size or w % size:
        raise FormatError(f"squares of {size} pixels do not fit {r.spec(x)}")
    _regroup(r, operator, x, (n, h // size, size, w // size, size, c), (n, h // size, w // size, size * size * c))


@reads(Builtin.DEPTH_TO_SPACE)
def depth_to_space(r: Reading, operator: FileOperator) -> None:
    """Channels as squares of pixels, the pixel the slower index."""
    x, size = _image(r, operator), operator.options(DepthToSpaceOptions).block_size
    n, h, w, c = r.spec(x).shape
    if size < 1 or c % (size * size):
        raise FormatError(f"the channels of {r.spec(x)} are no squares of {size} pixels")
    depth = c // (size * size)
    _regroup(r, operator, x, (n, h, w, size, size, depth), (n, h * size, w * size, depth))


def _regroup(r: Reading, operator: FileOperator, x: Value, apart: tuple[int, ...], joined: tuple[int, ...]) -> None:
    """Exchange the axes 2 and 3 of x seen as (n, a, b, c, d, e)."""
    r.chain(operator, x, [(Reshape(apart), ()), (Transpose((0, 1, 3, 2, 4, 5)), ()), (Reshape(joined), ())])


def _image(r: Reading, operator: FileOperator) -> Value:
    x = r.value(operator, 0)
    if r.spec(x).rank != 4:
        raise FormatError(f"its input is {r.spec(x)}, wanted images")
    return x


def _one_axis(r: Reading, operator: FileOperator, position: int, x: Value) -> int:
    axes = axes_of(r.integers(operator, position), r.spec(x).rank)
    if len(axes) != 1:
        raise FormatError(f"it names {len(axes)} axes, wanted one")
    return axes[0]


def _two(r: Reading, operator: FileOperator) -> tuple[int, int]:
    sizes = r.integers(operator, 1)
    if len(sizes) != 2:
        raise FormatError(f"its new size is {list(sizes)}, wanted height and width")
    return sizes[0], sizes[1]
