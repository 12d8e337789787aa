"""What the table of operators does not cover of loops, sums, softmax and optimizers on a device."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from gpu.device_calls import call_on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu import launch, loops
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.source import source
from edge_sdk.op import Op
from edge_sdk.ops.activation import PReluGrad, Relu, Softmax
from edge_sdk.ops.elementwise import Add, Div, Mul, SumLike
from edge_sdk.ops.fake_quantization import SymmetricScale
from edge_sdk.ops.functions import Remainder
from edge_sdk.ops.logic import Bitwise, Where
from edge_sdk.ops.quantization import Quantize
from edge_sdk.ops.update import AdamUpdate, ClipByNorm, GlobalNorm, LinearSGDUpdate
from edge_sdk.spec import Array, Spec

load_device("gpu")


def computed(op: Op, *inputs: Array) -> tuple[Array, ...]:
    """What the device makes of inputs."""
    kernel = find_kernel(op, "gpu", [Spec(x.shape, x.dtype.name) for x in inputs])
    assert kernel is not None
    return call_on_device(kernel, op, inputs)


def on_device(content: Array, offset: int = 0) -> Array:
    """A copy on the device, `offset` elements behind an aligned address."""
    driver = current_driver()
    memory = driver.allocate(content.nbytes + 64).view(content.dtype)
    array = memory[offset : offset + content.size].reshape(content.shape)
    driver.write(array, content)
    return array


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1023, 1024, 1027, 5000])
def test_a_grid_smaller_than_the_array_covers_it(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads go on to further elements where there are more of them than threads."""
    monkeypatch.setattr(loops, "MAX_BLOCKS", 1)
    monkeypatch.setattr(launch, "MAX_BLOCKS", 1)
    a, b = normal(count, seed=1), normal(count, seed=2)

    (total,) = computed(Add(), a, b)
    (repeated,) = computed(Mul(), a, b[:1])

    assert np.array_equal(total, a + b)
    assert np.array_equal(repeated, a * b[0])


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_an_activation_in_place_at_any_address(offset: int) -> None:
    """Four numbers are taken at once only where they start at a multiple of four; the output may be the input."""
    x = normal(1003, seed=3)
    array = on_device(x, offset)
    kernel = find_kernel(Relu(), "gpu", [Spec(x.shape)])
    assert kernel is not None

    kernel.bind(Relu(), array, [array])()

    assert np.array_equal(current_driver().read(array), np.maximum(x, 0))


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple),
    bits=st.integers(0, 31),
    missing=st.integers(0, 4),
)
@settings(max_examples=40, deadline=None)
def test_sums_over_any_axes(shape: tuple[int, ...], bits: int, missing: int) -> None:
    """Whatever was broadcast, rows, columns or both, its gradient is the sum over it."""
    like = tuple(1 if bits >> axis & 1 else size for axis, size in enumerate(shape))[min(missing, len(shape)) :]
    x = normal(*shape, seed=4)
    leading = len(shape) - len(like)
    axes = (*range(leading), *(leading + axis for axis, size in enumerate(like) if size == 1))

    (total,) = computed(SumLike(), x, np.zeros(like, np.float32))

    assert np.allclose(total, x.sum(axis=axes, dtype=np.float64).reshape(like), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "like"), [((40_000, 3), (3,)), ((3, 50_000), (3, 1)), ((70_001,), ()), ((0, 5), (5,))]
)
def test_sums_of_many_chunks(shape: tuple[int, ...], like: tuple[int, ...]) -> None:
    """Chunks together hold every number once, and a sum of nothing is 0."""
    x = np.ones(shape, np.float32)

    (total,) = computed(SumLike(), x, np.zeros(like, np.float32))

    assert np.array_equal(total, np.full(like, x.size / max(int(np.prod(like)), 1), np.float32))


