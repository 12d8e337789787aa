"""Operators that move elements."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.read_reduce import without
from edge_sdk.converters.onnx.reshaping import expanded, reshaped, transposed
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.converters.onnx.translation import OPEN, OpenBatchError
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.shape import Concat, Pad, Slice, Split, Transpose
from edge_sdk.spec import BATCH


@reads("Reshape")
def reshape(c: Call) -> Tensor:
    """The elements in another shape; 0 keeps a size and -1 is what is left."""
    x = c.input(0)
    if c.has(1):
        array = c.array(1, "the shape")
        wanted = [int(size) for size in array.reshape(-1)]
        c.sizes(1, "the shape")
        open_at = [size == OPEN for size in wanted]
        wanted = [BATCH if size == OPEN else size for size in wanted]
    else:
        wanted = list(c.integers("shape"))
        open_at = [False] * len(wanted)
    if not c.integer("allowzero", 0):
        if any(size == 0 and index >= x.rank for index, size in enumerate(wanted)):
            raise c.unsupported(f"shape {wanted} keeps a size that x of shape {x.shape} does not have")
        open_at = [
            o or (size == 0 and x.shape[i] == BATCH) for i, (o, size) in enumerate(zip(open_at, wanted, strict=True))
        ]
        wanted = [x.shape[index] if size == 0 else size for index, size in enumerate(wanted)]
    return reshaped(c, x, _resolved(c, x, wanted, open_at))


def _resolved(c: Call, x: Tensor, wanted: list[int], open_at: list[bool]) -> tuple[int, ...]:
    """The sizes asked for, with the one that follows from the others."""
    where = described(c.node)
    if BATCH not in x.shape:
        known = math.prod(size for size in wanted if size != -1)
        if wanted.count(-1) == 1 and known > 0:
            wanted = [math.prod(x.shape) // known if size == -1 else size for size in wanted]
        if wanted.count(-1) == 1 and known == 0 and 0 in x.shape:
            wanted = [0 if size == -1 else size for size in wanted]
        if min(wanted, default=1) < 0 or math.prod(wanted) != math.prod(x.shape):
            raise c.unsupported(f"x of shape {x.shape} has not as many elements as {wanted}")
        return tuple(wanted)
    # An open batch stays first: as itself, as the size that follows from the others, or as the 1 that the file says.
    rest = math.prod(x.shape[1:])
    others = wanted[1:]
    follows = [i for i, size in enumerate(others) if size == -1 and not open_at[i + 1]]
    if any(open_at[1:]) or len(follows) > 1 or not wanted:
        raise OpenBatchError(f"{where}: moves the batch from the first place")
    if follows:
        known = math.prod(size for size in others if size != -1)
        if known <= 0 or rest % known:
            raise OpenBatchError(f"{where}: mixes images of the batch")
        others[follows[0]] = rest // known
    if math.prod(others) != rest or not (open_at[0] or wanted[0] in (-1, 1)):
        raise OpenBatchError(f"{where}: mixes images of the batch")
    return BATCH, *others


@reads("Flatten")
def flatten(c: Call) -> Tensor:
    """A matrix: the axes before `axis` times the others."""
    x = c.input(0)
    axis = c.integer("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    if not 0 <= axis <= x.rank:
        raise c.unsupported(f"axis {axis} of a tensor of rank {x.rank}")
    rows, columns = x.shape[:axis], x.shape[axis:]
    if BATCH in x.shape and axis != 1 and (math.prod(rows[1:]) != 1 or not axis):
        raise OpenBatchError(f"{described(c.node)}: mixes images of the batch")
    first = BATCH if BATCH in rows else math.prod(rows)
    return reshaped(c, x, (first, math.prod(columns)))


@reads("Transpose")
def transpose(c: Call) -> Tensor:
    """The axes in another order, in name only."""
    x = c.input(0)
    return transposed(c, x, c.integers("perm", tuple(reversed(range(x.rank)))))


def _axes(c: Call, rank: int) -> tuple[int, ...] | None:
    if c.has(1):
        return c.axes(c.sizes(1, "the axes"), rank)
    return c.axes(c.integers("axes"), rank) if c.given("axes") else None


@reads("Squeeze")
def squeeze(c: Call) -> Tensor:
    """Without axes of size 1."""
    x = c.input(0)
    axes = _axes(c, x.rank)
    chosen = tuple(axis for axis, size in enumerate(x.shape) if size == 1) if axes is None else axes
    if any(x.shape[axis] != 1 for axis in chosen):
        raise OpenBatchError(f"{described(c.node)}: axes {chosen} of shape {x.shape} have not all size 1")
    if x.layout.inner:
        x = c.result(c.plain(x))
    return without(c, x, chosen)


@reads("Unsqueeze")
def unsqueeze(c: Call) -> Tensor:
    """With new axes of size 1."""
    x = c.input(0)
    count = len(c.sizes(1, "the axes")) if c.has(1) else len(c.integers("axes"))
    axes = _axes(c, x.rank + count) or ()
    return expanded(c, x, axes)


@reads("Concat")
def concat(c: Call) -> Tensor:
    """One after the other along an axis."""
    parts = [c.input(index) for index in range(len(c.inputs))]
    return concatenated(c, parts, c.axis(c.integer("axis", 1 if c.opset < 4 else None), parts[0].rank))


def concatenated(c: Call, parts: list[Tensor], axis: int) -> Tensor:
    """Tensors one after the other, in the layout of the largest."""
    rank = parts[0].rank
    if any(part.rank != rank for part in parts):
        raise c.unsupported(f"shapes {[part.shape for part in parts]} differ in rank")
    layout = _common_layout(parts)
    held = [c.translation.hold(part, layout) for part in parts]
    return c.tensor(c.apply(Concat(layout.order.index(axis)), *held), layout)


def _common_layout(parts: list[Tensor]) -> Layout:
    """The layout of the largest computed part."""
    computed = [part for part in parts if not isinstance(part.held, Constant) and not part.layout.inner]
    if not computed:
        return plain(parts[0].rank)
    return max(computed, key=lambda part: (math.prod(part.shape[1:]), not part.layout.plain)).layout


def movable(c: Call, x: Tensor) -> Tensor:
    """A tensor whose axes can be worked on one by one."""
    return c.result(c.plain(x)) if x.layout.inner else x


@reads("Split")
def split(c: Call) -> tuple[Tensor | None, ...]:
    """Parts along an axis."""
    x = movable(c, c.input(0))
    axis = c.axis(c.integer("axis", 0), x.rank)
    size, count = x.shape[axis], len(c.node.output)
    if c.has(1):
        sizes = c.sizes(1, "the sizes")
    elif c.given("split"):
        sizes = c.integers("split")
    else:
        each = -(-size // count)
        sizes = tuple(max(min(each, size - each * index), 0) for index in range(count))
    if size == BATCH or sum(sizes) != size or len(sizes) != count:
        raise c.unsupported(f"sizes {sizes} of axis {axis} of shape {x.shape} for {count} outputs")
    parts = c.translation.apply_multi(Split(x.layout.order.index(axis), sizes), x.held)
    return tuple(c.tensor(part, x.layout) for part in parts)


@reads("Slice")
def cut(c: Call) -> Tensor:
    """A block, or every so many elements of it."""
    x = movable(c, c.input(0))
    if c.opset < 10:
        starts, ends = c.integers("starts"), c.integers("ends")
        axes, steps = c.integers("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = (tuple(int(n) for n in c.array(index, "a bound").reshape(-1)) for index in (1, 2))
        axes = c.sizes(3, "the axes") if c.has(3) else tuple(range(len(starts)))
        steps = c.sizes(4, "the steps") if c.has(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise c.unsupported(f"starts {starts}, ends {ends}, axes {axes}, steps {steps}")
    held = x.held
    begin, size = [0] * x.rank, [-1] * x.rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = c.axis(axis, x.rank)
        place, extent = x.layout.order.index(axis), x.shape[axis]
        if extent == BATCH:
            if (start, step) != (0, 1) or end < 1 << 31:
                raise OpenBatchError(f"{described(c.node)}: cuts the batch")
            continue
        chosen = range(extent)[slice(start, end, step)]
        if step == 1:
            begin[place], size[place] = chosen.start if len(chosen) else 0, len(chosen)
        else:
            places = Constant(c.translation.count(len(chosen)) * step + chosen.start)
            held = c.apply(Gather(place), held, places)
    if any(begin) or any(n != -1 and n != m for n, m in zip(size, c.shape(held), strict=True)):
        held = c.apply(Slice(tuple(begin), tuple(size)), held)
    return c.tensor(held, x.layout)


@reads("Pad")
def pad(c: Call) -> Tensor:
    """Elements added before and behind: a number, or the image's own border; negative ones are cut off."""
    x = movable(c, c.input(0))
    mode = c.text("mode", "constant")
    if c.opset < 11:
        pads, value = c.integers("pads" if c.opset >= 2 else "paddings"), c.real("value", 0.0)
    else:
        pads = c.sizes(1, "the paddings")
        value = float(c.array(2, "the value").reshape(())) if c.has(2) and c.array(2, "the value").size else 0.0
    axes = tuple(c.axis(axis, x.rank) for axis in c.sizes(3, "the axes")) if c.has(3) else tuple(range(x.rank))
    if len(pads) != 2 * len(axes):
        raise c.unsupported(f"{len(pads)} paddings for {len(axes)} axes")
    pairs = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    by_place = [pairs.get(axis, (0, 0)) for axis in x.layout.order]
    return c.tensor(padded(c, x.held, by_place, mode, value), x.layout)


