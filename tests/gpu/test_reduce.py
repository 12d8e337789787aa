"""Reductions on the device beyond the table of operators: large ones, any axes, ties, numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.both_orders import worst_error
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.kernels.gpu.reduce import Reduction
from edge_sdk.ops.reduce import BroadcastLike, MeanScaleGrad, ReduceMax, ReduceMaxGrad, ReduceMean, ReduceSum

TOLERANCE = 1e-5

large = pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((100003,), (0,)),
        ((30011, 3), (0,)),
        ((3, 40009), (1,)),
        ((2, 40, 41, 64), (1, 2)),
        ((1500, 65), (1,)),
        ((20, 30, 40, 7), (0, 2)),
        ((12, 400, 3, 17), (1, 3)),
        ((7000, 1, 2), (2,)),
        ((6, 40, 41, 36), (0, 1, 2)),
        ((5, 90, 19), (0, 1)),
    ],
    ids=str,
)


@large
def test_large_sums_equal_those_in_float64(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Sums cut over many blocks lose no more than a tree of float32 does."""
    assert worst_error(ReduceSum(axes), (normal(*shape) + 1,)) <= TOLERANCE
    assert worst_error(ReduceMean(axes, keep_dims=True), (normal(*shape) + 1,)) <= TOLERANCE


@large
def test_large_maxima_are_exact_and_share_their_gradient(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Few different numbers make many ties: each gets its share."""
    x = np.round(normal(*shape) * 2)
    y = x.max(axis=axes)

    assert worst_error(ReduceMax(axes), (x,)) == 0
    assert worst_error(ReduceMaxGrad(axes), (normal(*y.shape), x, y)) <= TOLERANCE


def test_large_reductions_take_two_launches_and_small_ones_one() -> None:
    """The shapes above reach both ways of reducing."""
    assert Reduction((100003,), (0,)).parts > 1
    assert Reduction((2, 40, 41, 64), (1, 2)).parts > 1
    assert Reduction((1500, 65), (1,)).parts == 1


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_axes_of_any_shape(data: st.DataObject) -> None:
    """Sums and maxima over any axes, sizes 1 and 0 and no axes at all included."""
    shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=5)))
    axes = tuple(data.draw(st.permutations([axis for axis in range(len(shape)) if data.draw(st.booleans())])))
    x = normal(*shape, seed=7)

    assert worst_error(ReduceSum(axes), (x,)) <= TOLERANCE
    if all(shape[axis] for axis in axes):
        y = np.asarray(x.max(axis=axes))
        assert worst_error(ReduceMax(axes), (x,)) == 0
        assert worst_error(ReduceMaxGrad(axes), (normal(*y.shape, seed=8), x, y)) <= TOLERANCE


def test_what_is_no_number_stays_none() -> None:
    """A maximum of a row with NaN anywhere is NaN."""
    x = normal(6, 300)
    x[np.arange(5), [0, 31, 150, 255, 299]] = np.nan

    assert worst_error(ReduceMax((1,)), (x,)) == 0
    assert worst_error(ReduceMax((1,)), (-np.abs(x),)) == 0


def test_whole_numbers_are_reduced_exactly() -> None:
    """Sums and maxima of int32 are computed as such."""
    x = np.random.default_rng(3).integers(-(2**20), 2**20, (1000, 33), np.int32)

    assert worst_error(ReduceSum((0,)), (x,)) == 0
    assert worst_error(ReduceMax((1,)), (x,)) == 0


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 0, 4), (1,)), ((0, 5), (0,)), ((2, 7), (1,)), ((5, 3000), (1,))], ids=str
)
def test_means_of_whole_numbers_are_whole_and_those_of_none_are_0(
    shape: tuple[int, ...], axes: tuple[int, ...], dtype: str
) -> None:
    """Rounded towards 0, in one launch or in two; nothing is divided by 0, which would end the program here."""
    x = np.random.default_rng(5).integers(-999, 999, shape).astype(dtype)

    assert worst_error(ReduceMean(axes), (x,)) == 0


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "bool"])
def test_broadcasts_copy_any_type(dtype: str) -> None:
    """What is repeated keeps its bits."""
    x = (normal(4, 1, 5) * 9).astype(dtype)

    assert worst_error(BroadcastLike(), (x, np.zeros((3, 4, 6, 5), dtype))) == 0


def test_slopes_of_means_are_divided_by_what_was_averaged() -> None:
    """Only the shape of the averaged array counts, not its numbers."""
    like = np.full((5, 7, 11), np.nan, np.float32)

    assert worst_error(MeanScaleGrad((0, 2)), (normal(7), like)) <= TOLERANCE
