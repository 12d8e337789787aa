"""Properties of the CPU kernels for any shape: equal to the naive ones, inside their arrays, honest about NaN."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_calls import call_kernel

from edge_sdk.kernel import Kernel, applicable_kernels, load_device
from edge_sdk.op import Op
from edge_sdk.ops.activation import LogSoftmax, Softmax, SoftmaxGrad
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.loss import SoftmaxCrossEntropy
from edge_sdk.ops.norm import BatchNorm, BatchNormGrad, BatchNormTraining, BatchNormTrainingGrad, LocalResponseNorm
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, AvgPool2DGrad, GlobalAvgPool, MaxPool2D, MaxPool2DGrad
from edge_sdk.spec import Array, Spec

for _device in ("cpu", "reference"):
    load_device(_device)

EXACT, APPROXIMATE = 1e-6, 1e-5  # of the largest sum of magnitudes that a result can be
NONLINEAR = 1e-5  # of the largest result
EXAMPLES = int(os.environ.get("EDGE_PROPERTY_EXAMPLES", "25"))

any_shape = settings(
    max_examples=EXAMPLES,
    deadline=None,  # the first example of a kernel compiles it
    derandomize=EXAMPLES == 25,  # the usual run is the same everywhere; a longer one looks for more
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

activations = st.sampled_from([None, "relu", "relu6"])
channels = st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 48, 64, 96]))
seeds = st.integers(0, 1 << 30)
pairs_to_3 = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


@dataclasses.dataclass(frozen=True)
class Windowed:
    """Geometry of a convolution or a pool that has one or more outputs."""

    images: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Any
    dilation: tuple[int, int]


@st.composite
def windowed(draw: Callable[..., Any], *, dilated: bool = True) -> Windowed:
    """Any geometry; one in three is that of most convolutions."""
    images, size = draw(st.integers(1, 3)), draw(st.tuples(st.integers(1, 19), st.integers(1, 19)))
    if draw(st.integers(0, 2)) == 0:
        return Windowed(images, size, (3, 3), (1, 1), "same", (1, 1))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride, dilation = draw(pairs_to_3), draw(pairs_to_3) if dilated else (1, 1)
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(pads, pads)))
    if padding != "same":  # as large as the window at least
        around = (0, 0) if padding == "valid" else tuple(map(sum, padding))
        reach = [(k - 1) * d + 1 - room for k, d, room in zip(kernel, dilation, around, strict=True)]
        size = (max(size[0], reach[0]), max(size[1], reach[1]))
    return Windowed(images, size, kernel, stride, padding, dilation)


def normal(seed: int, *shape: int) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def reference(op: Op, inputs: list[Array]) -> tuple[Array, ...]:
    """The naive kernel in float64."""
    exact = [x.astype(np.float64) if x.dtype == np.float32 else x for x in inputs]
    (naive,) = applicable_kernels(op, "reference", [Spec(x.shape, x.dtype.name) for x in exact])
    with np.errstate(invalid="ignore", over="ignore"):
        return call_kernel(naive, op, exact)


def results(op: Op, inputs: list[Array]) -> list[tuple[Kernel, tuple[Array, ...]]]:
    """What every applicable CPU kernel computes."""
    found = applicable_kernels(op, "cpu", [Spec(x.shape, x.dtype.name) for x in inputs])
    return [(kernel, call_kernel(kernel, op, inputs)) for kernel in found]


def largest_sum(op: Op, inputs: list[Array]) -> float:
    """The largest sum of magnitudes that a result of a (multi)linear operator is made of."""
    plain: Any = dataclasses.replace(op, activation=None) if hasattr(op, "activation") else op  # type: ignore[type-var]
    return float(max((y.max(initial=0) for y in reference(plain, [np.abs(x) for x in inputs])), default=0))


def check_linear(op: Op, *inputs: Array) -> None:
    """Every kernel of a (multi)linear operator is near the naive one."""
    wanted, scale = reference(op, list(inputs)), largest_sum(op, list(inputs))
    for kernel, outputs in results(op, list(inputs)):
        bound = (APPROXIMATE if kernel.approximate else EXACT) * scale
        for actual, expected in zip(outputs, wanted, strict=True):
            assert np.abs(actual - expected).max(initial=0) <= bound, kernel.algorithm


def check_nonlinear(op: Op, *inputs: Array, scale: float = 0.0) -> None:
    """Every kernel is near the naive one, by its largest result or by the `scale` of terms that may cancel."""
    for kernel, outputs in results(op, list(inputs)):
        for actual, expected in zip(outputs, reference(op, list(inputs)), strict=True):
            finite = np.isfinite(expected)
            np.testing.assert_array_equal(actual[~finite], expected[~finite])
            bound = NONLINEAR * max(scale, np.abs(expected[finite]).max(initial=0))
            assert np.abs(actual[finite] - expected[finite]).max(initial=0) <= bound, kernel.algorithm


@any_shape
@given(windowed(), channels, channels, st.integers(1, 3), activations, st.booleans(), st.booleans(), seeds)
def test_convolution(
    at: Windowed, inputs: int, outputs: int, groups: int, activation: Any, bias: bool, residual: bool, seed: int
) -> None:
    """Forward with bias, residual and activation, and both gradients."""
    if at.stride != (1, 1) or at.kernel != (3, 3):
        inputs, outputs = inputs * groups, outputs * groups
    else:
        groups = 1
    geometry = (at.stride, at.padding, at.dilation, groups)
    forward = Conv2D(*geometry, activation=activation)
    x = normal(seed, at.images, *at.size, inputs)
    w = normal(seed + 1, outputs, *at.kernel, inputs // groups)
    dy = normal(seed + 2, *forward.infer(Spec(x.shape), Spec(w.shape)).shape)
    b = [normal(seed + 3, outputs)] if bias or residual else []

    check_linear(forward, x, w, *b, *([normal(seed + 4, *dy.shape)] if residual else []))
    check_linear(Conv2DGradInput(*geometry, at.size), dy, w)
    check_linear(Conv2DGradWeight(*geometry, at.kernel), dy, x)


@any_shape
@given(windowed(), channels, channels, st.integers(1, 3), activations, st.booleans(), st.booleans(), seeds)
def test_transposed_convolution(
    at: Windowed, inputs: int, outputs: int, groups: int, activation: Any, bias: bool, depthwise: bool, seed: int
) -> None:
    """With bias and activation, in groups or one filter a channel, with what output padding keeps."""
    inputs, outputs = (inputs, inputs) if depthwise else (inputs * groups, outputs * groups)
    groups = inputs if depthwise else groups
    padding = ((0, 0), (0, 0))
    more = (seed % at.stride[0], seed % at.stride[1])
    if not isinstance(at.padding, str):  # as much as leaves a pixel at least
        whole = [
            (n - 1) * s + (k - 1) * d for n, k, s, d in zip(at.size, at.kernel, at.stride, at.dilation, strict=True)
        ]
        cut = [(min(a, room), min(b, room - min(a, room))) for (a, b), room in zip(at.padding, whole, strict=True)]
        padding = (cut[0], cut[1])
    op = ConvTranspose2D(at.stride, padding, at.dilation, groups, more, activation)
    x = normal(seed, at.images, *at.size, inputs)
    w = normal(seed + 1, outputs, *at.kernel, inputs // groups)

    check_linear(op, x, w, *([normal(seed + 2, outputs)] if bias else []))


@any_shape
@given(windowed(), channels, st.integers(1, 3), activations, st.booleans(), seeds)
def test_depthwise_convolution(
    at: Windowed, inputs: int, multiplier: int, activation: Any, bias: bool, seed: int
) -> None:
    """Forward with bias and activation, and both gradients; a multiplier of one is the usual case."""
    multiplier = multiplier if inputs < 20 else 1
    filters, geometry = inputs * multiplier, (at.stride, at.padding, at.dilation)
    forward = DepthwiseConv2D(*geometry, activation=activation)
    x, w = normal(seed, at.images, *at.size, inputs), normal(seed + 1, 1, *at.kernel, filters)
    dy = normal(seed + 2, *forward.infer(Spec(x.shape), Spec(w.shape)).shape)

    check_linear(forward, x, w, *([normal(seed + 3, filters)] if bias else []))
    check_linear(DepthwiseConv2DGradInput(*geometry, at.size, inputs), dy, w)
    check_linear(DepthwiseConv2DGradWeight(*geometry, at.kernel), dy, x)


@any_shape
@given(windowed(dilated=False), channels, st.booleans(), st.booleans(), seeds)
def test_pools(at: Windowed, depth: int, ceil: bool, count_padding: bool, seed: int) -> None:
    """Largest and mean values of windows and their gradients; means over a grid and over all pixels."""
    x = normal(seed, at.images, *at.size, depth)
    largest = MaxPool2D(at.kernel, at.stride, at.padding, ceil)
    average = AvgPool2D(at.kernel, at.stride, at.padding, ceil, count_padding)
    dy = normal(seed + 1, *largest.infer(Spec(x.shape)).shape)

    check_nonlinear(largest, x)
    check_nonlinear(MaxPool2DGrad(at.kernel, at.stride, at.padding), dy, x)
    check_linear(average, x)
    check_linear(AvgPool2DGrad(at.kernel, at.stride, at.padding, count_padding, at.size), dy)
    check_linear(AdaptiveAvgPool2D(at.kernel), x)
    check_linear(GlobalAvgPool(), x)


@any_shape
@given(st.integers(1, 70), st.integers(1, 130), st.integers(1, 300), activations, st.booleans(), seeds)
def test_dense_layers(rows: int, outputs: int, depth: int, activation: Any, bias: bool, seed: int) -> None:
    """Forward with bias and activation; products with either factor transposed, alone and in a batch."""
    x, w = normal(seed, rows, depth), normal(seed + 1, outputs, depth)

    check_linear(Linear(activation), x, w, *([normal(seed + 2, outputs)] if bias else []))
    for of_a in (False, True):
        for of_b in (False, True):
            a = normal(seed, 2, *((depth, rows) if of_a else (rows, depth)))
            b = normal(seed + 1, 2, *((outputs, depth) if of_b else (depth, outputs)))
            check_linear(MatMul(of_a, of_b), a, b)
            check_linear(MatMul(of_a, of_b), a[0].copy(), b[0].copy())


@any_shape
@given(st.integers(1, 5), st.integers(1, 9), st.integers(2, 9), channels, activations, st.booleans(), seeds)
def test_batch_norm(
    images: int, height: int, width: int, depth: int, activation: Any, residual: bool, seed: int
) -> None:
    """Both forms and their gradients, with residual and activation."""
    x, dy, added = normal(seed, 3, images, height, width, depth)
    scale, offset, mean = normal(seed + 1, 3, depth)
    variance = np.abs(normal(seed + 2, depth)) + np.float32(0.1)
    training = BatchNormTraining(activation=activation)
    inputs = [x, scale, offset, mean, variance, *([added] if residual else [])]

    check_nonlinear(BatchNorm(activation=activation), *inputs[:5])
    check_nonlinear(BatchNormGrad(1e-5), dy, x, scale, mean, variance)
    check_nonlinear(training, *inputs)

    y, _, _, batch_mean, inverse_deviation = (each.astype(np.float32) for each in reference(training, inputs))
    rest = [] if activation is None else [offset, y] if residual else [offset]
    gradient = BatchNormTrainingGrad(activation, residual)
    terms = np.abs(dy).max() * np.abs(scale * inverse_deviation).max()
    check_nonlinear(gradient, dy, x, scale, batch_mean, inverse_deviation, *rest, scale=float(terms))


@any_shape
@given(st.integers(1, 40), st.integers(1, 200), st.floats(0.1, 30), seeds)
def test_softmax(rows: int, classes: int, spread: float, seed: int) -> None:
    """Probabilities, their logarithms, their gradient and the loss, near and far from one-hot."""
    x = normal(seed, rows, classes) * np.float32(spread)
    label = np.random.default_rng(seed).integers(-1, classes, rows).astype(np.int32)
    (y,) = (each.astype(np.float32) for each in reference(Softmax(), [x]))

    check_nonlinear(Softmax(), x)
    check_nonlinear(LogSoftmax(), x)
    dy = normal(seed + 1, rows, classes)
    check_nonlinear(SoftmaxGrad(), dy, y, scale=float(np.abs(dy).max()))
    check_nonlinear(SoftmaxCrossEntropy(0.1), x, label)


@any_shape
@given(st.tuples(*[st.integers(1, 6)] * 3), channels, st.integers(0, 3), seeds)
def test_local_response_norm(size: tuple[int, ...], depth: int, half: int, seed: int) -> None:
    """Any number of neighbouring channels, more than there are included."""
    check_nonlinear(LocalResponseNorm(2 * half + 1), normal(seed, *size, depth))


def check_broken_number(op: Op, value: float, place: int, *inputs: Array) -> None:
    """Results that depend on a NaN or infinite number show it, and no others but a Winograd block's neighbours.

    The first input gets the number. Winograd's sums turn an infinite number into NaN.
    """
    broken = inputs[0].copy()
    broken.reshape(-1)[place % broken.size] = value
    (wanted,) = reference(op, [broken, *inputs[1:]])
    for kernel, (actual,) in results(op, [broken, *inputs[1:]]):
        lost = ~np.isfinite(wanted)
        if "winograd" not in kernel.algorithm:
            np.testing.assert_array_equal(actual[lost], wanted[lost], kernel.algorithm)
            assert np.isfinite(actual[~lost]).all(), kernel.algorithm
            continue
        unbounded = getattr(op, "activation", None) is None  # else minus infinity is a proper 0
        assert np.isfinite(actual[lost]).sum() == 0 or not unbounded, kernel.algorithm
        image = place % broken.size // broken[0].size
        assert np.isfinite(np.delete(actual, image, axis=0)).all(), kernel.algorithm


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@any_shape
@given(at=windowed(), depth=channels, outputs=channels, activation=activations, place=seeds, seed=seeds)
def test_convolutions_show_broken_numbers(
    value: float, at: Windowed, depth: int, outputs: int, activation: Any, place: int, seed: int
) -> None:
    """One broken pixel reaches what sees it, through a fused activation too, and nothing else."""
    geometry = (at.stride, at.padding, at.dilation)
    x, w = normal(seed, at.images, *at.size, depth), normal(seed + 1, outputs, *at.kernel, depth)
    forward = Conv2D(*geometry, activation=activation)
    dy = normal(seed + 2, *forward.infer(Spec(x.shape), Spec(w.shape)).shape)

    check_broken_number(forward, value, place, x, w)
    check_broken_number(Conv2DGradInput(*geometry, 1, at.size), value, place, dy, w)
    check_broken_number(DepthwiseConv2D(*geometry, activation), value, place, x, normal(seed, 1, *at.kernel, depth))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@any_shape
@given(at=windowed(dilated=False), depth=channels, rows=st.integers(1, 70), place=seeds, seed=seeds)
def test_pools_and_dense_layers_show_broken_numbers(
    value: float, at: Windowed, depth: int, rows: int, place: int, seed: int
) -> None:
    """A broken number reaches the windows and the rows that it is in, and nothing else."""
    x, rows_of_x = normal(seed, at.images, *at.size, depth), normal(seed, rows, depth)

    check_broken_number(MaxPool2D(at.kernel, at.stride, at.padding), value, place, x)
    check_broken_number(AvgPool2D(at.kernel, at.stride, at.padding), value, place, x)
    check_broken_number(Linear("relu6"), value, place, rows_of_x, normal(seed + 1, 37, depth))
    check_broken_number(MatMul(), value, place, rows_of_x, normal(seed + 1, depth, 37))
    check_broken_number(Softmax(), value, place, rows_of_x)