def padded(c: Call, held: Held, pairs: list[tuple[int, int]], mode: str, value: float) -> Held:
    """Pad axes as held."""
    if any(abs(number) > 1 << 24 for pair in pairs for number in pair):
        raise c.unsupported(f"paddings {pairs} are too large")
    if mode == "constant":
        cuts = [(max(-before, 0), max(-after, 0)) for before, after in pairs]
        if any(map(any, cuts)):
            shape = c.shape(held)
            size = tuple(n if n == BATCH else n - a - b for n, (a, b) in zip(shape, cuts, strict=True))
            held = c.apply(Slice(tuple(before for before, _ in cuts), size), held)
        grow = tuple((max(before, 0), max(after, 0)) for before, after in pairs)
        return c.apply(Pad(grow, value), held) if any(map(any, grow)) else held
    if mode not in ("edge", "reflect", "wrap"):
        raise c.unsupported(f"mode {mode!r}")
    for place, (before, after) in enumerate(pairs):
        if before or after:
            extent = c.shape(held)[place]
            if extent < 1 or (mode == "reflect" and extent == 1):
                raise c.unsupported(f"mode {mode!r} of an axis of size {extent}")
            c.translation.budget.take(16 * (extent + abs(before) + abs(after)), described(c.node))
            places = np.pad(np.arange(extent), (max(before, 0), max(after, 0)), mode)  # type: ignore[call-overload]
            places = places[max(-before, 0) : len(places) - max(-after, 0)]
            held = c.apply(Gather(place), held, Constant(places.astype(np.int64)))
    return held


