"""Products of factors rounded to bfloat16: equal to NumPy's on rounded factors, whatever the shape and the threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kernel_calls import call_kernel

from edge_sdk.kernel import applicable_kernels, device_precisions, find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array, Spec

TESTS = Path(__file__).parents[1]
BOUND = 1e-5  # of the largest result: sums of up to a few thousand float32 terms

needs_instructions = pytest.mark.skipif(
    "bfloat16" not in device_precisions("cpu"), reason="the processor has no avx512_bf16"
)


def rounded(x: Array) -> Array:
    """The nearest bfloat16 of each finite float32, of two equally near the one whose last bit is 0, as float64."""
    ulp = np.exp2(np.floor(np.log2(np.abs(np.where(x == 0, 1, x)).astype(np.float64))) - 7)
    return np.rint(x / ulp) * ulp  # rint takes the even one too


def kernels_for(op: Op, arrays: tuple[Array, ...]) -> list[str]:
    """The algorithms that round."""
    load_device("cpu")
    found = applicable_kernels(op, "cpu", [Spec(a.shape, a.dtype.name) for a in arrays])
    return [kernel.algorithm for kernel in found if kernel.algorithm.startswith("bfloat16")]


def compute(op: Op, algorithm: str, *arrays: Array) -> Array:
    """Run one CPU kernel."""
    kernels = applicable_kernels(op, "cpu", [Spec(a.shape, a.dtype.name) for a in arrays])
    (chosen,) = [kernel for kernel in kernels if kernel.algorithm == algorithm]
    return call_kernel(chosen, op, arrays)[0]


def reference(op: Op, *arrays: Array) -> Array:
    """The naive kernel in float64, on both factors rounded and the rest as it is."""
    load_device("reference")
    factors = [rounded(array) for array in arrays[:2]] + [array.astype(np.float64) for array in arrays[2:]]
    (naive,) = applicable_kernels(op, "reference", [Spec(a.shape, a.dtype.name) for a in factors])
    return call_kernel(naive, op, factors)[0]


def assert_near(result: Array, wanted: Array) -> None:
    assert result.shape == wanted.shape
    assert np.abs(result - wanted).max(initial=0) <= BOUND * np.abs(wanted).max(initial=0)


# Around the edges of tiles (14 × 32), of blocks of rows (112), of pairs of vectors (32), with taps that are whole
# vectors deep or not, next to the border or beyond it.
CONVOLUTIONS = [
    pytest.param((2, 9, 7, 64), 48, 1, Conv2D(), id="1x1"),
    pytest.param((2, 9, 7, 24), 70, 1, Conv2D(), id="1x1-odd-channels"),
    pytest.param((2, 9, 7, 33), 5, 1, Conv2D((2, 2)), id="1x1-stride"),
    pytest.param((1, 5, 5, 4), 3, 1, Conv2D(padding=((1, 1), (1, 1))), id="1x1-padded"),
    pytest.param((2, 13, 11, 64), 20, 3, Conv2D((2, 2), "same"), id="3x3-stride"),
    pytest.param((2, 13, 12, 48), 20, 3, Conv2D((2, 2), "same", (2, 2)), id="3x3-stride-and-dilation"),
    pytest.param((3, 13, 11, 24), 40, 3, Conv2D((2, 1), "same"), id="3x3-half-vectors"),
    pytest.param((2, 30, 30, 40), 33, 3, Conv2D((2, 2), ((1, 1), (1, 1))), id="3x3-several-blocks"),
    pytest.param((2, 9, 9, 32), 64, 5, Conv2D(padding="same"), id="5x5"),
    pytest.param((3, 23, 23, 3), 33, 11, Conv2D((4, 4), ((2, 2), (2, 2))), id="11x11-first-layer"),
    pytest.param((1, 1, 300, 513), 36, 1, Conv2D(), id="deep"),
]


@needs_instructions
@pytest.mark.parametrize(("shape", "outputs", "taps", "op"), CONVOLUTIONS)
def test_convolutions_equal_numpy_on_rounded_factors(
    shape: tuple[int, ...], outputs: int, taps: int, op: Conv2D
) -> None:
    """Forward with bias, relu and a residual, and both gradients."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape, np.float32), rng.standard_normal((outputs, taps, taps, shape[3]), np.float32)
    b = rng.standard_normal(outputs, np.float32)
    dy, residual = rng.standard_normal((2, *op.infer(Spec(x.shape), Spec(w.shape)).shape), np.float32)
    forward = replace(op, activation="relu", precision="bfloat16")
    geometry = (op.stride, op.padding, op.dilation, 1)
    cases: list[tuple[Op, tuple[Array, ...]]] = [
        (forward, (x, w)),
        (forward, (x, w, b, residual)),
        (Conv2DGradInput(*geometry, (shape[1], shape[2]), "bfloat16"), (dy, w)),
        (Conv2DGradWeight(*geometry, (taps, taps), "bfloat16"), (dy, x)),
    ]
    for case, arrays in cases:
        result = compute(case, "bfloat16 patches", *arrays)

        assert_near(result, reference(case, *arrays))


