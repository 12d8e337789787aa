"""Layers that move numbers, and the dense layer, whose columns depend on how they lie.

Caffe's images are (c, h, w), here they are (h, w, c). Rows that are flattened images stay in the order of the images
here for as long as nothing but the next dense layer depends on it: its columns are turned instead.
"""

from __future__ import annotations

import itertools
import math

from edge_sdk.converters.caffe.caffemodel import as_matrix
from edge_sdk.converters.caffe.conversion import Blob, Conversion, Shape, check_all_read, converts
from edge_sdk.converters.caffe.network import Layer
from edge_sdk.errors import FormatError
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.shape import Concat, Flatten, Split

_OF_IMAGES = {1: 3, 2: 1, 3: 2}
"""Where Caffe's axes of images lie here."""


@converts("InnerProduct")
def dense(c: Conversion, layer: Layer) -> None:
    """Weights (out, in), or (in, out) with `transpose`; images are flattened."""
    parameters = layer.parameters("inner_product_param")
    outputs, has_bias = parameters.integer("num_output", 0, 1), parameters.flag("bias_term", default=True)
    axis, transposed = parameters.integer("axis", 1), parameters.flag("transpose", default=False)
    check_all_read(parameters)
    x = c.bottom(layer)
    count = math.prod(x.shape)
    if axis != 1:
        raise FormatError(f"{layer}: axis {axis}; wanted 1, the whole blob as a row")
    blobs = c.weights(layer, 1 + has_bias, 1 + has_bias)
    weight = as_matrix(blobs[0])
    weight = weight.T if transposed else weight
    if weight.shape != (outputs, count):
        raise FormatError(f"{layer}: its weights are {list(weight.shape)}, but the definition wants {[outputs, count]}")
    image = x.shape if len(x.shape) == 3 else x.image
    if image is not None:
        weight = weight.reshape(outputs, *image).transpose(0, 2, 3, 1).reshape(outputs, count)
    rows = x.value if len(x.shape) == 1 else c.builder.add(Flatten(), x.value)
    bias = [c.param(f"{layer.name}.bias", blobs[1].reshape(-1))] if has_bias else []
    c.result(layer, c.add(layer, Linear(), rows, c.param(f"{layer.name}.weight", weight), *bias))


@converts("Flatten")
def flatten(c: Conversion, layer: Layer) -> None:
    """All axes but the batch as one."""
    parameters = layer.parameters("flatten_param")
    axis, end = parameters.integer("axis", 1), parameters.integer("end_axis", -1, -1)
    check_all_read(parameters)
    x = c.bottom(layer)
    if axis != 1 or end not in (-1, len(x.shape)):
        raise FormatError(f"{layer}: axes {axis} to {end}; wanted all but the first")
    if len(x.shape) == 3:
        rows = c.add(layer, Flatten(), x.value)
        c.blob_result(layer, Blob(rows, (math.prod(x.shape),), (x.shape[0], x.shape[1], x.shape[2])))
    elif len(x.shape) == 1:
        c.blob_result(layer, x)
    else:
        c.blob_result(layer, Blob(c.add(layer, Flatten(), x.value), (math.prod(x.shape),)))


@converts("Reshape")
def reshape(c: Conversion, layer: Layer) -> None:
    """Another shape; 0 keeps an axis, -1 follows from the others. The batch stays."""
    parameters = layer.parameters("reshape_param")
    sizes = parameters.message("shape").integers("dim", -1)
    axis, count = parameters.integer("axis", 0, -8), parameters.integer("num_axes", -1, -1)
    check_all_read(parameters)
    x = c.bottom(layer)
    shape = _reshaped(layer, (c.batch, *x.shape), sizes, axis, count)
    if shape == x.shape:
        c.blob_result(layer, x)
    else:
        c.blob_result(layer, c.from_plain(c.plain(x), shape, layer.name))