def test_the_slope_of_a_single_channel() -> None:
    """The sum over everything is that of prelu with one slope."""
    dy, x, slope = normal(300, 1, seed=5), normal(300, 1, seed=6), np.array([0.25], np.float32)

    dx, dslope = computed(PReluGrad(), dy, x, slope)

    assert np.array_equal(dx, np.where(x > 0, dy, 0.25 * dy))
    assert np.isclose(dslope[0], np.sum(np.where(x > 0, 0, dy.astype(np.float64) * x)), rtol=1e-5)


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 1000, 1024, 1025, 3000])
def test_softmax_of_short_and_long_rows(columns: int) -> None:
    """Rows are shared by a warp or by a block; a row with a NaN is all NaN and disturbs no other."""
    x = normal(11, columns, seed=7, scale=5)
    x[4, columns // 2] = np.nan

    (y,) = computed(Softmax(), x)

    others = np.arange(11) != 4
    assert np.allclose(y[others], scipy.special.softmax(x[others].astype(np.float64), axis=-1), rtol=1e-5, atol=1e-7)
    assert np.isnan(y[4]).all()


def test_whole_numbers_divided_by_zero_give_zero() -> None:
    """Nothing stops, and what NumPy leaves of such a division is left here."""
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([0, 2, -2, 0], np.int32)

    (quotient,), (rest,) = computed(Div(), a, b), computed(Remainder(), a, b)

    assert quotient.tolist() == [0, -3, -3, 0]
    assert rest.tolist() == [0, 1, -1, 0]


def test_shifts_beyond_all_bits() -> None:
    """They leave nothing but the sign."""
    a, places = np.array([5, -5, 5, -5], np.int32), np.array([32, 40, 31, 33], np.int32)

    (left,), (right,) = computed(Bitwise("shift_left"), a, places), computed(Bitwise("shift_right"), a, places)

    assert left.tolist() == [0, 0, -(2**31), 0]
    assert right.tolist() == [0, -1, 0, -1]


def test_a_condition_that_is_broadcast() -> None:
    """All three inputs may be repeated along axes of their own."""
    condition, a, b = np.array([[True], [False]]), np.arange(3, dtype=np.int64), np.array(-1, np.int64)

    (y,) = computed(Where(), condition, a, b)

    assert y.tolist() == [[0, 1, 2], [-1, -1, -1]]


@pytest.mark.parametrize("step", [1, 2, 1000, 100_000])
def test_adam_reads_its_step_when_it_runs(step: int) -> None:
    """One bound call goes on with what lies in the device's memory, and the correction does not cancel."""
    weight, gradient, moment = normal(5000, seed=8), normal(5000, seed=9), np.zeros(5000, np.float32)
    op = AdamUpdate(epsilon=0.0)
    arrays = [on_device(x) for x in (weight, gradient, np.array([0.5], np.float32), moment, moment)]
    rate, number = arrays[2].reshape(()), on_device(np.array([7])).reshape(())
    inputs = [arrays[0], arrays[1], rate, arrays[3], arrays[4], number]
    kernel = find_kernel(op, "gpu", [Spec(x.shape, x.dtype.name) for x in inputs])
    assert kernel is not None
    call = kernel.bind(op, (arrays[0], arrays[3], arrays[4]), inputs)
    current_driver().write(number, np.array(step))

    call()

    g = gradient.astype(np.float64)
    change = 0.5 * 0.1 * g / (1 - 0.9**step) / np.sqrt(0.001 * g * g / (1 - 0.999**step))
    assert np.allclose(current_driver().read(arrays[0]), weight - change, rtol=1e-5, atol=1e-5)


def test_the_norm_of_more_pieces_than_threads_and_of_none() -> None:
    """Gradients of any size, empty ones among them, count once."""
    gradients = [np.full(size, 2.0, np.float32) for size in (0, 1, 4095, 4096, 4097, 20_000)]

    (norm,) = computed(GlobalNorm(), *gradients)
    (nothing,) = computed(GlobalNorm(), np.zeros((0, 3), np.float32))

    assert np.isclose(norm, np.sqrt(4.0 * sum(g.size for g in gradients)), rtol=1e-6)
    assert nothing == 0


def test_a_norm_that_is_no_number_clips_nothing() -> None:
    """As the naive kernel has it."""
    gradient = normal(9, seed=10)

    (y,) = computed(ClipByNorm(1.0), gradient, np.array(np.nan, np.float32))

    assert np.array_equal(y, gradient)


@given(rows=st.integers(1, 40), outputs=st.integers(1, 70), inputs=st.integers(1, 140))
@settings(max_examples=15, deadline=None)
def test_dense_layers_of_any_shape(rows: int, outputs: int, inputs: int) -> None:
    """Tiles that are cut off at either side or in depth."""
    weight, velocity = normal(outputs, inputs, seed=11), np.zeros((outputs, inputs), np.float32)
    dy, x = normal(rows, outputs, seed=12), normal(rows, inputs, seed=13)

    new, gradient = computed(LinearSGDUpdate(), weight, dy, x, np.array(0.5, np.float32), velocity)

    wanted = dy.astype(np.float64).T @ x
    assert np.allclose(gradient, wanted, rtol=1e-5, atol=1e-4)
    assert np.allclose(new, weight - 0.5 * wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("profile", ["xnnpack", "litert", "reference"])
def test_numbers_at_the_borders_are_stored_as_by_the_naive_kernel(profile: str) -> None:
    """In every profile, to the last one: both sides of halves, and a rest that fills no vector."""
    scale = np.float32(0.0371)
    halves = (np.arange(-300, 301, dtype=np.float32) + np.float32(0.5)) * scale
    x = np.concatenate([halves, np.nextafter(halves, np.float32(9e9)), np.nextafter(halves, np.float32(-9e9))])
    op, spec = Quantize(float(scale), -3), Spec(x.shape)
    load_device("reference")
    naive, kernel = (find_kernel(op, device, [spec]) for device in ("reference", "gpu"))
    assert naive is not None
    assert kernel is not None
    wanted, stored = np.zeros(x.shape, np.int8), on_device(np.zeros(x.shape, np.int8))
    constants = kernel.constant_keywords(op, [spec], op.infer_outputs([spec]), profile)

    naive.bind(op, wanted, [x], constants)()
    kernel.bind(op, stored, [on_device(x)], constants)()

    assert np.array_equal(current_driver().read(stored), wanted)


def test_a_scale_of_half_precision() -> None:
    """Stored in 16 bits, computed in 32."""
    x = np.array([[0.0, -3.0], [2.0, 1.0]], np.float16)

    (scale,) = computed(SymmetricScale(127, axis=0), x)

    assert np.array_equal(scale, np.array([3 / 127, 2 / 127], np.float16))


@pytest.mark.cuda_sources
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("name", ["elementwise", "functions", "logic", "control"])
def test_sources_for_whole_numbers_compile(name: str, dtype: str) -> None:
    """NVIDIA's compiler is stricter than the emulation about functions of whole numbers."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed")
    from edge_sdk.kernels.gpu.nvrtc import compile_source

    assert compile_source(source(name, dtype), "sm_90").code