SIZES = [
    (1, 1, 1),
    (2, 3, 9000),
    (5, 70, 4100),
    (9, 33, 4096),
    (16, 300, 513),
    (32, 600, 100),
    (40, 33, 65),
    (130, 20, 255),
    (1000, 40, 31),
]


@needs_instructions
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_dense_layers_equal_numpy_on_rounded_factors(size: tuple[int, int, int]) -> None:
    """With few rows and with many, and every way to transpose that has a kernel of its own."""
    rows, columns, depth = size
    rng = np.random.default_rng(sum(size))
    a, b = rng.standard_normal((rows, depth), np.float32), rng.standard_normal((columns, depth), np.float32)
    bias = rng.standard_normal(columns, np.float32)
    cases: list[tuple[Op, tuple[Array, ...]]] = [
        (Linear("relu6", "bfloat16"), (a, b, bias)),
        (MatMul(precision="bfloat16"), (a, np.ascontiguousarray(b.T))),
        (MatMul(transpose_b=True, precision="bfloat16"), (a, b)),
        (MatMul(transpose_a=True, precision="bfloat16"), (np.ascontiguousarray(a.T), np.ascontiguousarray(b.T))),
    ]
    for op, arrays in cases:
        algorithms = kernels_for(op, arrays)

        assert algorithms
        for algorithm in algorithms:
            assert_near(compute(op, algorithm, *arrays), reference(op, *arrays))


@needs_instructions
def test_a_number_becomes_the_nearest_bfloat16() -> None:
    """Ties go to the even one; what has no bfloat16 of full precision becomes zero; signs, infinity and NaN stay."""
    ulp = 2.0**-7
    numbers = [1.0, 1 + ulp / 2, 1 + 3 * ulp / 2, 1 + 0.51 * ulp, -(1 + ulp / 2), 2.0**-126, 2.0**-127, np.inf, np.nan]
    wanted = [1.0, 1.0, 1 + 2 * ulp, 1 + ulp, -1.0, 2.0**-126, 0.0, np.inf, np.nan]
    x = np.array(numbers, np.float32).reshape(-1, 1)

    y = compute(Linear(precision="bfloat16"), "bfloat16 dot products", x, np.ones((1, 1), np.float32))

    np.testing.assert_array_equal(y[:, 0], np.array(wanted, np.float32))


@needs_instructions
@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_not_a_number_survives(activation: str) -> None:
    """A diverged training shows NaN; neither rounding nor clipping hides it, and other rows keep their numbers."""
    x, w = np.ones((3, 3, 3, 40), np.float32), np.ones((4, 1, 1, 40), np.float32)
    x[1] = np.nan

    y = compute(Conv2D(activation=activation, precision="bfloat16"), "bfloat16 patches", x, w)

    assert np.isnan(y[1]).all()
    assert not np.isnan(y[::2]).any()


