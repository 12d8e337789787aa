"""What the CPU kernels promise beyond the operator table: matrix products of any shape, equal bytes for any threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_calls import call_kernel

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, Conv2DGradWeight, DepthwiseConv2D, DepthwiseConv2DGradWeight
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.norm import BatchNormTraining
from edge_sdk.ops.statistics import Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.ops.update import GroupedSGDUpdate
from edge_sdk.spec import Array, Spec

TESTS = Path(__file__).parents[1]


def compute(op: Op, *inputs: Array) -> tuple[Array, ...]:
    """Run the CPU kernel that a Session would take."""
    load_device("cpu")
    kernel = find_kernel(op, "cpu", [Spec(x.shape, x.dtype.name) for x in inputs])
    assert kernel is not None
    return call_kernel(kernel, op, inputs)


# Around the edges of register tiles (up to 14 × 32), blocks of rows (112), of columns and of depth (256), and with
# a depth that is cut into parts.
SIZES = [
    (1, 1, 1),
    (1, 33, 257),
    (8, 16, 15),
    (13, 31, 17),
    (15, 17, 256),
    (16, 32, 600),
    (28, 48, 5),
    (111, 257, 40),
    (113, 20, 255),
    (226, 65, 512),
    (340, 300, 31),
    (20, 40, 5000),
    (0, 3, 2),
]


@pytest.mark.parametrize("transposed", ["none", "a", "b", "both"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matrix_product_of_any_shape(size: tuple[int, int, int], transposed: str) -> None:
    """Every remainder of the blocking gives NumPy's float64 product."""
    m, n, depth = size
    rng = np.random.default_rng(m + n + depth)
    a, b = rng.standard_normal((m, depth), np.float32), rng.standard_normal((depth, n), np.float32)
    of_a, of_b = transposed in ("a", "both"), transposed in ("b", "both")

    (product,) = compute(
        MatMul(transpose_a=of_a, transpose_b=of_b),
        np.ascontiguousarray(a.T) if of_a else a,
        np.ascontiguousarray(b.T) if of_b else b,
    )

    wanted = a.astype(np.float64) @ b
    assert product.shape == (m, n)
    assert np.all(np.abs(product - wanted) <= 1e-5 * np.sqrt(depth))


NAN_CASES = [
    pytest.param(Linear(activation="relu6"), np.ones((2, 2)), np.ones((40, 2)), id="tile"),
    pytest.param(Linear(activation="relu"), np.ones((1, 9000)), np.ones((3, 9000)), id="parts"),
    pytest.param(Conv2D(activation="relu6"), np.ones((1, 3, 3, 2)), np.ones((4, 2, 2, 2)), id="patches"),
    pytest.param(DepthwiseConv2D(activation="relu6"), np.ones((1, 3, 3, 19)), np.ones((1, 2, 2, 19)), id="depthwise"),
    pytest.param(DepthwiseConv2D(activation="relu"), np.ones((1, 3, 3, 2)), np.ones((1, 2, 2, 4)), id="multiplier"),
]


@pytest.mark.parametrize(("op", "x", "w"), NAN_CASES)
def test_not_a_number_survives_a_fused_activation(op: Op, x: Array, w: Array) -> None:
    """A diverged training shows NaN; clipping must not hide it."""
    x, w = x.astype(np.float32), w.astype(np.float32)
    x[0] = np.nan

    (y,) = compute(op, x, w)

    assert np.isnan(y[0]).all()
    assert not np.isnan(y[1:]).any()


def digest_of_sums() -> str:
    """A hash of results whose sums are shared among threads."""
    rng = np.random.default_rng(0)
    dy, x = rng.standard_normal((2, 4, 30, 31, 40), np.float32)
    channels = list(rng.uniform(0.5, 1, (4, 40)).astype(np.float32))
    geometry = ((1, 1), "same", (1, 1))
    lines = x.reshape(1, 465, 8, 40)  # in as many parts as there are
    results = [
        *compute(MatMul(transpose_a=True), dy.reshape(-1, 40), x.reshape(-1, 40)),
        *compute(Conv2DGradWeight(*geometry, 1, (3, 3)), dy, x),
        *compute(DepthwiseConv2DGradWeight(*geometry, (3, 3)), dy, x),
        *compute(Conv2DGradWeight(*geometry, 1, (3, 3)), dy[..., :32].copy(), x[..., :32].copy()),
        *compute(Conv2D(padding="same"), x[..., :32].copy(), dy[:, :3, :3, :32].copy().repeat(8, axis=0)),
        *compute(BatchNormTraining(), x, *channels),
        *compute(Conv2DStatistics(), lines, dy[0, 0, :24].reshape(24, 1, 1, 40)),
        *compute(Conv2DStatistics(padding="same"), lines, dy[0, :9, :24].reshape(24, 3, 3, 40)),
        *compute(DepthwiseConv2DStatistics(padding="same"), lines, dy[0, :3, :3].reshape(1, 3, 3, 40)),
        *compute(GroupedSGDUpdate(0.9), np.float32(0.1).reshape(()), *dy.reshape(3, -1), *x.reshape(6, -1)),
    ]
    return hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_bytes_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    """The same sums in another process with another number of threads."""
    program = "from test_cpu_kernels import digest_of_sums; print(digest_of_sums())"
    environment = os.environ | {"NUMBA_NUM_THREADS": str(threads), "PYTHONPATH": f"{TESTS / 'ops'}{os.pathsep}{TESTS}"}

    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=True
    )

    assert result.stdout.strip() == digest_of_sums()
