"""Scales and zero points, by TFLite's 8-bit specification and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sdk.quantization.parameters import Range, activation_parameters, quantize_bias, quantize_weights

FINITE = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 255.0, 1.0, -128),  # what a ReLU leaves: zero is the lowest step
        (-128.0, 127.0, 1.0, 0),
        (-255.0, 0.0, 1.0, 127),
        (-0.5, 2.05, 0.01, -78),
        (0.0, 6.0, 6 / 255, -128),
        (3.0, 6.0, 6 / 255, -128),  # zero is always covered
        (-6.0, -3.0, 6 / 255, 127),
        (0.0, 0.0, 1.0, 0),  # a tensor of zeros: any scale is right
        (0.0, 1e-45, 1.0, 0),  # no scale of 32 bits is small enough
    ],
)
def test_activations_by_hand(low, high, scale, zero_point):
    """The range and zero in 256 steps."""
    found = activation_parameters(Range(low, high))

    assert found.scale == (pytest.approx(scale, rel=1e-6),)
    assert found.zero_point == (zero_point,)
    assert found.axis is None


@given(FINITE, FINITE)
def test_a_range_is_covered_and_zero_is_exact(a, b):
    """The ends are within half a step of numbers that int8 has; real zero is the whole number zero_point."""
    low, high = sorted((a, b))

    found = activation_parameters(Range(low, high))

    scale, zero_point = found.scale[0], found.zero_point[0]
    assert isinstance(zero_point, int)
    assert -128 <= zero_point <= 127
    assert scale > 0
    for end in (min(low, 0), max(high, 0)):
        step = np.clip(round(end / scale) + zero_point, -128, 127)
        assert abs((step - zero_point) * scale - end) <= 0.51 * scale + 1e-30


def test_weights_by_hand():
    """Symmetric in [-127, 127], one scale for each output channel; a channel of zeros has a scale too."""
    weights = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [0.1, 0.05, -0.0254]], np.float32)

    stored, parameters = quantize_weights(weights, 0)

    np.testing.assert_array_equal(stored, [[64, -127, 32], [0, 0, 0], [127, 64, -32]])
    assert stored.dtype == np.int8
    assert parameters.scale == pytest.approx((2 / 127, 1 / 127, 0.1 / 127), rel=1e-6)
    assert (parameters.zero_point, parameters.axis) == ((0, 0, 0), 0)


def test_weights_of_a_dense_layer_have_one_scale():
    """The largest weight of all decides."""
    stored, parameters = quantize_weights(np.array([[1.0, -4.0], [2.0, 0.0]], np.float32), None)

    np.testing.assert_array_equal(stored, [[32, -127], [64, 0]])
    assert parameters.scale == pytest.approx((4 / 127,), rel=1e-6)
    assert (parameters.zero_point, parameters.axis) == ((0,), None)


@pytest.mark.parametrize("axis", [0, 3])
def test_no_weight_is_off_by_more_than_half_a_step(axis):
    """Along either axis of output channels that TFLite has."""
    weights = np.random.default_rng(0).normal(0, 1, (5, 3, 3, 7)).astype(np.float32)
    weights *= np.geomspace(1e-3, 1e3, weights.shape[axis]).reshape([-1 if i == axis else 1 for i in range(4)])

    stored, parameters = quantize_weights(weights, axis)

    scale = np.array(parameters.scale).reshape([-1 if i == axis else 1 for i in range(4)])
    assert np.abs(stored.astype(np.int64)).max() == 127
    assert (np.abs(stored * scale - weights) <= 0.5001 * scale).all()


def test_bias_has_the_accumulators_scale():
    """Input scale · weight scale for each channel, 32 bits, zero point 0."""
    weights = quantize_weights(np.array([[127.0], [254.0]], np.float32), 0)[1]

    stored, parameters = quantize_bias(np.array([10.0, -3.0], np.float32), 0.5, weights)

    np.testing.assert_array_equal(stored, [20, -3])
    assert stored.dtype == np.int32
    assert parameters.scale == pytest.approx((0.5, 1.0))
    assert (parameters.zero_point, parameters.axis) == ((0, 0), 0)


def test_a_bias_too_large_for_32_bits_is_limited():
    """It must not wrap around to the other sign."""
    weights = quantize_weights(np.array([[1e-6], [1e-6]], np.float32), 0)[1]

    stored, _ = quantize_bias(np.array([1e9, -1e9], np.float32), 1e-6, weights)

    np.testing.assert_array_equal(stored, [2**31 - 1, -(2**31 - 1)])