MARKED = [
    (Conv2D(precision="bfloat16"), (4, 14, 14, 64), (128, 1, 1, 64)),
    (Conv2D((2, 2), precision="bfloat16"), (4, 14, 14, 64), (128, 3, 3, 64)),
    (Conv2DGradInput((1, 1), "valid", (1, 1), 1, (14, 14), "bfloat16"), (4, 14, 14, 128), (128, 1, 1, 64)),
    (Conv2DGradWeight((1, 1), "valid", (1, 1), 1, (1, 1), "bfloat16"), (4, 14, 14, 128), (4, 14, 14, 64)),
    (Linear(precision="bfloat16"), (16, 512), (256, 512)),
    (Linear(precision="bfloat16"), (64, 512), (256, 512)),
    (MatMul(precision="bfloat16"), (16, 256), (256, 512)),
    (MatMul(transpose_a=True, precision="bfloat16"), (16, 256), (16, 512)),
]


@needs_instructions
@pytest.mark.parametrize(("op", "a", "b"), MARKED, ids=str)
def test_a_session_takes_the_rounding_kernel_where_it_is_allowed_to(
    op: Op, a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    """The attribute alone decides: without it no kernel rounds."""
    load_device("cpu")
    specs = [Spec(a), Spec(b)]

    marked = find_kernel(op, "cpu", specs)
    plain = applicable_kernels(replace(op, precision="float32"), "cpu", specs)

    assert marked is not None
    assert marked.algorithm.startswith("bfloat16")
    assert not any(kernel.algorithm.startswith("bfloat16") for kernel in plain)


def test_without_the_instructions_float32_kernels_do_what_is_marked() -> None:
    """Compiled for an older processor, no kernel rounds, and every marked operator still has one."""
    program = (
        "from test_bfloat16 import MARKED\n"
        "from edge_sdk.kernel import device_precisions, find_kernel\n"
        "from edge_sdk.spec import Spec\n"
        "print(device_precisions('cpu'), [find_kernel(op, 'cpu', [Spec(a), Spec(b)]).algorithm for op, a, b in MARKED])"
    )

    output = run_python(program, NUMBA_CPU_NAME="x86-64-v3", EDGE_SIMD_LANES="8")

    assert output.startswith("('float32',)")
    assert "bfloat16" not in output
    assert output.count("'") // 2 == len(MARKED) + 1


def digest_of_sums() -> str:
    """A hash of results whose sums are shared among threads."""
    rng = np.random.default_rng(0)
    dy, x = rng.standard_normal((2, 4, 30, 31, 40), np.float32)
    w = rng.standard_normal((40, 1, 1, 40), np.float32)
    flat = x[:, :3].reshape(-1, 40)
    results = [
        compute(Conv2D(precision="bfloat16"), "bfloat16 patches", x, w),
        compute(Conv2DGradInput((1, 1), "valid", (1, 1), 1, (30, 31), "bfloat16"), "bfloat16 patches", dy, w),
        compute(Conv2DGradWeight((1, 1), "valid", (1, 1), 1, (1, 1), "bfloat16"), "bfloat16 patches", dy, x),
        compute(Conv2DGradWeight((1, 1), "same", (1, 1), 1, (5, 5), "bfloat16"), "bfloat16 patches", dy, x),
        compute(Linear(precision="bfloat16"), "bfloat16 packed gemm", flat, flat[:100]),
        compute(Linear(precision="bfloat16"), "bfloat16 dot products", flat[:19], flat),
        compute(MatMul(precision="bfloat16"), "bfloat16 strips", x[0, 0], np.ascontiguousarray(flat[:400].T)),
    ]
    return hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()


@needs_instructions
@pytest.mark.parametrize("threads", [1, 3])
def test_the_bytes_do_not_depend_on_the_number_of_threads(threads: int) -> None:
    """The same sums in another process with another number of threads."""
    load_device("cpu")
    program = (
        "from edge_sdk.kernel import load_device; load_device('cpu')\n"
        "from test_bfloat16 import digest_of_sums; print(digest_of_sums())"
    )

    assert run_python(program, NUMBA_NUM_THREADS=str(threads)) == digest_of_sums()


def run_python(program: str, **variables: str) -> str:
    """What a program prints in a process of its own with these environment variables."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS / 'ops'}{os.pathsep}{TESTS}"} | variables
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