@reads("Expand")
def expand(c: Call) -> Tensor:
    """Broadcast to a shape, in both directions."""
    x, wanted = movable(c, c.input(0)), c.sizes(1, "the shape")
    rank = max(x.rank, len(wanted))
    if x.rank < rank:
        x = expanded(c, x, tuple(range(rank - x.rank)))
    target = (1,) * (rank - len(wanted)) + wanted
    shape = tuple(n if m == 1 or m == n else m for n, m in zip(x.shape, target, strict=True))
    if any(n not in (1, m) for n, m in zip(x.shape, shape, strict=True)) or min(shape, default=1) < BATCH:
        raise c.unsupported(f"x of shape {x.shape} cannot be broadcast to {wanted}")
    return c.tensor(c.translation.broadcast(x.held, x.layout.held_shape(shape)), x.layout)


@reads("Tile")
def tile(c: Call) -> Tensor:
    """Y = x so many times along each axis."""
    x = movable(c, c.input(0))
    if c.opset < 6:
        raise c.unsupported("the form before opset 6")
    repeats = c.sizes(1, "the repeats")
    if len(repeats) != x.rank or any(count < 0 or count > 1 << 20 for count in repeats):
        raise c.unsupported(f"repeats {repeats} of x of shape {x.shape}")
    held = x.held
    for axis, count in enumerate(repeats):
        if count == 1:
            continue
        place, size = x.layout.order.index(axis), x.shape[axis]
        if size == BATCH:
            raise OpenBatchError(f"{described(c.node)}: repeats the batch")
        c.translation.budget.take(8 * size * count, described(c.node))
        held = c.apply(Gather(place), held, Constant(np.tile(np.arange(size, dtype=np.int64), count)))
    return c.tensor(held, x.layout)


