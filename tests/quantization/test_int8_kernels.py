"""Kernels of quantized values: by hand, and the same bytes whatever computes them."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_cases import CASES, Int8Case

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.op import Op
from edge_sdk.ops.activation import Gelu, Softmax
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import AvgPool2D, GlobalAvgPool
from edge_sdk.ops.quantization import Quantize
from edge_sdk.quantization.profile import PROFILES, Profile
from edge_sdk.quantization.rules import FIXED, RESCALING, SAME_PARAMETERS, WEIGHT_AXIS
from edge_sdk.session import Session
from edge_sdk.spec import Array, QuantParams, Spec
from edge_sdk.workspace import Workspace

TESTS = Path(__file__).parents[1]
DEVICES = ("cpu", "reference")  # CUDA kernels: tests/gpu/test_integer_kernels.py


def run(case: Int8Case, device: str, profile: Profile = "xnnpack") -> dict[str, Array]:
    """Compute a row on a device."""
    graph, weights, feeds = case.program()
    return Session(graph, weights, device, profile=profile).run(feeds)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cpu_gives_the_bytes_of_the_reference(case, profile):
    """Sums are exact and roundings defined: nothing may differ."""
    wanted = run(case, "reference", profile)

    found = run(case, "cpu", profile)

    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "op", sorted({*WEIGHT_AXIS, *SAME_PARAMETERS, *RESCALING, *FIXED}, key=lambda op: op.name), ids=lambda op: op.name
)
def test_every_operator_of_the_8_bit_tables_runs(op, device):
    """What quantize_int8 lets through has a kernel for stored integers, and a row above."""
    load_device(device)

    (case, *_) = [case for case in CASES if type(case.op) is op]

    graph, _, _ = case.program()
    inputs = [graph.specs[value] for value in graph.nodes[0].inputs]
    assert applicable_kernels(case.op, device, inputs)


@pytest.mark.parametrize("device", DEVICES)
def test_a_float_kernel_is_never_bound_to_stored_integers(device):
    """An operator without 8-bit kernel is refused by name, though it has one for floats."""
    g = Builder("gelu")
    quant = QuantParams((0.1,), (0,))
    x = g.input("x", Spec((2, 3), "int8", quant))
    (y,) = g.append(Gelu(), [x], [Spec((2, 3), "int8", quant)])

    with pytest.raises(GraphError, match="gelu"):
        Session(g.build(y), Workspace(), device)


@pytest.mark.parametrize("device", DEVICES)
def test_numbers_of_different_scales_are_not_compared(device):
    """The larger stored number need not be the larger real one."""
    g = Builder("maximum")
    a, b = (g.input(name, Spec((2,), "int8", QuantParams((scale,), (0,)))) for name, scale in (("a", 0.1), ("b", 0.2)))
    (y,) = g.append(Maximum(), [a, b], [Spec((2,), "int8", QuantParams((0.2,), (0,)))])

    with pytest.raises(GraphError, match="maximum"):
        Session(g.build(y), Workspace(), device)


def node(device: str, op: Op, inputs: list[tuple[Array, QuantParams | None]], output: QuantParams) -> list:
    """Run an operator on stored numbers of the given meaning; further inputs are parameters."""
    g, arrays, values, feeds = Builder("hand"), Workspace(), [], {}
    for index, (array, quant) in enumerate(inputs):
        spec = Spec(array.shape, array.dtype.name, quant)
        values.append(g.param(f"w{index}", spec) if index else g.input("x", spec))
        (arrays if index else feeds)[values[-1]] = array
    (inferred,) = op.infer_outputs([g.specs[value] for value in values])
    (y,) = g.append(op, values, [Spec(inferred.shape, "int8", output)])
    return Session(g.build(y), arrays, device).run(feeds)[y].tolist()


def stored(*numbers: int, shape: tuple[int, ...] | None = None) -> Array:
    """Numbers as int8."""
    return np.array(numbers, np.int8).reshape(shape or (1, len(numbers)))


@pytest.mark.parametrize("device", DEVICES)
def test_dense_layer_by_hand(device):
    """(x - 1) · w + b = 5 and -3; times 0.5 · 0.5 / 0.5: 2.5 and -1.5, halves to even; plus 10."""
    x, w = (stored(2, 4), QuantParams((0.5,), (1,))), (stored(2, 1, -1, -1, shape=(2, 2)), QuantParams((0.5,), (0,)))
    b = (np.array([0, 1], np.int32), QuantParams((0.25,), (0,)))

    found = node(device, Linear(), [x, w, b], QuantParams((0.5,), (10,)))

    assert found == [[12, 8]]


@pytest.mark.parametrize("device", DEVICES)
def test_padding_is_the_zero_point_by_hand(device):
    """A 3×3 sum of ones sees 9 pixels inside and 4 at a corner; the border adds real zeros, stored as 7."""
    x = np.full((1, 3, 3, 1), 8, np.int8)  # every pixel is 1
    inputs = [(x, QuantParams((1.0,), (7,))), (np.ones((1, 3, 3, 1), np.int8), QuantParams((1.0,), (0,), 3))]

    found = node(device, DepthwiseConv2D(padding="same"), inputs, QuantParams((1.0,), (-3,)))

    assert np.array(found)[0, :, :, 0].tolist() == [[1, 3, 1], [3, 6, 3], [1, 3, 1]]


@pytest.mark.parametrize("device", DEVICES)
def test_the_activation_limits_what_is_stored_by_hand(device):
    """ReLU6 with steps of 0.1 from -128: real -1, 3 and 20 are stored as 0, 3 and 6."""
    x = (stored(-10, 30, 127, shape=(3, 1, 1, 1)), QuantParams((0.1,), (0,)))
    w = (stored(2, shape=(1, 1, 1, 1)), QuantParams((0.5,), (0,), 0))

    found = node(device, Conv2D(activation="relu6"), [x, w], QuantParams((0.1,), (-128,)))

    assert np.array(found).ravel().tolist() == [-128, -98, -68]


@pytest.mark.parametrize("device", DEVICES)
def test_sum_by_hand(device):
    """0.5 · 3 + 0.25 · 2 = 2 and 0.5 · 2 + 0.25 · 1 = 1.25 in steps of 0.5: 4 and 2.5, halves upwards."""
    a, b = (stored(3, 2), QuantParams((0.5,), (0,))), (stored(3, 2), QuantParams((0.25,), (1,)))

    found = node(device, Add(), [a, b], QuantParams((0.5,), (-1,)))

    assert found == [[3, 2]]


@pytest.mark.parametrize("device", DEVICES)
def test_means_by_hand(device):
    """Pools round halves away from zero, -2.5 to -3; a mean over all pixels to even, -2.5 to -2."""
    x, quant = stored(-2, -3, -2, -3, shape=(1, 2, 2, 1)), QuantParams((1.0,), (0,))

    pooled = node(device, AvgPool2D((2, 2)), [(x, quant)], quant)
    mean = node(device, GlobalAvgPool(), [(x, quant)], quant)

    assert pooled == [[[[-3]]]]
    assert mean == [[-2]]


@pytest.mark.parametrize("device", DEVICES)
def test_softmax_by_hand(device):
    """Equal scores share 256 steps from -128; a score far above all others takes 255, the most there is."""
    x = (stored(5, 5, -128, 127, shape=(2, 2)), QuantParams((0.5,), (0,)))

    found = node(device, Softmax(), [x], QuantParams((1 / 256,), (-128,)))

    assert found == [[0, 0], [-128, 127]]


@pytest.mark.parametrize("device", DEVICES)
def test_pixels_become_signed_by_hand(device):
    """uint8 to int8 of the same scale moves by 128."""
    x = np.array([[0, 127, 128, 255]], np.uint8)

    found = node(device, Quantize(0.1, -28), [(x, QuantParams((0.1,), (100,)))], QuantParams((0.1,), (-28,)))

    assert found == [[-128, -1, 0, 127]]


SIZES = st.integers(1, 40)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3), height=st.integers(3, 20), width=st.integers(3, 20), channels=st.integers(1, 70),
    outputs=st.integers(1, 70), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["same", "valid", ((1, 2), (0, 1))]),
    depthwise=st.booleans(),
)  # fmt: skip
def test_convolutions_of_any_shape(batch, height, width, channels, outputs, kernel, stride, padding, depthwise):
    """Every remainder of channels, pixels and taps gives the reference's bytes."""
    shape = (batch, height, width, channels)
    if depthwise:
        case = Int8Case("any", DepthwiseConv2D(stride, padding), (shape,), (1, *kernel, channels))
    else:
        case = Int8Case("any", Conv2D(stride, padding), (shape,), (outputs, *kernel, channels))

    found, wanted = run(case, "cpu"), run(case, "reference")

    np.testing.assert_array_equal(found["y"], wanted["y"])


