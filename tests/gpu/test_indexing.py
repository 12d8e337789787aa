"""Selecting beyond the operator table: repeated and clamped indices, both types of them, all types of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.reference_checks import assert_like_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.ops.indexing import Gather, GatherGrad, OneHot

quickly = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
some_indices = st.lists(st.integers(-3, 9), min_size=0, max_size=12)


@quickly
@given(some_indices, st.sampled_from(["int32", "int64"]), st.integers(0, 2), st.sampled_from([3, 4, 8]))
def test_indices(indices, kind, axis, width):
    """Any indices along any axis: selected, and their gradients added up where they are equal."""
    where, x = np.array(indices, kind), normal(2, 5, width)

    assert_like_reference(Gather(axis), x, where)
    dy = normal(*x.shape[:axis], where.size, *x.shape[axis + 1 :], seed=1)
    assert_like_reference(GatherGrad(axis), dy, where, x, tolerance=1e-6)
    assert_like_reference(OneHot(4), where)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int64", "float16", "float64"])
@pytest.mark.parametrize("width", [5, 16])
def test_numbers_of_all_types_are_selected(dtype, width):
    """As they are stored, 16 bytes at a time or one by one."""
    x = np.arange(4 * width).reshape(4, width).astype(dtype)

    assert_like_reference(Gather(), x, np.array([[3, 0], [1, 3]]))


def test_many_positions_of_one_row_are_added_in_their_order():
    """To the last bit what adding one after the other in float32 gives."""
    where, dy = np.zeros(1000, np.int32), normal(1000, 3, scale=1e3)

    assert_like_reference(GatherGrad(0), dy, where, normal(2, 3))


def test_sums_of_half_precision_are_made_in_single():
    """A thousand small numbers do not vanish beside their sum."""
    where, dy = np.zeros(3000, np.int64), np.ones((3000, 1), np.float16)

    assert_like_reference(GatherGrad(0), dy, where, np.zeros((2, 1), np.float16), tolerance=1e-3)
