"""Pools beyond the operator table: wide and narrow channels, large kernels, what is no number, 16-bit storage."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.reference_checks import assert_like_reference
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.errors import ShapeError
from edge_sdk.kernels.gpu import launch
from edge_sdk.kernels.gpu import pool as gpu_pool
from edge_sdk.ops.pool import (
    AdaptiveAvgPool2D,
    AdaptiveAvgPool2DGrad,
    AvgPool2D,
    AvgPool2DGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    MaxPool2D,
    MaxPool2DGrad,
)
from edge_sdk.spec import Spec

CLOSE = {"float32": 1e-6, "float64": 1e-14, "float16": 2e-3}
quickly = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
images = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4, 8]))


@quickly
@given(
    images,
    pairs,
    pairs,
    st.one_of(st.sampled_from(["same", "valid"]), st.tuples(pads, pads)),
    st.booleans(),
    st.booleans(),
)
def test_windows(shape, kernel, stride, padding, ceil, count_padding):
    """Any kernel, stride and padding, largest values and means, and their gradients."""
    largest = MaxPool2D(kernel, stride, padding, ceil)
    x = np.round(normal(*shape) * 2)  # with equal values, of which the first counts
    try:
        (out,) = largest.infer_outputs([Spec(shape)])
    except ShapeError:
        reject()
    dy = normal(*out.shape, seed=1)

    assert_like_reference(largest, x)
    assert_like_reference(MaxPool2DGrad(kernel, stride, padding), dy, x, tolerance=1e-6)
    assert_like_reference(AvgPool2D(kernel, stride, padding, ceil, count_padding), x, tolerance=1e-6)
    assert_like_reference(AvgPool2DGrad(kernel, stride, padding, count_padding, shape[1:3]), dy, tolerance=1e-6)


@quickly
@given(images, st.tuples(st.integers(1, 11), st.integers(1, 11)))
def test_adaptive_windows(shape, size):
    """Any number of cells, more than pixels too."""
    assert_like_reference(AdaptiveAvgPool2D(size), normal(*shape), tolerance=1e-6)
    dy = normal(shape[0], *size, shape[3])
    assert_like_reference(AdaptiveAvgPool2DGrad(shape[1:3]), dy, tolerance=1e-6)


@pytest.mark.parametrize("shape", [(2, 7, 7, 64), (1, 40, 40, 33), (3, 1, 1, 5), (0, 4, 4, 8)])
def test_global_means(shape, monkeypatch):
    """Few pixels and many, channels that do not fill a block, and more blocks than are launched."""
    monkeypatch.setattr(gpu_pool, "MAX_BLOCKS", 2)

    assert_like_reference(GlobalAvgPool(), normal(*shape), tolerance=1e-6)
    assert_like_reference(GlobalAvgPoolGrad(shape[1:3]), normal(shape[0], shape[3]), tolerance=1e-6)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("c", [3, 16])
def test_other_types(dtype, c):
    """Sums are made in float32 at least, whatever is stored."""
    x, dy = normal(2, 8, 9, c).astype(dtype), normal(2, 4, 5, c).astype(dtype)
    window = ((3, 3), (2, 2), "same")

    assert_like_reference(MaxPool2D(*window), x)
    assert_like_reference(MaxPool2DGrad(*window), dy, x, tolerance=CLOSE[dtype])
    assert_like_reference(AvgPool2D(*window), x, tolerance=CLOSE[dtype])
    assert_like_reference(AvgPool2DGrad(*window, count_padding=False, input_size=(8, 9)), dy, tolerance=CLOSE[dtype])
    assert_like_reference(GlobalAvgPool(), x, tolerance=CLOSE[dtype])


@pytest.mark.parametrize("c", [1, 4])
@pytest.mark.parametrize("kernel", [(16, 16), (17, 16)])
def test_kernels_of_more_places_than_a_byte_counts(kernel, c):
    """The place of the largest value is then kept in 32 bits."""
    x = normal(1, 20, 19, c)
    (out,) = MaxPool2D(kernel).infer_outputs([Spec(x.shape)])

    assert_like_reference(MaxPool2DGrad(kernel, (1, 1), "valid"), normal(*out.shape), x, tolerance=1e-6)


@pytest.mark.parametrize("c", [1, 4])
def test_what_is_no_number_wins(c):
    """So does its gradient; a window of nothing but -inf sends its own to the first."""
    x = normal(1, 6, 6, c)
    x[0, 2, 3, 0] = np.nan
    x[0, 2, 4, 0] = np.inf
    x[0, :3, :3] = -np.inf

    assert_like_reference(MaxPool2D((3, 3)), x)
    assert_like_reference(MaxPool2DGrad((3, 3), (1, 1), "valid"), normal(1, 4, 4, c), x, tolerance=1e-6)


def test_more_pixels_than_threads(monkeypatch):
    """Threads go on until all is computed."""
    monkeypatch.setattr(launch, "MAX_BLOCKS", 1)

    assert_like_reference(MaxPool2D((2, 2), (2, 2)), normal(2, 16, 16, 12))
    assert_like_reference(
        AvgPool2DGrad((2, 2), (2, 2), "valid", count_padding=False, input_size=(16, 16)),
        normal(2, 8, 8, 5),
        tolerance=1e-6,
    )
