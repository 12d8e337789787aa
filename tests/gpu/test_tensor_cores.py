"""Products of numbers of 16 bits and of TF32, by tensor cores, real or emulated, against sums in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from gpu.devices import error_of_addition
from gpu.orders import other_order
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from kernel_calls import call_kernel
from op_cases.case import normal

from edge_sdk.errors import ShapeError
from edge_sdk.kernel import Kernel, find_kernel, load_device, registered_kernels
from edge_sdk.kernels.gpu import products
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.products import Arithmetic, arithmetic, has_tensor_cores, plan
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
from edge_sdk.spec import Array, Spec

for _device in ("gpu", "reference"):
    load_device(_device)


@dataclass(frozen=True)
class Numbers:
    """A type of factors: by how much a number is rounded when it is stored, and a factor when it is multiplied."""

    dtype: str
    stored: float
    factor: float = 0.0
    precision: str = "float32"

    @property
    def held_as(self) -> np.dtype[Any]:
        """What NumPy holds it as: bfloat16 as its bits."""
        return np.dtype("uint16" if self.dtype == "bfloat16" else self.dtype)

    def narrow(self, x: Array) -> Array:
        """Round to this type, to even where two are equally near."""
        if self.dtype != "bfloat16":
            return np.ascontiguousarray(x, self.held_as)
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)

    def widen(self, x: Array) -> Array:
        """Return the float64 numbers that are stored."""
        if x.dtype == np.uint16:
            return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return x.astype(np.float64)


FLOAT16 = Numbers("float16", 2.0**-11)
BFLOAT16 = Numbers("bfloat16", 2.0**-8)
TF32 = Numbers("float32", 2.0**-24, 2.0**-11, "tf32")
every_type = pytest.mark.parametrize("numbers", [FLOAT16, BFLOAT16, TF32], ids=lambda one: str(one.dtype))


def ratio_to_bound(op: Op, inputs: Sequence[Array], numbers: Numbers, out_dtype: str | None = None) -> float:
    """The largest error of any result over what its type and length allow; both orders of threads must agree.

    A factor is rounded by `factor`, a sum of K products in float32 by K · 2^-24 (on a GPU 2^-23) of the sum of their
    magnitudes (Higham 2002, section 3.1), the result by `stored`, or by 2^-25 where float16 has fewer bits.
    """
    if hasattr(op, "precision"):
        op = replace(op, precision=numbers.precision)  # type: ignore[call-arg]
    given = [numbers.narrow(x) for x in inputs]
    exact = [numbers.widen(x) for x in given]
    plain = without_activation(op)
    wanted, magnitude = reference(op, exact), reference(plain, [np.abs(x) for x in exact])
    terms = reference(plain, [np.ones_like(x) for x in exact])
    outputs = Numbers(out_dtype, 2.0**-24) if out_dtype else numbers

    y = computed(op, given, outputs)

    rounded = (2 * numbers.factor + numbers.factor**2 + terms * error_of_addition()) * magnitude
    bound = rounded + outputs.stored * (np.abs(wanted) + rounded) + 2.0**-25
    return float(np.max(np.abs(outputs.widen(y) - wanted) / bound, initial=0.0))


def reference(op: Op, inputs: Sequence[Array]) -> Array:
    """What the naive kernel makes in float64."""
    naive = find_kernel(op, "reference", [Spec(x.shape, "float64") for x in inputs])
    assert naive is not None
    return call_kernel(naive, op, list(inputs))[0]


def without_activation(op: Op) -> Op:
    """The same operator without what it applies to its result."""
    return replace(op, activation=None) if hasattr(op, "activation") else op  # type: ignore[call-arg]


def own_kernel(op: Op) -> Kernel:
    """The kernel of CUDA C for an operator, not that of a library."""
    return next(one for one in registered_kernels(type(op), "gpu") if one.algorithm == op.name)


def computed(op: Op, inputs: Sequence[Array], outputs: Numbers) -> Array:
    """What the CUDA kernel makes of stored numbers, the same to the last bit in both orders of threads."""
    driver, kernel = current_driver(), own_kernel(op)
    specs = [Spec(x.shape) for x in inputs]
    shape = op.infer_outputs(specs)[0].shape
    arrays = [on_device(x) for x in inputs]
    scratch = tuple(
        on_device(np.full(spec.shape, np.nan, np.float32)) for spec in kernel.scratch_specs(op, specs)
    )  # fmt: skip
    results = []
    for order in (nullcontext(), other_order()):
        out = on_device(np.full(shape, 0x7FFF if outputs.dtype == "bfloat16" else np.nan).astype(outputs.held_as))
        call = kernel.bind(op, out, arrays, kernel.keywords(scratch, ()))
        with order:
            call()
        results.append(driver.read(out))
    assert results[0].tobytes() == results[1].tobytes(), f"{op}: the order of threads changes the result"
    return results[0]


def on_device(x: Array) -> Array:
    """Return a copy in the device's memory."""
    driver = current_driver()
    array = driver.allocate(x.nbytes)[: x.nbytes].view(x.dtype).reshape(x.shape)
    if x.size:
        driver.write(array, x)
    return array