def _reshaped(layer: Layer, old: Shape, sizes: list[int], axis: int, count: int) -> Shape:
    """Caffe's ReshapeLayer::Reshape on (n, …); returns the shape without n."""
    start = axis if axis >= 0 else len(old) + 1 + axis
    end = len(old) if count < 0 else start + count
    wrong = (
        f"{layer}: the shape {sizes} for axes {start} to {end} of {list(old)}; wanted as many numbers, the batch first"
    )
    if not 0 <= start <= end <= len(old) or sizes.count(-1) > 1 or len(sizes) > 8:
        raise FormatError(wrong)
    copied = [old[start + i] if size == 0 and start + i < len(old) else size for i, size in enumerate(sizes)]
    shape = [*old[:start], *copied, *old[end:]]
    if -1 in shape:
        known = math.prod(size for size in shape if size != -1)
        if known == 0 or math.prod(old) % known:
            raise FormatError(wrong)
        shape[shape.index(-1)] = math.prod(old) // known
    if len(shape) < 2 or shape[0] != old[0] or math.prod(shape) != math.prod(old):
        raise FormatError(wrong)
    return tuple(shape[1:])


@converts("Concat")
def concat(c: Conversion, layer: Layer) -> None:
    """Blobs one after the other along an axis, usually the channels."""
    parameters = layer.parameters("concat_param")
    axis = parameters.integer("axis", parameters.integer("concat_dim", 1), -8)
    check_all_read(parameters)
    blobs = c.bottoms(layer)
    axis = axis if axis >= 0 else axis + 1 + len(blobs[0].shape)
    rank = len(blobs[0].shape)
    if not 1 <= axis <= rank or any(len(blob.shape) != rank for blob in blobs):
        raise FormatError(
            f"{layer}: axis {axis} of blobs of shapes {[list(b.shape) for b in blobs]}; wanted one but the batch"
        )
    if len(blobs) == 1:
        c.blob_result(layer, blobs[0])
        return
    values = [c.plain(blob) if rank == 1 else blob.value for blob in blobs]
    c.result(layer, c.add(layer, Concat(_OF_IMAGES[axis] if rank == 3 else axis), *values))


@converts("Slice")
def slice_(c: Conversion, layer: Layer) -> None:
    """A blob cut along an axis, at given points or into equal parts."""
    parameters = layer.parameters("slice_param")
    axis = parameters.integer("axis", parameters.integer("slice_dim", 1), -8)
    points = parameters.integers("slice_point", 1)
    check_all_read(parameters)
    x, parts = c.bottom(layer), len(layer.tops)
    rank = len(x.shape)
    axis = axis if axis >= 0 else axis + 1 + rank
    if not 1 <= axis <= rank or parts < 1:
        raise FormatError(f"{layer}: axis {axis} of a blob of shape {list(x.shape)}; wanted one but the batch")
    extent = x.shape[axis - 1]
    cuts = [0, *(points or [extent * i // parts for i in range(1, parts)]), extent]
    sizes = [after - before for before, after in itertools.pairwise(cuts)]
    if len(sizes) != parts or min(sizes) < 1 or (not points and extent % parts):
        raise FormatError(
            f"{layer}: cuts at {points} of {extent} for {parts} blobs; wanted rising ones, one less than blobs"
        )
    if parts == 1:
        c.blob_result(layer, x)
        return
    value = c.plain(x) if rank == 1 else x.value
    op = Split(_OF_IMAGES[axis] if rank == 3 else axis, tuple(sizes))
    for top, part, size in zip(layer.tops, c.builder.add_multi(op, value, name=layer.name), sizes, strict=True):
        c.set(top, Blob(part, (*x.shape[: axis - 1], size, *x.shape[axis:])))


@converts("Split")
def split(c: Conversion, layer: Layer) -> None:
    """One blob under several names."""
    x = c.bottom(layer)
    for top in layer.tops:
        c.set(top, x)
