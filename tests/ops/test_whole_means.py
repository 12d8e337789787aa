"""Means of whole numbers, which are whole."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_means_of_whole_numbers_by_hand(dtype, device):
    """Rounded towards 0; sums beyond int32 do not overflow, and the mean of none is 0."""
    rows = {
        (3, 3): ([[1, 2, 5], [-1, -2, -5], [2**30, 2**30, 2**30]], [2, -2, 2**30]),
        (2, 0): (np.zeros((2, 0)), [0, 0]),
    }
    for shape, (numbers, wanted) in rows.items():
        g = Builder("means")
        graph = g.build(g.add(ReduceMean((1,), keep_dims=True), g.input("x", Spec(shape, dtype)), name="y"))

        found = Session(graph, Workspace({}), device).run({"x": np.array(numbers, dtype)})["y"]

        assert found.dtype == dtype
        assert found.tolist() == [[mean] for mean in wanted]