@settings(max_examples=30, deadline=None)
@given(rows=SIZES, depth=st.integers(1, 300), outputs=st.integers(1, 100))
def test_dense_layers_of_any_shape(rows, depth, outputs):
    """Every remainder of rows, depth and columns gives the reference's bytes."""
    case = Int8Case("any", Linear(), ((rows, depth),), (outputs, depth))

    found, wanted = run(case, "cpu"), run(case, "reference")

    np.testing.assert_array_equal(found["y"], wanted["y"])


ARITHMETIC = (
    "conv2d_3x3",
    "conv2d_3x3_odd",
    "conv2d_1x1_narrow",
    "depthwise_3x3",
    "linear_1",
    "linear_33",
    "add",
    "mul",
    "prelu",
    "global_avg_pool",
)


def digest() -> str:
    """A hash of the results of the rows that compute."""
    cases = [case for case in CASES if case.name in ARITHMETIC]
    results = [run(case, "cpu", profile)["y"] for case in cases for profile in PROFILES]
    return hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()


OTHERS = [
    pytest.param({"NUMBA_NUM_THREADS": "1"}, id="1-thread"),
    pytest.param({"NUMBA_NUM_THREADS": "3"}, id="3-threads"),
    pytest.param({"EDGE_PORTABLE_DOT": "1"}, id="portable", marks=pytest.mark.lanes),
    *(
        pytest.param(
            {"EDGE_SIMD_LANES": lanes, "NUMBA_CPU_NAME": name},
            id=f"{lanes}-lanes",
            marks=[
                pytest.mark.lanes,
                pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of x86"),
            ],
        )
        for lanes, name in (("8", "haswell"), ("4", "x86-64"))
    ),
]


@pytest.mark.parametrize("other", OTHERS)
def test_the_bytes_depend_on_the_numbers_alone(other):
    """Another number of threads, no VNNI, narrower registers: the same bytes."""
    program = "from test_int8_kernels import digest; print(digest())"
    path = f"{TESTS / 'quantization'}{os.pathsep}{TESTS}"

    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | other | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=500, check=True,
    )  # fmt: skip

    assert result.stdout.strip() == digest()
