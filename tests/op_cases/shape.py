"""Rows of the shape family; the oracles index element by element, or are written by hand."""

from __future__ import annotations

import itertools

import numpy as np

from edge_sdk.ops.shape import (
    BroadcastTo,
    Cast,
    Concat,
    ExpandDims,
    Flatten,
    GroupedCast,
    Pad,
    Reshape,
    ReshapeLike,
    Slice,
    Split,
    Squeeze,
    Transpose,
)
from op_cases.case import Case, normal

X = normal(2, 3, 4, 5, seed=31)
# A scalar, nothing at all, no whole registers, more than one piece of 4096 numbers.
MANY = tuple(
    np.asarray(normal(*shape, scale=10, seed=33), np.float32) for shape in ((), (0,), (7,), (3, 1, 5), (9001,))
)
PADDINGS = ((0, 0), (1, 2), (0, 1), (2, 0))


def filled(shape, value, source, place):
    """An array of `value` into which source[i] is written at place(i), one element after the other."""
    result = np.full(shape, value, np.float64)
    for index in itertools.product(*map(range, source.shape)):
        result[place(index)] = source[index]
    return result


def moved(index):
    """Where padding moves an element."""
    return tuple(i + before for i, (before, _) in zip(index, PADDINGS, strict=True))


def numbered(x, shape):
    """The elements in row-major order under another shape, by counting."""
    result = np.empty(shape)
    for index, value in zip(itertools.product(*map(range, shape)), x.ravel(), strict=True):
        result[index] = value
    return result


CASES = [
    Case("pad", Pad(PADDINGS), (X,), lambda x: filled((2, 6, 5, 7), 0, x, moved), (0,), symbolic_batch=True),
    Case("pad-value", Pad(PADDINGS, 1.5), (X,), lambda x: filled((2, 6, 5, 7), 1.5, x, moved), (0,)),
    Case(
        "concat",
        Concat(axis=3),
        (X, normal(2, 3, 4, 2, seed=32)),
        lambda a, b: np.stack([a[..., i] for i in range(5)] + [b[..., i] for i in range(2)], axis=-1),
        (0, 1),
    ),
    Case("concat-one", Concat(axis=1), (X,), lambda x: x, (0,)),
    Case("split", Split(axis=3, sizes=(2, 3)), (X,), lambda x: (x[..., :2], x[..., 2:]), (0,), symbolic_batch=True),
    Case("split-one", Split(axis=1, sizes=(3,)), (X,), lambda x: x, (0,)),
    Case("slice", Slice((0, 1, 0, 2), (-1, 2, 3, -1)), (X,), lambda x: x[:, 1:3, :3, 2:], (0,), symbolic_batch=True),
    Case("reshape", Reshape((-1, 12, 5)), (X,), lambda x: numbered(x, (2, 12, 5)), (0,), symbolic_batch=True),
    Case("reshape-fixed", Reshape((6, 20)), (X,), lambda x: numbered(x, (6, 20)), (0,)),
    Case("reshape-like", ReshapeLike(), (X, normal(4, 30)), lambda x, like: numbered(x, (4, 30)), (0,)),
    Case("flatten", Flatten(), (X,), lambda x: numbered(x, (2, 60)), (0,), symbolic_batch=True),
    Case("transpose", Transpose((0, 3, 1, 2)), (X,), lambda x: np.einsum("abcd->adbc", x), (0,), symbolic_batch=True),
    Case("squeeze", Squeeze((1, 3)), (normal(2, 1, 4, 1),), lambda x: x[:, 0, :, 0], (0,), symbolic_batch=True),
    Case("expand-dims", ExpandDims((1, 3)), (normal(2, 4),), lambda x: x[:, None, :, None], (0,), symbolic_batch=True),
    Case(
        "broadcast-to",
        BroadcastTo((-1, 3, 4)),
        (normal(2, 1, 4),),
        lambda x: np.concatenate([x, x, x], axis=1),
        (0,),
        symbolic_batch=True,
    ),
    Case("cast-down", Cast("int32"), (np.array([-1.7, -0.2, 0.9, 2.5], np.float32),), lambda x: [-1, 0, 0, 2]),
    Case("cast-up", Cast("float32"), (np.arange(4, dtype=np.int32),), lambda x: [0.0, 1.0, 2.0, 3.0]),
    Case("grouped-cast-down", GroupedCast("int32"), MANY, lambda *xs: tuple(np.trunc(x) for x in xs)),
    Case("grouped-cast-up", GroupedCast("float32"), tuple(x.astype(np.int32) for x in MANY), lambda *xs: xs),
    Case("grouped-cast-one", GroupedCast("int32"), (10 * X,), np.trunc),
]