def convolution_and_gradients(
    op: Conv2D, x: Array, kernel: Pair, outputs: int
) -> Iterator[tuple[Op, tuple[Array, ...]]]:  # fmt: skip
    """The convolution and both gradients of one geometry, with inputs."""
    w = normal(outputs, *kernel, x.shape[3] // op.groups, seed=1)
    dy = normal(*op.infer(Spec(x.shape), Spec(w.shape)).shape, seed=2)
    rest = (op.stride, op.padding, op.dilation, op.groups)
    yield op, (x, w)
    yield Conv2DGradInput(*rest, input_size=(x.shape[1], x.shape[2])), (dy, w)
    yield Conv2DGradWeight(*rest, kernel_size=kernel), (dy, x)


sizes = st.integers(1, 7)
channels = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 24])
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.integers(0, 2)
paddings: st.SearchStrategy[Padding] = st.one_of(
    st.sampled_from(["same", "valid"]), st.tuples(st.tuples(pads, pads), st.tuples(pads, pads))
)


@every_type
@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(1, 2), sizes, sizes), kernel=pairs, stride=pairs, dilation=pairs, padding=paddings,
    groups=st.integers(1, 3), inputs=channels, outputs=channels,
)  # fmt: skip
def test_convolutions_and_gradients_of_any_geometry(
    numbers: Numbers, size: tuple[int, int, int], kernel: Pair, stride: Pair, dilation: Pair, padding: Padding,
    groups: int, inputs: int, outputs: int,
) -> None:  # fmt: skip
    """Channels in whole chunks or not, whatever padding, steps and groups: no error beyond that of rounding."""
    op = Conv2D(stride, padding, dilation, groups)
    try:
        made = list(convolution_and_gradients(op, normal(*size, inputs * groups), kernel, outputs * groups))
    except ShapeError:
        reject()

    for one, factors in made:
        assert ratio_to_bound(one, factors, numbers) <= 1


