"""Rows of the reduce family; the oracles are einsum and Python loops."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.reduce import BroadcastLike, ReduceMax, ReduceMean, ReduceSum
from op_cases.case import Case, normal

X = normal(3, 4, 5, 6, seed=21)


def largest(x):
    """Max over axis 1 by pairwise comparison."""
    result = x[:, 0].copy()
    for index in range(1, x.shape[1]):
        result = np.where(x[:, index] > result, x[:, index], result)
    return result


CASES = [
    Case("reduce-sum", ReduceSum(axes=(1, 3)), (X,), lambda x: np.einsum("abcd->ac", x), (0,), symbolic_batch=True),
    Case("reduce-sum-leading", ReduceSum(axes=(0, 1, 2)), (X,), lambda x: np.einsum("abcd->d", x), (0,)),
    Case("reduce-sum-all", ReduceSum(axes=(0, 1, 2, 3)), (X,), lambda x: np.einsum("abcd->", x), (0,)),
    Case(
        "reduce-sum-keep",
        ReduceSum(axes=(2,), keep_dims=True),
        (X,),
        lambda x: np.einsum("abcd->abd", x)[:, :, None],
        (0,),
    ),
    Case("reduce-sum-hand", ReduceSum(axes=(1,)), (np.array([[1, 2], [3, 4]], np.float32),), lambda x: [3, 7], (0,)),
    Case(
        "reduce-mean", ReduceMean(axes=(1, 2)), (X,), lambda x: np.einsum("abcd->ad", x) / 20, (0,), symbolic_batch=True
    ),
    Case("reduce-mean-batch", ReduceMean(axes=(0,)), (X,), lambda x: np.einsum("abcd->bcd", x) / 3, (0,)),
    Case("reduce-max", ReduceMax(axes=(1,)), (X,), largest, (0,), symbolic_batch=True),
    Case("reduce-max-keep", ReduceMax(axes=(1,), keep_dims=True), (X,), lambda x: largest(x)[:, None], (0,)),
    Case(
        "broadcast-like",
        BroadcastLike(),
        (normal(3, 1, 5, 1, seed=22), X),
        lambda x, like: np.einsum("abcd,bd->abcd", np.tile(x, (1, 4, 1, 6)), np.ones((4, 6))),
        (0,),
    ),
]
