"""Products through cuBLAS: described to the real library, whose reading of the descriptions is then computed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from gpu.computed_cublas import ComputedFunctions
from gpu.library_rows import Row, convolutions, products
from gpu.real_libraries import cublas_functions
from op_cases.case import normal

from edge_sdk.errors import DeviceError
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu import cublas
from edge_sdk.kernels.gpu.cublas import MOST_WORKSPACE, Cublas, Product, Run
from edge_sdk.kernels.gpu.cublas_names import Compute, Reduction
from edge_sdk.kernels.gpu.libraries import ALIGNMENT
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Spec

for _device in ("gpu", "reference"):
    load_device(_device)

pytestmark = pytest.mark.nvidia_libraries


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> ComputedFunctions:
    """The stand-in, in the place of a GPU's cuBLAS."""
    functions = ComputedFunctions(cublas_functions())
    library = Cublas(functions, None, None)
    monkeypatch.setattr(cublas, "current_cublas", lambda: library)
    return functions


def is_product(row: Row) -> bool:
    """Whether a convolution multiplies each pixel by a matrix: a window of one pixel that moves by one."""
    op, w = row.op, row.inputs[1]
    kernel = getattr(op, "kernel_size", w.shape[1:3])
    return tuple(kernel) == (1, 1) and op.stride == (1, 1) and op.groups == 1 and "padded" not in row.name


def pixelwise() -> Iterator[Row]:
    """Convolutions that are products of matrices."""
    return filter(is_product, convolutions())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("row", [*products(), *pixelwise()], ids=str)
def test_what_cublas_is_told_is_the_operator(row: Row, dtype: str, opened: ComputedFunctions) -> None:
    """The matrices that cuBLAS reads from its descriptions, at the addresses it is given, are the operator's."""
    (kernel,) = row.kernels(dtype, ["cublas"])

    assert row.worst_error(kernel, dtype) <= 1
    assert opened.computes == [Compute.FLOAT]


@pytest.mark.parametrize("row", [row for row in convolutions() if not is_product(row)], ids=str)
def test_other_convolutions_are_left_alone(row: Row, opened: ComputedFunctions) -> None:
    """Windows of more than a pixel, strides, groups and padding are no product of two matrices."""
    assert row.kernels("float32", ["cublas"]) == []


@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_any_transposition_in_any_batch(
    transposed: tuple[bool, bool], batch: tuple[int, ...], opened: ComputedFunctions
) -> None:
    """Sides that all differ, lying either way, one product or many."""
    a = normal(*batch, *((4, 3) if transposed[0] else (3, 4)))
    b = normal(*batch, *((5, 4) if transposed[1] else (4, 5)), seed=1)
    row = Row("product", MatMul(*transposed), (a, b), 1e-6)

    (kernel,) = row.kernels("float32", ["cublas"])

    assert row.worst_error(kernel, "float32") <= 1


def test_a_result_that_is_not_a_number_stays_so(opened: ComputedFunctions) -> None:
    """The activation after a library's product keeps what is not a number."""
    x, w, b = normal(2, 3), normal(4, 3, seed=1), normal(4, seed=2)
    x[0, 1] = np.nan
    row = Row("nan", Linear(activation="relu6"), (x, w, b), 1e-6)

    (kernel,) = row.kernels("float32", ["cublas"])

    assert row.worst_error(kernel, "float32") <= 1


def test_rounding_factors_is_asked_for_by_the_operator_alone(opened: ComputedFunctions) -> None:
    """TF32 where an operator allows rounded factors, float32 everywhere else."""
    x, w = normal(2, 8), normal(4, 8, seed=1)

    for precision in ("float32", "bfloat16"):
        row = Row(precision, Linear(precision=precision), (x, w), 1e-6)
        row.worst_error(*row.kernels("float32", ["cublas"]), "float32")

    assert opened.computes == [Compute.FLOAT, Compute.TF32]


def test_sums_are_added_in_float32_and_in_a_fixed_order(opened: ComputedFunctions) -> None:
    """An algorithm is chosen among those that need no more memory than is planned, nor better aligned."""
    find_kernel(Linear(), "gpu", [Spec((2, 8)), Spec((4, 8))])

    assert opened.preferences == {
        "MAX_WORKSPACE_BYTES": MOST_WORKSPACE, "REDUCTION_SCHEME_MASK": Reduction.COMPUTE_TYPE,
        **{f"MIN_ALIGNMENT_{name}_BYTES": ALIGNMENT for name in "ABCD"},
    }  # fmt: skip


def test_bfloat16_is_told_as_such(opened: ComputedFunctions) -> None:
    """Its bits are read and written as bfloat16: 1 · 2 + 3 · 0.5 = 3.5 in bits."""
    left, right, out = (np.zeros(64, np.uint16) for _ in range(3))
    left[:2], right[:2] = (0x3F80, 0x4040), (0x4000, 0x3F00)  # 1, 3 and 2, 0.5
    made = Cublas(opened, None, None).made(Product(1, 1, 2, 1, "bfloat16"))
    space = np.zeros(1024, np.uint8)
    assert made is not None

    Run(made, out.ctypes.data, left.ctypes.data, right.ctypes.data, 0, 0, space.ctypes.data)()

    assert out[0] == 0x4060


@pytest.mark.parametrize("op", [Linear(), Conv2D()])
def test_without_an_algorithm_our_own_kernel_runs(op: Linear | Conv2D, opened: ComputedFunctions) -> None:
    """What the library does not take is computed by the package's kernel."""
    opened.supports = False
    shapes = ((2, 8), (4, 8)) if isinstance(op, Linear) else ((2, 3, 3, 8), (4, 1, 1, 8))

    kernel = find_kernel(op, "gpu", [Spec(shape) for shape in shapes])

    assert kernel is not None
    assert kernel.algorithm == op.name


def test_a_status_becomes_an_error_in_words() -> None:
    """What cuBLAS refuses says so in its own words."""
    library = Cublas(cublas_functions(), None, None)

    with pytest.raises(DeviceError, match=r"cuBLAS: product: .+ \(status 7\)"):
        library.check("product", 7)