@every_type
@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 70), columns=st.integers(1, 70), terms=st.integers(1, 100), whole=st.booleans(),
    transpose_a=st.booleans(), transpose_b=st.booleans(), batches=st.integers(1, 2),
)  # fmt: skip
def test_products_of_any_size(
    numbers: Numbers, rows: int, columns: int, terms: int, whole: bool, transpose_a: bool, transpose_b: bool,
    batches: int,
) -> None:  # fmt: skip
    """Each way an operand can lie, in whole chunks or not."""
    if whole:
        rows, columns, terms = (-(-one // 8) * 8 for one in (rows, columns, terms))
    a = normal(batches, *((terms, rows) if transpose_a else (rows, terms)))
    b = normal(batches, *((columns, terms) if transpose_b else (terms, columns)), seed=1)

    assert ratio_to_bound(MatMul(transpose_a, transpose_b), (a, b), numbers) <= 1


@every_type
@pytest.mark.parametrize("channels", [35, 40])
def test_layers_of_several_tiles(numbers: Numbers, channels: int) -> None:
    """More pixels, channels and outputs than one tile has, in groups and with a stride."""
    op = Conv2D((2, 1), padding=((1, 1), (1, 1)), groups=2)

    for one, factors in convolution_and_gradients(op, normal(1, 17, 9, 2 * channels), (3, 2), 2 * 72):
        assert ratio_to_bound(one, factors, numbers) <= 1


@every_type
@pytest.mark.parametrize("channels", [10, 16])
def test_layers_of_wide_tiles(numbers: Numbers, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 128 × 128 give the same; here they are taken for smaller results too."""
    monkeypatch.setattr(products, "wide_tiles_fit", lambda *_: True)
    op = Conv2D((1, 2), "same")

    for one, factors in convolution_and_gradients(op, normal(1, 18, 15, channels), (3, 2), 136):
        assert ratio_to_bound(one, factors, numbers) <= 1


@every_type
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("rows", "terms"), [(136, 40), (40, 536)])
def test_products_by_wide_tiles(
    numbers: Numbers, transpose_a: bool, transpose_b: bool, rows: int, terms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of more than a wide tile in each direction, and sums in parts."""
    monkeypatch.setattr(products, "wide_tiles_fit", lambda *_: True)
    a, columns = normal(*((terms, rows) if transpose_a else (rows, terms))), rows + 8
    b = normal(*((columns, terms) if transpose_b else (terms, columns)), seed=1)

    assert ratio_to_bound(MatMul(transpose_a, transpose_b), (a, b), numbers) <= 1


@every_type
@pytest.mark.parametrize("outputs", [9, 16])
def test_what_follows_a_sum(numbers: Numbers, outputs: int) -> None:
    """Bias, residual and activation come after the sum, before it is rounded; stored one by one or eight at once."""
    op = Conv2D(padding="same", activation="relu6")
    x, w = normal(2, 5, 6, 8), normal(outputs, 3, 3, 8, seed=1)
    b, residual = normal(outputs, seed=2), normal(2, 5, 6, outputs, seed=3)

    assert ratio_to_bound(op, (x, w, b, residual), numbers) <= 1
    assert ratio_to_bound(op, (x, w, b), numbers) <= 1


@every_type
@pytest.mark.parametrize("terms", [64, 1500])
def test_dense_layers_with_a_bias(numbers: Numbers, terms: int) -> None:
    """A bias and an activation are applied once, to whole sums."""
    op = Linear(activation="relu")

    assert ratio_to_bound(op, (normal(5, terms), normal(67, terms, seed=1), normal(67, seed=2)), numbers) <= 1


@every_type
def test_transposed_convolutions(numbers: Numbers) -> None:
    """Their weights lie with the last axis along the terms of a sum."""
    op = ConvTranspose2D((2, 1), ((1, 0), (0, 1)), groups=2, output_padding=(1, 0))
    inputs = (normal(2, 6, 5, 32), normal(24, 3, 2, 16, seed=1), normal(24, seed=2))

    assert ratio_to_bound(op, inputs, numbers) <= 1


@pytest.mark.parametrize("numbers", [FLOAT16, BFLOAT16], ids=lambda one: str(one.dtype))
@pytest.mark.parametrize("size", [5, 24])
def test_gradients_of_weights_in_float32(numbers: Numbers, size: int) -> None:
    """Gradients of factors of 16 bits can be stored as they were added up, in whole sums and in parts."""
    kernel = {"kernel_size": (3, 3)}
    x, dy = normal(2, size, size, 16), normal(2, size, size, 24, seed=1)
    depthwise = DepthwiseConv2DGradWeight((1, 1), "same", (1, 1), **kernel)

    assert ratio_to_bound(Conv2DGradWeight((1, 1), "same", (1, 1), 1, **kernel), (dy, x), numbers, "float32") <= 1
    assert ratio_to_bound(depthwise, (dy[..., :16], x), numbers, "float32") <= 1
    assert (
        ratio_to_bound(MatMul(transpose_a=True), (normal(size * 50, 8), normal(size * 50, 24)), numbers, "float32") <= 1
    )


@pytest.mark.parametrize("numbers", [FLOAT16, BFLOAT16], ids=lambda one: str(one.dtype))
@pytest.mark.parametrize("channels", [12, 40])
def test_depthwise_convolutions(numbers: Numbers, channels: int) -> None:
    """They are bound by memory, and add up in float32 number by number or eight numbers at once."""
    op = DepthwiseConv2D((2, 1), "same", activation="relu")
    x, w, dy = normal(2, 9, 7, channels), normal(1, 3, 3, channels, seed=1), normal(2, 5, 7, channels, seed=2)
    grad_input = DepthwiseConv2DGradInput((2, 1), "same", (1, 1), input_size=(9, 7), channels=channels)

    assert ratio_to_bound(op, (x, w, normal(channels, seed=3)), numbers) <= 1
    assert ratio_to_bound(grad_input, (dy, w), numbers) <= 1
    assert ratio_to_bound(DepthwiseConv2DGradWeight((2, 1), "same", (1, 1), (3, 3)), (dy, x), numbers) <= 1


@pytest.mark.parametrize("numbers", [FLOAT16, BFLOAT16], ids=lambda one: str(one.dtype))
def test_numbers_of_16_bits_without_tensor_cores(numbers: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older GPU computes the same one by one, with as little error."""
    monkeypatch.setattr(products, "has_tensor_cores", lambda *_: False)
    op = Conv2D((2, 1), "same", groups=2)

    for one, factors in convolution_and_gradients(op, normal(2, 9, 7, 2 * 12), (3, 3), 2 * 20):
        assert ratio_to_bound(one, factors, numbers) <= 1


@pytest.mark.gpu  # minutes on a processor
@every_type
def test_layers_of_many_tiles(numbers: Numbers) -> None:
    """Several blocks in each direction, channels in chunks and one by one, sums in parts."""
    op = Conv2D((2, 1), padding=((1, 1), (1, 1)), groups=2)
    made = [*convolution_and_gradients(op, normal(2, 33, 30, 2 * 40), (3, 3), 2 * 72)]
    made += [*convolution_and_gradients(Conv2D(padding="same"), normal(1, 9, 9, 5), (3, 3), 7)]
    made += [(MatMul(transpose_b=True), (normal(300, 1000), normal(130, 1000, seed=1)))]

    for one, factors in made:
        assert ratio_to_bound(one, factors, numbers) <= 1


def test_numbers_that_are_none_stay_none() -> None:
    """What is no number or infinite in a factor is so in the results that it has a part in, and in no others."""
    x, w = np.ones((3, 40), np.float32), np.ones((5, 40), np.float32)
    x[1, 3], x[2, 39] = np.nan, np.inf

    for numbers in (FLOAT16, BFLOAT16, TF32):
        given = [numbers.narrow(x) if numbers.dtype != "bfloat16" else bfloat16_bits(x), numbers.narrow(w)]
        y = numbers.widen(computed(Linear(precision=numbers.precision), given, numbers))  # type: ignore[arg-type]

        assert np.array_equal(y[0], np.full(5, 40.0))
        assert np.isnan(y[1]).all()
        assert np.array_equal(y[2], np.full(5, np.inf))


def bfloat16_bits(x: Array) -> Array:
    """The upper halves of float32 numbers: exact for those used here."""
    return (np.ascontiguousarray(x).view(np.uint32) >> 16).astype(np.uint16)


def test_tf32_is_asked_for() -> None:
    """Factors of float32 lose bits only where an operator's precision allows it."""
    x = np.full((1, 8), 1 + 2.0**-12, np.float32)
    w = np.eye(8, dtype=np.float32)

    exact = computed(Linear(), [x, w], TF32)
    rounded = computed(Linear(precision="tf32"), [x, w], TF32)  # type: ignore[arg-type]

    assert np.array_equal(exact, x)
    assert np.array_equal(rounded, np.ones((1, 8)))


@pytest.mark.parametrize(
    ("architecture", "dtypes"),
    [
        ("sm_70", set()), ("sm_75", {"float16"}), ("sm_80", {"float16", "bfloat16", "float32"}),
        ("sm_100", {"float16", "bfloat16", "float32"}), ("emulated", {"float16", "bfloat16", "float32"}),
    ],
)  # fmt: skip
def test_which_gpus_multiply_what_on_tensor_cores(architecture: str, dtypes: set[str]) -> None:
    """As NVIDIA documents them: float16 from Turing on, bfloat16 and TF32 from Ampere on; float64 never."""
    asked = ("float16", "bfloat16", "float32", "float64")

    assert {dtype for dtype in asked if has_tensor_cores(architecture, dtype)} == dtypes


def test_what_chooses_tensor_cores() -> None:
    """Numbers of 16 bits always, float32 by the precision of its operator."""
    single, bits = on_device(np.zeros(1, np.float32)), on_device(np.zeros(1, np.uint16))

    assert arithmetic(single) == Arithmetic("float32", tensor_cores=False)
    assert arithmetic(single, "bfloat16") == Arithmetic("float32", tensor_cores=True)
    assert arithmetic(single, "tf32") == Arithmetic("float32", tensor_cores=True)
    assert arithmetic(bits) == Arithmetic("bfloat16", tensor_cores=True)


def test_long_sums_of_large_results_are_split_among_wide_tiles() -> None:
    """The weights of a layer of 512 channels fill a GPU by wide tiles in parts, those of 64 only by small ones."""
    large, small = plan(512, 9 * 512, 256 * 14 * 14, 1), plan(64, 9 * 64, 256 * 56 * 56, 1)

    assert (large.tile, large.parts) == (128, 3)
    assert (small.tile, small.parts) == (64, 56)
    assert large.part_terms % 16 == small.part_terms % 16 == 0
