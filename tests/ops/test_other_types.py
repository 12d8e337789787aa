"""The processor computes operators on other types than float32 too, by their naive kernels."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.builder import Builder
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.pool import MaxPool2D
from edge_sdk.session import Session
from edge_sdk.spec import Array, Spec
from edge_sdk.workspace import Workspace


def run(op: Op, *inputs: Array) -> tuple[Array, ...]:
    """What a Session on the processor computes."""
    g = Builder("other_types")
    values = [g.input(f"x{i}", Spec(x.shape, x.dtype.name)) for i, x in enumerate(inputs)]
    outputs = g.add_multi(op, *values, name="y")
    found = Session(g.build(*outputs), Workspace(), "cpu", threads=1).run({f"x{i}": x for i, x in enumerate(inputs)})
    return tuple(found[value] for value in outputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float64_equals_an_independent_oracle(case: Case) -> None:
    """Every row of the operator table, in float64: nothing reads the numbers as if they were of 4 bytes."""
    inputs = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in case.inputs]
    oracle = case.oracle(*inputs)

    outputs = run(case.op, *inputs)

    for actual, wanted in zip(outputs, oracle if isinstance(oracle, tuple) else (oracle,), strict=False):
        scale = float(np.max(np.abs(wanted), initial=0)) or 1.0
        assert np.max(np.abs(actual.astype(np.float64) - wanted), initial=0) <= case.oracle_tolerance * scale


def test_products_of_whole_numbers_are_exact() -> None:
    """A matrix product and a convolution of int32, whose sums no float32 holds."""
    a, b = (np.random.default_rng(seed).integers(-(2**13), 2**13, (5, 5), np.int32) for seed in (0, 1))

    (product,) = run(MatMul(), a, b)
    (pixels,) = run(Conv2D(), a.reshape(1, 5, 1, 5), np.ascontiguousarray(b.T).reshape(5, 1, 1, 5))

    wanted = [[sum(int(a[i, k]) * int(b[k, j]) for k in range(5)) for j in range(5)] for i in range(5)]
    assert product.tolist() == wanted
    assert pixels[0, :, 0].tolist() == wanted


def test_half_precision_rounds_once() -> None:
    """1 + 2048 · 2⁻¹⁰ is made in float32: each of those terms alone would vanish beside 1 + 2 in float16."""
    x, w = np.ones((1, 2049), np.float16), np.full((2049, 1), 2.0**-10, np.float16)
    w[0] = 1

    (y,) = run(MatMul(), x, w)

    assert y.dtype == np.float16
    assert y.tolist() == [[3.0]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_the_largest_whole_numbers_of_windows(dtype: str) -> None:
    """By hand, the padding at the edge left out."""
    x = np.array([[3, 1], [0, 2]], dtype).reshape(1, 2, 2, 1)

    (y,) = run(MaxPool2D((2, 2), (1, 1), ((0, 1), (0, 1))), x)

    assert y.reshape(2, 2).tolist() == [[3, 2], [2, 2]]


def test_labels_and_indices_do_not_make_a_kernel_naive() -> None:
    """A lookup in float32 by int64 indices keeps the processor's own kernel."""
    load_device("cpu")

    own = find_kernel(Gather(), "cpu", [Spec((4, 3)), Spec((2,), "int64")])
    naive = find_kernel(Gather(), "cpu", [Spec((4, 3), "float64"), Spec((2,), "int64")])

    assert own is not None
    assert naive is not None
    assert own.function.__module__ == "edge_sdk.kernels.cpu.indexing"
    assert naive.function.__module__ == "edge_sdk.kernels.reference.indexing"
