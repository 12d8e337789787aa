"""Operators whose inputs are known when the file is read, such as the shapes that TensorFlow computes as it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import ConcatenationOptions, GatherOptions, PackOptions, SqueezeOptions
from edge_sdk.converters.tflite.read_shape import resolve_shape
from edge_sdk.converters.tflite.read_slice import strided_cut
from edge_sdk.converters.tflite.reading import Reading, axes_of, folds
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.spec import BATCH, Array

_ARITHMETIC: dict[Builtin, Callable[[Array, Array], Array]] = {
    Builtin.ADD: np.add,
    Builtin.SUB: np.subtract,
    Builtin.MUL: np.multiply,
    Builtin.MAXIMUM: np.maximum,
    Builtin.MINIMUM: np.minimum,
}


@folds(Builtin.SHAPE)
def shape(r: Reading, operator: FileOperator) -> Sequence[Array]:
    """The shape of a value, the open batch as −1."""
    x = r.value(operator, 0)
    r.shapes[operator.outputs[0]] = x
    return [np.array(r.spec(x).shape, _dtype(r, operator))]


@folds(Builtin.RESHAPE, Builtin.SQUEEZE, Builtin.EXPAND_DIMS)
def reshape(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """The same numbers in the shape that the file states, or that is asked for."""
    x = r.known(operator, 0)
    if x is None:
        return None
    if operator.code == Builtin.EXPAND_DIMS:
        return [np.expand_dims(x, axes_of(r.integers(operator, 1), x.ndim + 1))]
    if operator.code == Builtin.SQUEEZE:
        axes = axes_of(operator.options(SqueezeOptions).squeeze_dims, x.ndim)
        if any(x.shape[axis] != 1 for axis in axes):
            raise FormatError(f"it drops axes {axes} of {list(x.shape)}")
        return [np.squeeze(x, axes or None)]
    wanted = r.integers(operator, 1) if r.has(operator, 1) else r.file.tensors[operator.outputs[0]].shape
    resolved = resolve_shape(wanted, x.size, None)
    if math.prod(resolved) != x.size:
        raise FormatError(f"{x.size} elements are not as many as {list(resolved)} has")
    return [x.reshape(resolved)]


@folds(Builtin.TRANSPOSE)
def transpose(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """The axes in another order."""
    x = r.known(operator, 0)
    if x is None:
        return None
    axes = axes_of(r.integers(operator, 1), x.ndim)
    if sorted(axes) != list(range(x.ndim)):
        raise FormatError(f"{axes} is no order of {x.ndim} axes")
    return [x.transpose(axes)]


@folds(Builtin.PACK, Builtin.CONCATENATION)
def join(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """Arrays one after the other, along a new axis or along one that they have."""
    arrays = r.all_known(operator)
    if not arrays:
        return None
    if len({array.dtype for array in arrays}) > 1:
        raise FormatError("it joins numbers of several types")
    r.charge(sum(array.nbytes for array in arrays))
    try:
        if operator.code == Builtin.PACK:
            return [np.stack(arrays, operator.options(PackOptions).axis)]
        return [np.concatenate(arrays, operator.options(ConcatenationOptions).axis)]
    except ValueError as error:
        raise FormatError(f"its inputs cannot be joined ({error})") from error


@folds(Builtin.STRIDED_SLICE)
def strided_slice(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """A part."""
    x = r.known(operator, 0)
    if x is None:
        return None
    cut = strided_cut(r, operator, x.shape)
    for axis, kept in enumerate(cut.ranges):
        r.charge(8 * len(kept))
        x = x.take(np.array(kept, np.int64), axis=axis)
        r.charge(x.nbytes)
    return [x.reshape([size for axis, size in enumerate(x.shape) if axis not in cut.dropped])]


@folds(Builtin.GATHER)
def gather(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """Elements by index, of short lists."""
    arrays = r.all_known(operator)
    options = operator.options(GatherOptions)
    if arrays is None or options.batch_dims or arrays[1].dtype.kind not in "iu" or arrays[0].ndim != 1:
        return None
    x, indices = arrays
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < x.size:
        raise FormatError(f"its indices reach outside {x.size} elements")
    r.charge(indices.size * x.itemsize)
    return [x[indices]]


@folds(Builtin.CAST, Builtin.DEQUANTIZE, Builtin.QUANTIZE)
def convert(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """Real numbers, which they are already; whole ones as another type."""
    x = r.known(operator, 0)
    if x is None or (r.quantized and operator.code == Builtin.QUANTIZE):
        return None
    if operator.code != Builtin.CAST:
        return [x]
    wanted = _dtype(r, operator)
    if x.dtype.kind == "f" and wanted.kind != "f":
        return None
    r.charge(x.size * wanted.itemsize)
    return [x.astype(np.float32 if wanted.kind == "f" else wanted)]


@folds(*_ARITHMETIC)
def arithmetic(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """Sums, products, the larger and the smaller of whole numbers, as in the computation of a shape."""
    arrays = r.all_known(operator)
    if arrays is None or len(arrays) != 2 or any(array.dtype.kind not in "iu" or array.size > 64 for array in arrays):
        return None
    if r.depends_on_batch(operator):
        _check_batch_is_kept(Builtin(operator.code), *arrays)
    try:
        return [_ARITHMETIC[operator.code](*arrays)]  # type: ignore[index]
    except ValueError as error:
        raise FormatError(f"its inputs cannot be broadcast ({error})") from error


@folds(Builtin.FILL)
def fill(r: Reading, operator: FileOperator) -> Sequence[Array] | None:
    """A constant of a known shape."""
    arrays = r.all_known(operator)
    if arrays is None or r.depends_on_batch(operator) or arrays[1].size != 1:
        return None
    sizes = r.integers(operator, 0)
    if any(size < 0 for size in sizes):
        raise FormatError(f"it fills the shape {list(sizes)}")
    r.charge(math.prod(sizes) * arrays[1].itemsize)
    return [np.full(sizes, arrays[1].reshape(-1)[0], arrays[1].dtype)]


def _check_batch_is_kept(code: Builtin, a: Array, b: Array) -> None:
    """Refuse to compute with the open batch, which is −1 here, but for · 1, · 0 and + 0, which leave or drop it."""
    neutral = {Builtin.MUL: (0, 1), Builtin.ADD: (0,)}.get(code, ())
    try:
        a, b = np.broadcast_arrays(a, b)
    except ValueError:
        return  # said when they are computed
    if not np.isin(np.where(a == BATCH, b, a)[(a == BATCH) | (b == BATCH)], neutral).all():
        raise FormatError("it computes with the size of the batch")


def _dtype(r: Reading, operator: FileOperator) -> np.dtype[Any]:
    return np.dtype(r.file.tensors[operator.outputs[0]].dtype)
