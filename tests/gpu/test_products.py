"""What the table of cases leaves open for products and convolutions: gradients, edges of tiles, long sums, halves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from gpu.orders import other_order
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from kernel_calls import call_kernel
from op_cases.case import normal

from edge_sdk.errors import GraphError, ShapeError
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu import products
from edge_sdk.kernels.gpu.products import countable, part_terms, parts_of
from edge_sdk.op import Op
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.geometry import Padding, Pair
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.statistics import Conv2DStatistics
from edge_sdk.spec import Array, Spec

for _device in ("gpu", "reference"):
    load_device(_device)

TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-3
"""Results are rounded to 11 bits, and their inputs are taken as they are."""


def difference(op: Op, inputs: Sequence[Array]) -> float:
    """The largest error of the CUDA kernel over the largest wanted magnitude; both orders of threads must agree."""
    double = [x.astype(np.float64) for x in inputs]
    naive = find_kernel(op, "reference", [Spec(x.shape, x.dtype.name) for x in double])
    kernel = find_kernel(op, "gpu", [Spec(x.shape, x.dtype.name) for x in inputs])
    assert naive is not None
    assert kernel is not None
    wanted = call_kernel(naive, op, double)
    outputs = call_on_device(kernel, op, inputs)
    with other_order():
        again = call_on_device(kernel, op, inputs)
    assert [y.tobytes() for y in outputs] == [y.tobytes() for y in again]
    errors = [
        float(np.max(np.abs(y - right)) / (np.max(np.abs(right)) or 1.0)) if y.size else 0.0
        for y, right in zip(outputs, wanted, strict=True)
    ]
    return max(errors)


def convolution_inputs(
    op: Conv2D, x: Array, kernel: Pair, outputs: int
) -> dict[type[Op], tuple[Op, tuple[Array, Array]]]:
    """The convolution and both gradients of one geometry, with inputs."""
    w = normal(outputs, *kernel, x.shape[3] // op.groups, seed=1)
    dy = normal(*op.infer(Spec(x.shape), Spec(w.shape)).shape, seed=2)
    rest = (op.stride, op.padding, op.dilation, op.groups)
    return {
        Conv2D: (op, (x, w)),
        Conv2DGradInput: (Conv2DGradInput(*rest, input_size=(x.shape[1], x.shape[2])), (dy, w)),
        Conv2DGradWeight: (Conv2DGradWeight(*rest, kernel_size=kernel), (dy, x)),
    }


sizes = st.integers(1, 9)
steps = st.integers(1, 4)
pads = st.integers(0, 3)
pairs = st.tuples(steps, steps)
paddings: st.SearchStrategy[Padding] = st.one_of(
    st.sampled_from(["same", "valid"]), st.tuples(st.tuples(pads, pads), st.tuples(pads, pads))
)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), sizes, sizes), kernel=pairs, stride=pairs, dilation=pairs, padding=paddings,
    groups=st.integers(1, 3), channels=st.integers(1, 5), outputs=st.integers(1, 5),
)  # fmt: skip
def test_convolutions_and_gradients_of_any_geometry(
    size: tuple[int, int, int], kernel: Pair, stride: Pair, dilation: Pair, padding: Padding, groups: int,
    channels: int, outputs: int,
) -> None:  # fmt: skip
    """Whatever the padding, steps and groups, a convolution and both gradients are those of the naive kernels."""
    op = Conv2D(stride, padding, dilation, groups)
    try:
        made = convolution_inputs(op, normal(*size, channels * groups), kernel, outputs * groups)
    except ShapeError:
        reject()

    for one, inputs in made.values():
        assert difference(one, inputs) <= TOLERANCE


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), sizes, sizes), kernel=pairs, stride=pairs, dilation=pairs, padding=paddings,
    channels=st.integers(1, 40), multiplier=st.integers(1, 3),
)  # fmt: skip
def test_depthwise_convolutions_and_gradients_of_any_geometry(
    size: tuple[int, int, int], kernel: Pair, stride: Pair, dilation: Pair, padding: Padding, channels: int,
    multiplier: int,
) -> None:  # fmt: skip
    """The same for depthwise convolutions, with more channels than a warp has threads and with multipliers."""
    op = DepthwiseConv2D(stride, padding, dilation)
    x, w = normal(*size, channels), normal(1, *kernel, channels * multiplier, seed=1)
    try:
        dy = normal(*op.infer(Spec(x.shape), Spec(w.shape)).shape, seed=2)
    except ShapeError:
        reject()
    geometry = (stride, padding, dilation)
    grad_input = DepthwiseConv2DGradInput(*geometry, input_size=(size[1], size[2]), channels=channels)

    assert difference(op, (x, w)) <= TOLERANCE
    assert difference(grad_input, (dy, w)) <= TOLERANCE
    assert difference(DepthwiseConv2DGradWeight(*geometry, kernel_size=kernel), (dy, x)) <= TOLERANCE


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 2), sizes, sizes), kernel=pairs, stride=pairs, dilation=pairs,
    padding=st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)), extra=st.tuples(pads, pads),
    groups=st.integers(1, 3),
)  # fmt: skip
def test_transposed_convolutions_of_any_geometry(
    size: tuple[int, int, int], kernel: Pair, stride: Pair, dilation: Pair, padding: tuple[Pair, Pair], extra: Pair,
    groups: int,
) -> None:  # fmt: skip
    """Pixels that no tap meets get the bias alone, others what the naive kernel gives them."""
    op = ConvTranspose2D(stride, padding, dilation, groups, output_padding=extra)
    inputs = (normal(*size, 2 * groups), normal(3 * groups, *kernel, 2, seed=1), normal(3 * groups, seed=2))
    try:
        op.infer(*(Spec(x.shape) for x in inputs))
    except ShapeError:
        reject()

    assert difference(op, inputs) <= TOLERANCE


@pytest.mark.parametrize(("rows", "columns"), [(1, 65), (63, 64), (64, 63), (65, 1), (129, 64)])
@pytest.mark.parametrize("terms", [1, 15, 16, 17, 33])
def test_edges_of_tiles(rows: int, columns: int, terms: int) -> None:
    """One less and one more than a tile holds, in every direction."""
    assert difference(Linear(), (normal(rows, terms), normal(columns, terms, seed=1), normal(columns, seed=2))) <= 1e-6


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_products_whose_sums_are_split(transpose_a: bool, transpose_b: bool) -> None:
    """A sum long enough to be made in parts, whose last one is shorter, for each way an operand can lie."""
    terms = 1111
    a, b = normal(2, 66, terms), normal(2, terms, 70, seed=1)
    op = MatMul(transpose_a, transpose_b)
    inputs = tuple(
        np.ascontiguousarray(np.swapaxes(x, 1, 2)) if turned else x
        for x, turned in ((a, transpose_a), (b, transpose_b))
    )

    assert parts_of(terms, 8) > 1
    assert terms % part_terms(terms, 8)
    assert difference(op, inputs) <= TOLERANCE


def test_a_bias_and_an_activation_come_after_the_parts_of_a_sum() -> None:
    """They are applied to the whole sum, once."""
    op = Linear(activation="relu6")

    assert difference(op, (normal(5, 1500), normal(67, 1500, seed=1), normal(67, seed=2))) <= TOLERANCE


@pytest.mark.parametrize("kind", [Conv2D, Conv2DGradInput, Conv2DGradWeight])
@pytest.mark.parametrize("stride", [1, 2])
def test_layers_of_several_tiles(kind: type[Op], stride: int) -> None:
    """More pixels, channels and outputs than one tile has, with sums in parts for the weights."""
    op = Conv2D((stride, stride), padding=((1, 1), (1, 1)), groups=2)
    one, inputs = convolution_inputs(op, normal(3, 19, 17, 2 * 35), (3, 3), 2 * 66)[kind]

    assert difference(one, inputs) <= TOLERANCE


@pytest.mark.parametrize("kind", [Conv2D, Conv2DGradInput, Conv2DGradWeight])
def test_layers_of_wide_tiles(kind: type[Op], monkeypatch: pytest.MonkeyPatch) -> None:
    """Results large enough for wide tiles are the same by them; here they are taken for smaller ones too."""
    monkeypatch.setattr(products, "wide_tiles_fit", lambda *_: True)
    one, inputs = convolution_inputs(Conv2D((2, 1), "same", groups=2), normal(1, 20, 15, 2 * 18), (3, 3), 2 * 131)[kind]

    assert difference(one, inputs) <= TOLERANCE


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_products_by_wide_tiles(transpose_a: bool, transpose_b: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than a wide tile holds, in every direction."""
    monkeypatch.setattr(products, "wide_tiles_fit", lambda *_: True)
    a, b = normal(2, 129, 17), normal(2, 17, 130, seed=1)
    inputs = tuple(
        np.ascontiguousarray(np.swapaxes(x, 1, 2)) if turned else x
        for x, turned in ((a, transpose_a), (b, transpose_b))
    )

    assert difference(MatMul(transpose_a, transpose_b), inputs) <= TOLERANCE


