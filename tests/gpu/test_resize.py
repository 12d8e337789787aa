"""Resizing beyond the operator table: any sizes, all coordinates, other types."""

from __future__ import annotations

import pytest
from gpu.reference_checks import assert_like_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.ops.resize import Resize, ResizeGrad

COORDINATES = [(False, True), (True, False), (False, False)]
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes, sizes, st.sampled_from([1, 3, 4, 8]), st.sampled_from(["bilinear", "nearest"]), st.sampled_from(COORDINATES)
)
def test_sizes_and_coordinates(source, target, c, method, coordinates):
    """Larger and smaller, both methods, all conventions, there and back."""
    assert_like_reference(Resize(target, method, *coordinates), normal(2, *source, c), tolerance=1e-6)
    assert_like_reference(ResizeGrad(source, method, *coordinates), normal(2, *target, c), tolerance=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("float64", 1e-14)])
def test_other_types(dtype, tolerance):
    """Sums are made in float32 at least, whatever is stored."""
    assert_like_reference(Resize((9, 5)), normal(1, 4, 7, 8).astype(dtype), tolerance=tolerance)
    assert_like_reference(
        ResizeGrad((9, 5), "bilinear", *COORDINATES[0]), normal(1, 4, 7, 3).astype(dtype), tolerance=tolerance
    )


def test_no_images():
    """An empty batch stays one."""
    assert_like_reference(Resize((3, 3)), normal(0, 4, 4, 2), tolerance=1e-6)
