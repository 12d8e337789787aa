"""Depthwise convolutions by strips beyond the operator table: borders, blocks that are not full, other addresses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gpu.reference_checks import assert_like_reference
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from kernel_calls import call_kernel
from op_cases.case import normal

from edge_sdk.errors import ShapeError
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu import depthwise_strips
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.ops.conv import DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight
from edge_sdk.spec import Spec

load_device("gpu")
CLOSE = {"float32": 1e-6, "float16": 2e-3, "float64": 1e-13}
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


def assert_all_three_right(op, x, w, dtype="float32"):
    """The convolution with a bias and both its gradients, on numbers of a type."""
    y = op.infer(Spec(x.shape), Spec(w.shape)).shape
    x, w, dy, b = (a.astype(dtype) for a in (x, w, normal(*y, seed=3), normal(w.shape[3], seed=4)))
    geometry, close = (op.stride, op.padding, op.dilation), CLOSE[dtype]

    terms = find_kernel(linear := dataclasses.replace(op, activation=None), "reference", [Spec(x.shape)] * 3)
    (sizes,) = call_kernel(terms, linear, [np.abs(a).astype(np.float64) for a in (x, w, b)])

    assert_like_reference(op, x, w, b, tolerance=close, magnitude=sizes)  # of which relu6 may hide all
    assert_like_reference(DepthwiseConv2DGradInput(*geometry, x.shape[1:3], x.shape[3]), dy, w, tolerance=close)
    assert_like_reference(DepthwiseConv2DGradWeight(*geometry, w.shape[1:3]), dy, x, tolerance=close)


def computed_at(op, inputs, offset=0):
    """What the kernel makes of arrays that begin so many numbers behind an aligned address."""
    driver, specs = current_driver(), [Spec(x.shape) for x in inputs]

    def place(content):
        memory = driver.allocate(content.nbytes + 64).view(content.dtype)[offset : offset + content.size]
        driver.write(memory, content.reshape(-1))
        return memory.reshape(content.shape)

    kernel, (out,) = find_kernel(op, "gpu", specs), op.infer_outputs(specs)
    scratch = tuple(place(np.full(spec.shape, np.nan, np.float32)) for spec in kernel.scratch_specs(op, specs))
    y = place(np.full(out.shape, np.nan, np.float32))
    kernel.bind(op, y, [place(x) for x in inputs], kernel.keywords(scratch, ()))()
    return driver.read(y)


@settings(max_examples=40, deadline=None)
@given(
    image=st.tuples(st.integers(1, 3), st.integers(1, 13), st.integers(1, 21), st.sampled_from([4, 8, 20, 68])),
    kernel=st.tuples(st.integers(1, 6), st.sampled_from([3, 5])),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    padding=st.one_of(st.sampled_from(["same", "valid"]), st.tuples(pads, pads)),
    dilation=st.integers(1, 2),
)
def test_any_geometry(image, kernel, stride, padding, dilation):
    """Strips that are cut off at either border, lines that no tap meets, images of fewer pixels than a strip."""
    op = DepthwiseConv2D(stride, padding, (dilation, 1), activation="relu6")
    x, w = normal(*image), normal(1, *kernel, image[3], seed=1)
    try:
        op.infer(Spec(x.shape), Spec(w.shape))
    except ShapeError:
        reject()

    assert depthwise_strips.fit(op, kernel[1], Spec(x.shape), Spec(x.shape))
    assert_all_three_right(op, x, w)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_other_types(dtype, width, stride):
    """Sums are made in float32 at least, whatever is stored, and rounded once."""
    op = DepthwiseConv2D((stride, stride), "same")

    assert_all_three_right(op, normal(2, 9, 11, 24), normal(1, width, width, 24, seed=1), dtype)


def test_weight_gradients_of_many_parts(monkeypatch):
    """More lines than a block's groups take, more parts than rows of threads that add them up, one with no line."""
    monkeypatch.setattr(depthwise_strips, "LEAST_PIXELS", 1)
    op = DepthwiseConv2DGradWeight((1, 1), "same", (1, 1), (3, 3))
    dy, x = normal(3, 30, 9, 64), normal(3, 30, 9, 64, seed=1)

    assert depthwise_strips.weight_parts(op, Spec(dy.shape)) > 16
    assert_like_reference(op, dy, x, tolerance=1e-6)


def test_what_lies_outside_of_the_image_is_not_multiplied():
    """A weight that is no number reaches the pixels that its tap meets, and no other."""
    x, w = normal(1, 6, 6, 8), normal(1, 3, 3, 8, seed=1)
    w[0, 0, 0, 5] = np.nan

    found = np.isnan(computed_at(DepthwiseConv2D(padding="same"), (x, w))[0])

    assert found[1:, 1:, 5].all()
    assert found.sum() == 25


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_blocks_are_within_what_a_gpu_runs(rows, monkeypatch):
    """A GPU has at most 64 threads along the third axis of a block, which few channels would need more of."""
    blocks = []
    record = lambda *given, dtype: blocks.append(given[3])  # noqa: E731 - stands in for a function
    monkeypatch.setattr(depthwise_strips, "launch", record)
    op, spec = DepthwiseConv2DGradWeight((1, 1), "same", (1, 1), (rows, 3)), Spec((8, 200, 9, 4))
    partial = np.empty((depthwise_strips.weight_parts(op, spec), 1), np.float32)

    depthwise_strips.weight_gradient(op, partial, partial, partial, spec, None)

    assert blocks[0][:2] == (1, rows)
    assert 32 < blocks[0][2] <= 64


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_any_address(offset):
    """Where 16 bytes cannot be loaded at once, numbers are read one by one, and the results are the same."""
    op, x, w = DepthwiseConv2D((1, 2), "same"), normal(2, 5, 9, 16), normal(1, 3, 3, 16, seed=1)
    dy = normal(2, 5, 5, 16, seed=2)
    grad_input = DepthwiseConv2DGradInput((1, 2), "same", (1, 1), (5, 9), 16)
    grad_weight = DepthwiseConv2DGradWeight((1, 2), "same", (1, 1), (3, 3))

    for one, inputs in ((op, (x, w)), (grad_input, (dy, w)), (grad_weight, (dy, x))):
        moved = computed_at(one, inputs, offset)
        np.testing.assert_allclose(moved, computed_at(one, inputs), rtol=1e-5, atol=1e-5)
