"""Cutting out, padding and choosing by index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.options import GatherOptions, MirrorPadOptions, OneHotOptions, StridedSliceOptions
from edge_sdk.converters.tflite.reading import Reading, axes_of, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.indexing import Gather, OneHot
from edge_sdk.ops.shape import Pad, Slice, Squeeze
from edge_sdk.spec import Value


@reads(Builtin.PAD, Builtin.PADV2)
def pad(r: Reading, operator: FileOperator) -> None:
    """Pad with zeros, or with a number that is known."""
    x, paddings = r.value(operator, 0), _paddings(r, operator)
    value = 0.0
    if operator.code == Builtin.PADV2:
        value = _padded_number(r, operator)
    r.emit(operator, Pad(paddings, value), x)


def _padded_number(r: Reading, operator: FileOperator) -> float:
    tensor = r.tensor(operator, 2)
    if tensor.data is None or tensor.dtype is None or tensor.stored.size != 1:
        raise FormatError("it pads with a number that is not known before it runs")
    number = float(tensor.stored.reshape(-1)[0])
    if tensor.quant is not None:
        number = (number - tensor.quant.zero_point[0]) * tensor.quant.scale[0]
    if not np.isfinite(number):
        raise FormatError(f"it pads with {number}")
    return number


@reads(Builtin.MIRROR_PAD)
def mirror_pad(r: Reading, operator: FileOperator) -> None:
    """Gather along each padded axis, the border mirrored without itself (REFLECT) or with itself (SYMMETRIC)."""
    x, paddings = r.value(operator, 0), _paddings(r, operator)
    with_border = operator.options(MirrorPadOptions).mode
    chain: list[tuple[Op, tuple[Value, ...]]] = []
    for axis, ((before, after), extent) in enumerate(zip(paddings, r.spec(x).shape, strict=True)):
        if not before and not after:
            continue
        if not 0 <= max(before, after) <= extent - 1 + with_border or with_border not in (0, 1):
            raise FormatError(f"it mirrors {before} and {after} of {extent} elements")
        r.charge(8 * (before + extent + after))
        inside = np.arange(extent, dtype=np.int32)
        left, right = inside[1 - with_border :][:before][::-1], inside[::-1][1 - with_border :][:after]
        index = r.constant(operator, f"axis_{axis}", np.concatenate([left, inside, right]))
        chain.append((Gather(axis), (index,)))
    r.chain(operator, x, chain)


@reads(Builtin.SLICE)
def slice_(r: Reading, operator: FileOperator) -> None:
    """Slice."""
    x, begin, size = r.value(operator, 0), r.integers(operator, 1), r.integers(operator, 2)
    spec = r.spec(x)
    if spec.symbolic and begin[:1] == (0,) and size[:1] in ((-1,), (r.batch,)):
        size = (-1, *size[1:])
    r.emit(operator, Slice(begin, size), x)


@dataclass(frozen=True)
class Cut:
    """What a STRIDED_SLICE keeps of each axis, as ranges, and which axes it then drops."""

    ranges: tuple[range, ...]
    dropped: tuple[int, ...]


def strided_cut(r: Reading, operator: FileOperator, shape: tuple[int, ...]) -> Cut:
    """Return the cut out of an array of a shape; raises FormatError for masks that are not read."""
    options = operator.options(StridedSliceOptions)
    begin, end, strides = (r.integers(operator, position) for position in (1, 2, 3))
    if options.ellipsis_mask or options.new_axis_mask:
        raise FormatError("it adds axes, or leaves their number open, which is not read")
    if not len(begin) == len(end) == len(strides) <= len(shape) or 0 in strides:
        raise FormatError(f"it cuts {list(shape)} from {begin} to {end} in steps of {strides}")
    ranges, dropped = [range(extent) for extent in shape], []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit, extent = 1 << axis, shape[axis]
        if options.shrink_axis_mask & bit:
            (place,) = axes_of((first,), extent)
            ranges[axis] = range(place, place + 1)
            dropped.append(axis)
            continue
        chosen = slice(None if options.begin_mask & bit else first, None if options.end_mask & bit else last, step)
        ranges[axis] = range(*chosen.indices(extent))
    return Cut(tuple(ranges), tuple(dropped))


@reads(Builtin.STRIDED_SLICE)
def strided_slice(r: Reading, operator: FileOperator) -> None:
    """Slice, gather along axes with steps, squeeze along dropped ones."""
    x = r.value(operator, 0)
    spec = r.spec(x)
    sizes = (r.batch or 1, *spec.shape[1:]) if spec.symbolic else spec.shape
    cut = strided_cut(r, operator, sizes)
    if spec.symbolic and (cut.ranges[0] != range(sizes[0]) or 0 in cut.dropped):
        raise FormatError("it cuts the batch")
    begin = [kept.start if kept.step == 1 and len(kept) else 0 for kept in cut.ranges]
    size = [len(kept) if kept.step == 1 else -1 for kept in cut.ranges]
    if spec.symbolic:
        begin[0], size[0] = 0, -1
    chain: list[tuple[Op, tuple[Value, ...]]] = []
    if any(begin) or any(wanted not in (-1, extent) for wanted, extent in zip(size, spec.shape, strict=True)):
        chain.append((Slice(tuple(begin), tuple(size)), ()))
    for axis, kept in enumerate(cut.ranges):
        if kept.step != 1:
            r.charge(8 * len(kept))
            index = r.constant(operator, f"axis_{axis}", np.array(kept, np.int32))
            chain.append((Gather(axis), (index,)))
    if cut.dropped:
        chain.append((Squeeze(cut.dropped), ()))
    r.chain(operator, x, chain)


@reads(Builtin.GATHER)
def gather(r: Reading, operator: FileOperator) -> None:
    """Gather."""
    options = operator.options(GatherOptions)
    x, indices = r.values(operator, 2)
    if options.batch_dims:
        raise FormatError("it has indices of its own for each example (batch_dims), which is not read")
    (axis,) = axes_of((options.axis,), r.spec(x).rank)
    r.emit(operator, Gather(axis), x, indices)


@reads(Builtin.ONE_HOT)
def one_hot(r: Reading, operator: FileOperator) -> None:
    """one_hot with 1 and 0 along a new last axis."""
    indices, (depth,) = r.value(operator, 0), r.integers(operator, 1)
    on, off = r.known(operator, 2), r.known(operator, 3)
    last = operator.options(OneHotOptions).axis in (-1, r.spec(indices).rank)
    if not last or on is None or off is None or (on.reshape(-1).tolist(), off.reshape(-1).tolist()) != ([1], [0]):
        raise FormatError("it marks with other numbers than 1 and 0, or along another axis than a new last one")
    r.emit(operator, OneHot(depth), indices)


def _paddings(r: Reading, operator: FileOperator) -> tuple[tuple[int, int], ...]:
    numbers = r.integers(operator, 1)
    if len(numbers) % 2:
        raise FormatError(f"its paddings are {len(numbers)} numbers, wanted two for each axis")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