@reads("DepthToSpace")
def depth_to_space(c: Call) -> Tensor:
    """Channels become blocks of pixels."""
    x, block = c.input(0), c.integer("blocksize")
    n, height, width, channels = c.shape(c.images(x))
    if block < 1 or channels % (block * block):
        raise c.unsupported(f"blocks of {block} from {channels} channels")
    deep = channels // (block * block)
    columns_first = c.text("mode", "DCR") == "CRD"
    parts = (deep, block, block) if columns_first else (block, block, deep)
    split_up = c.translation.reshape(c.images(x), (n, height, width, *parts))
    order = (0, 1, 4, 2, 5, 3) if columns_first else (0, 1, 3, 2, 4, 5)
    moved = c.apply(Transpose(order), split_up)
    return c.tensor(c.translation.reshape(moved, (n, height * block, width * block, deep)), channels_last(4))


@reads("SpaceToDepth")
def space_to_depth(c: Call) -> Tensor:
    """Blocks of pixels become channels."""
    x, block = c.input(0), c.integer("blocksize")
    n, height, width, channels = c.shape(c.images(x))
    if block < 1 or height % block or width % block:
        raise c.unsupported(f"blocks of {block} from {height}×{width} pixels")
    parts = (n, height // block, block, width // block, block, channels)
    columns_first = c.text("mode", "DCR") == "CRD"
    order = (0, 1, 3, 5, 2, 4) if columns_first else (0, 1, 3, 2, 4, 5)
    moved = c.apply(Transpose(order), c.translation.reshape(c.images(x), parts))
    deep = (n, height // block, width // block, block * block * channels)
    return c.tensor(c.translation.reshape(moved, deep), channels_last(4))


@reads("CenterCropPad")
def center_crop_pad(c: Call) -> Tensor:
    """The middle, cut out or padded with zeros."""
    x, wanted = movable(c, c.input(0)), c.sizes(1, "the shape")
    axes = tuple(c.axis(axis, x.rank) for axis in c.integers("axes", tuple(range(x.rank))))
    if len(axes) != len(wanted) or BATCH in wanted:
        raise c.unsupported(f"shape {wanted} for axes {axes}")
    pairs = [(0, 0)] * x.rank
    for axis, size in zip(axes, wanted, strict=True):
        missing = size - x.shape[axis]
        before = missing // 2 if missing >= 0 else -((-missing) // 2)
        pairs[x.layout.order.index(axis)] = before, missing - before
    return c.tensor(padded(c, x.held, pairs, "constant", 0.0), x.layout)
