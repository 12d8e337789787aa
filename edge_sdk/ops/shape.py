"""Operators that move elements without computing on them. The symbolic batch stays the first dimension throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Members, Op
from edge_sdk.ops.geometry import Pair
from edge_sdk.spec import BATCH, DTYPES, FLOATS, Spec, Value


@dataclass(frozen=True)
class Pad(Op, name="pad"):
    """x with (before, after) elements of `value` added along each axis."""

    paddings: tuple[Pair, ...]
    value: float = 0.0

    def infer(self, x: Spec) -> Spec:
        if len(self.paddings) != x.rank or any(min(pair) < 0 for pair in self.paddings):
            raise ShapeError(f"pad: paddings {self.paddings} for x {x}; wanted (before, after) ≥ 0 for each axis")
        if x.symbolic and self.paddings[0] != (0, 0):
            raise ShapeError(f"pad: the open batch of x {x} cannot be padded")
        return x.with_shape(
            tuple(n if n == BATCH else n + a + b for n, (a, b) in zip(x.shape, self.paddings, strict=True))
        )

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        shape = g.spec(node.inputs[0]).shape
        begin = tuple(before for before, _ in self.paddings)
        size = tuple(-1 if n == BATCH else n for n in shape)
        return [g.add(Slice(begin=begin, size=size), dy)]


@dataclass(frozen=True)
class Concat(Op, name="concat"):
    """The inputs one after the other along `axis`."""

    axis: int

    def infer(self, *parts: Spec) -> Spec:
        if not parts or not 0 <= self.axis < parts[0].rank:
            raise ShapeError(f"concat: axis {self.axis} of {', '.join(map(str, parts)) or 'nothing'}")
        first = parts[0]
        rest = [p.shape[: self.axis] + p.shape[self.axis + 1 :] for p in parts]
        if any(r != rest[0] for r in rest) or any(p.dtype != first.dtype for p in parts):
            raise ShapeError(f"concat: {', '.join(map(str, parts))} differ in more than axis {self.axis}")
        if self.axis == 0 and any(p.symbolic for p in parts):
            raise ShapeError("concat: an open batch cannot be concatenated along axis 0")
        total = sum(p.shape[self.axis] for p in parts)
        return first.with_shape((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        sizes = tuple(g.spec(value).shape[self.axis] for value in node.inputs)
        return list(g.add_multi(Split(self.axis, sizes), dy))


@dataclass(frozen=True)
class Split(Op, name="split"):
    """x cut along `axis` into parts of the given sizes."""

    axis: int
    sizes: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if not 0 <= self.axis < x.rank or sum(self.sizes) != x.shape[self.axis] or min(self.sizes, default=-1) < 0:
            raise ShapeError(f"split: sizes {self.sizes} do not add up to axis {self.axis} of x {x}")
        return tuple(x.with_shape((*x.shape[: self.axis], size, *x.shape[self.axis + 1 :])) for size in self.sizes)

    def grad(self, g: Builder, node: Node, *dys: Value | None) -> Sequence[Value | None]:
        from edge_sdk.ops.control import FullLike

        parts = [
            dy if dy is not None else g.add(FullLike(value=0.0), y) for dy, y in zip(dys, node.outputs, strict=True)
        ]
        return [g.add(Concat(self.axis), *parts)]


@dataclass(frozen=True)
class Slice(Op, name="slice"):
    """The block of x that starts at `begin` and has `size` elements along each axis; -1 means all to the end."""

    begin: tuple[int, ...]
    size: tuple[int, ...]

    def infer(self, x: Spec) -> Spec:
        if len(self.begin) != x.rank or len(self.size) != x.rank:
            raise ShapeError(f"slice: begin {self.begin} and size {self.size} for x {x}; wanted one number per axis")
        if x.symbolic and (self.begin[0], self.size[0]) != (0, -1):
            raise ShapeError(f"slice: the open batch of x {x} must be kept whole (begin 0, size -1)")
        shape = []
        for extent, begin, size in zip(x.shape, self.begin, self.size, strict=True):
            length = extent if extent == BATCH else extent - begin if size == -1 else size
            if extent != BATCH and not (0 <= begin <= extent and length >= 0 and begin + length <= extent):
                raise ShapeError(f"slice: begin {self.begin}, size {self.size} reach outside x {x}")
            shape.append(length)
        return x.with_shape(tuple(shape))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        whole, part = g.spec(node.inputs[0]).shape, g.spec(node.output).shape
        paddings = tuple((b, 0 if n == BATCH else n - b - m) for n, m, b in zip(whole, part, self.begin, strict=True))
        return [g.add(Pad(paddings=paddings), dy)]


@dataclass(frozen=True)
class Reshape(Op, name="reshape"):
    """The elements of x, in order, in another shape. A first entry of -1 is the batch or follows from the others."""

    shape: tuple[int, ...]

    def infer(self, x: Spec) -> Spec:
        wanted, rest = self.shape, self.shape[1:] if self.shape[:1] == (BATCH,) else self.shape
        known = x.shape[1:] if x.symbolic else x.shape
        if any(size < 0 for size in rest) or (x.symbolic and wanted[:1] != (BATCH,)):
            raise ShapeError(f"reshape: {wanted} for x {x}; only the first entry may be -1, and is for an open batch")
        if x.symbolic:
            fits, first = math.prod(known) == math.prod(rest), BATCH
        elif wanted[:1] == (BATCH,):
            fits, first = math.prod(rest) > 0 and math.prod(known) % math.prod(rest) == 0, -2
            first = math.prod(known) // math.prod(rest) if fits else first
        else:
            fits, first = math.prod(known) == math.prod(wanted), wanted[0] if wanted else 1
        if not fits:
            raise ShapeError(f"reshape: x {x} has not as many elements as {wanted}")
        return x.with_shape((first, *wanted[1:]) if wanted else ())

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ReshapeLike(), dy, node.inputs[0])]


@dataclass(frozen=True)
class ReshapeLike(Op, name="reshape_like"):
    """The elements of x, in order, in the shape of `like`."""

    shape_only = frozenset({"like"})
    in_place = {0: 0}

    def infer(self, x: Spec, like: Spec) -> Spec:
        if x.symbolic != like.symbolic or math.prod(x.shape) != math.prod(like.shape):
            raise ShapeError(f"reshape_like: x {x} has not as many elements as {like}")
        return x.with_shape(like.shape)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ReshapeLike(), dy, node.inputs[0]), None]


@dataclass(frozen=True)
class Flatten(Op, name="flatten"):
    """x (n, …) as (n, rest)."""

    def infer(self, x: Spec) -> Spec:
        if not x.rank:
            raise ShapeError("flatten: x is a scalar, wanted (n, …)")
        return x.with_shape((x.shape[0], math.prod(x.shape[1:])))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ReshapeLike(), dy, node.inputs[0])]


@dataclass(frozen=True)
class Transpose(Op, name="transpose"):
    """x with its axes in the order of `permutation`."""

    permutation: tuple[int, ...]

    def infer(self, x: Spec) -> Spec:
        if sorted(self.permutation) != list(range(x.rank)):
            raise ShapeError(f"transpose: {self.permutation} is no order of the {x.rank} axes of x {x}")
        if x.symbolic and self.permutation[0] != 0:
            raise ShapeError(f"transpose: the open batch of x {x} must stay first")
        return x.with_shape(tuple(x.shape[axis] for axis in self.permutation))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        inverse = tuple(self.permutation.index(axis) for axis in range(len(self.permutation)))
        return [g.add(Transpose(inverse), dy)]


@dataclass(frozen=True)
class Squeeze(Op, name="squeeze"):
    """x without the given axes, which must have size 1."""

    axes: tuple[int, ...]

    def infer(self, x: Spec) -> Spec:
        if len(set(self.axes)) != len(self.axes) or not all(0 <= a < x.rank and x.shape[a] == 1 for a in self.axes):
            raise ShapeError(f"squeeze: axes {self.axes} of x {x} are not all there with size 1")
        return x.with_shape(tuple(n for axis, n in enumerate(x.shape) if axis not in self.axes))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ReshapeLike(), dy, node.inputs[0])]


@dataclass(frozen=True)
class ExpandDims(Op, name="expand_dims"):
    """x with new axes of size 1 at the given positions of the result."""

    axes: tuple[int, ...]

    def infer(self, x: Spec) -> Spec:
        rank = x.rank + len(self.axes)
        if len(set(self.axes)) != len(self.axes) or not all(0 <= axis < rank for axis in self.axes):
            raise ShapeError(f"expand_dims: axes {self.axes} for x {x}; wanted different ones from 0 to {rank - 1}")
        if x.symbolic and 0 in self.axes:
            raise ShapeError(f"expand_dims: the open batch of x {x} must stay first")
        sizes = iter(x.shape)
        return x.with_shape(tuple(1 if axis in self.axes else next(sizes) for axis in range(rank)))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(ReshapeLike(), dy, node.inputs[0])]


@dataclass(frozen=True)
class BroadcastTo(Op, name="broadcast_to"):
    """x broadcast to `shape`, whose first entry -1 keeps the first size of an x of as many axes, the batch."""

    shape: tuple[int, ...]

    def infer(self, x: Spec) -> Spec:
        target = self.shape
        if self.shape[:1] == (BATCH,) and x.rank == len(self.shape):
            target = (x.shape[0], *self.shape[1:])
        elif BATCH in self.shape:
            raise ShapeError(f"broadcast_to: {self.shape} for x {x}; -1 is for a first axis that x has too")
        aligned = (1,) * (len(target) - x.rank) + x.shape
        if len(target) < x.rank or any(m not in (1, n) for m, n in zip(aligned, target, strict=True)):
            raise ShapeError(f"broadcast_to: x {x} cannot be broadcast to {self.shape}")
        return x.with_shape(target)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        from edge_sdk.ops.elementwise import unbroadcast

        return [unbroadcast(g, dy, node.inputs[0])]


@dataclass(frozen=True)
class Cast(Op, name="cast"):
    """x in another dtype; from floats to whole numbers it rounds towards zero."""

    dtype: str

    def infer(self, x: Spec) -> Spec:
        if self.dtype not in DTYPES:
            raise ShapeError(f"cast: dtype {self.dtype!r} is not one of {', '.join(sorted(DTYPES))}")
        return Spec(x.shape, self.dtype)

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        source = g.spec(node.inputs[0]).dtype
        return [g.add(Cast(source), dy) if source in FLOATS and self.dtype in FLOATS else None]


@dataclass(frozen=True)
class GroupedCast(Op, name="grouped_cast"):
    """cast of many arrays, each in its own shape, to one dtype."""

    dtype: str

    @property
    def members(self) -> Members:
        return Members(shared=0, inputs=1, outputs=1)

    def infer(self, *xs: Spec) -> tuple[Spec, ...]:
        if not xs:
            raise ShapeError("grouped_cast: no arrays given")
        return tuple(Cast(self.dtype).infer(x) for x in xs)

    def grad(self, g: Builder, node: Node, *dys: Value | None) -> Sequence[Value | None]:
        sources = [g.spec(value).dtype for value in node.inputs]
        kept = self.dtype in FLOATS
        return [
            g.add(Cast(source), dy) if dy is not None and kept and source in FLOATS else None
            for source, dy in zip(sources, dys, strict=True)
        ]