@pytest.mark.parametrize(
    ("rows", "columns", "wanted"), [(256 * 56 * 56, 256, True), (256 * 56 * 56, 64, False), (256, 1000, False)]
)
def test_which_results_are_made_by_wide_tiles(rows: int, columns: int, wanted: bool) -> None:
    """Large ones; not narrow ones, half of which would lie outside, nor those that would leave a GPU idle."""
    assert products.wide_tiles_fit(rows, columns, 1) is wanted


@pytest.mark.parametrize("kind", [Conv2D, Conv2DGradInput, Conv2DGradWeight])
def test_numbers_of_16_bits_are_summed_in_32(kind: type[Op]) -> None:
    """Only the result is rounded to float16: a sum of thousands of products keeps its accuracy."""
    one, inputs = convolution_inputs(Conv2D(padding="same"), normal(2, 24, 24, 70), (3, 3), 20)[kind]

    assert difference(one, [x.astype(np.float16) for x in inputs]) <= HALF_TOLERANCE


def test_statistics_of_sliced_parts() -> None:
    """Parts of several slices, far from zero: the deviations are not lost in the rounding of a large sum."""
    op = Conv2DStatistics()
    b = np.full(3, 1000, np.float32)

    assert difference(op, (normal(6, 64, 56, 2), normal(3, 1, 1, 2, seed=1), b)) <= TOLERANCE


@pytest.mark.parametrize("op", [
    Conv2DGradWeight((1, 1), "same", (1, 1), 1, kernel_size=(3, 3)),
    DepthwiseConv2DGradWeight((1, 1), "same", (1, 1), kernel_size=(3, 3)),
])  # fmt: skip
def test_weight_gradients_of_no_images_are_zero(op: Op) -> None:
    """Outputs are written even where there is nothing to add up."""
    inputs = (np.zeros((0, 5, 5, 4), np.float32), np.zeros((0, 5, 5, 4), np.float32))
    kernel = find_kernel(op, "gpu", [Spec(x.shape) for x in inputs])
    assert kernel is not None

    (dw,) = call_on_device(kernel, op, inputs)

    assert not dw.any()


def test_a_count_beyond_32_bits_is_refused() -> None:
    """Kernels count pixels in 32 bits; what does not fit is named, with what to do."""
    with pytest.raises(GraphError, match="smaller batches"):
        countable("conv2d: pixels", 2**31)
