"""Kernels of 16-bit numbers: by hand, the same on both devices, and the mobile runtime's bit for bit."""

from __future__ import annotations

import dataclasses
import os
import platform

import numpy as np
import pytest
from any_int8 import WIDE_KINDS, any_wide_case
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_cases import STEPS, WIDE_CASES, Int8Case

from edge_sdk import pretrained
from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph
from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.model import INPUT, OUTPUT
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, Sigmoid, Softmax, Tanh
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import AvgPool2D
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.parameters import along_axis, round_weights
from edge_sdk.quantization.post_training import quantize
from edge_sdk.quantization.profile import PROFILES, Profile
from edge_sdk.quantization.rules import FIXED, NARROW, RESCALING, SAME_PARAMETERS, WEIGHT_AXIS, WIDE_FIXED
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.session import Session
from edge_sdk.spec import Array, QuantParams, Spec
from edge_sdk.workspace import Workspace

DEVICES = ("cpu", "reference")  # CUDA kernels: tests/gpu/test_integer_kernels.py
EXAMPLES = int(os.environ.get("EDGE_PROPERTY_EXAMPLES", "6"))
X86 = platform.machine() in ("x86_64", "AMD64")
# The builtin kernels round sums and quantized reals as their vector instructions do, and so by processor.
COMPARED = [
    pytest.param(profile, marks=pytest.mark.skipif(profile != "reference" and not X86, reason="describes x86"))
    for profile in PROFILES
]


def run(case: Int8Case, device: str, profile: Profile = "xnnpack") -> dict[str, Array]:
    """Compute a row on a device."""
    graph, weights, feeds = case.program()
    return Session(graph, weights, device, profile=profile).run(feeds)


def check(case: Int8Case, profile: Profile) -> None:
    """Compare an operator with the runtime."""
    graph, weights, feeds = case.program()
    theirs = TFLiteModel(write(graph, weights).data, profile=profile).invoke(feeds)
    ours = Session(graph, weights, profile=profile).run(feeds)
    for found, wanted in zip(ours.values(), theirs.values(), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted, err_msg=case.name)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", WIDE_CASES, ids=str)
def test_the_cpu_gives_the_bytes_of_the_reference(case, profile):
    """Sums are exact and roundings defined: nothing may differ."""
    wanted = run(case, "reference", profile)

    found = run(case, "cpu", profile)

    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("case", WIDE_CASES, ids=str)
def test_the_runtime_stores_the_same_numbers(case, profile):
    """The file of a row's program in LiteRT, by the kernels of the profile: equal bytes, without exemption."""
    assert all(len(np.unique(array)) > 10 for array in run(case, "cpu").values() if array.dtype == np.int16)
    check(case, profile)


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("kind", WIDE_KINDS)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 6, database=None)
@given(seed=st.integers(0, 1 << 30))
def test_any_shape_and_scale(kind, profile, seed):
    """No shape, no attribute and no scale makes a single stored number differ."""
    check(any_wide_case(kind, seed), profile)


@pytest.mark.slow
@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("kind", WIDE_KINDS)
def test_hundreds_of_shapes_and_scales(kind, profile):
    """The same of three hundred operators of each kind."""
    for seed in range(300):
        check(any_wide_case(kind, seed), profile)


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_whole_networks(name, profile):
    """Dozens of layers after one another: not one logit differs."""
    model = pretrained.load(name, weights=None, image_size=64)
    pixels = np.random.default_rng(5).integers(0, 256, (4, *model.preprocess.shape), np.uint8)
    quantized = quantize(model, pixels, scheme=Scheme(activations="int16"))

    ours = dataclasses.replace(quantized, profile=profile).run(pixels[:2])

    theirs = TFLiteModel(write(quantized.graph, quantized.workspace).data, profile=profile).run(pixels[:2])
    assert len(np.unique(ours)) > 1000
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "op",
    sorted({*WEIGHT_AXIS, *SAME_PARAMETERS, *RESCALING, *FIXED} - {*NARROW}, key=lambda op: op.name),
    ids=lambda op: op.name,
)
def test_every_operator_of_16_bits_runs(op, device):
    """What the pass lets through has a kernel for 16-bit numbers, and a row above."""
    load_device(device)

    (case, *_) = [case for case in WIDE_CASES if type(case.op) is op]

    graph, _, _ = case.program()
    assert applicable_kernels(case.op, device, [graph.specs[value] for value in graph.nodes[0].inputs])


@pytest.mark.parametrize("device", DEVICES)
def test_a_kernel_of_bytes_is_never_bound_to_16_bits(device):
    """An operator that has a form on 8 bits alone is refused by name."""
    g, quant = Builder("wide"), QuantParams((0.1,), (0,))
    x = g.input("x", Spec((2, 3), "int16", quant))
    (y,) = g.append(HardSwish(), [x], [Spec((2, 3), "int16", quant)])

    with pytest.raises(GraphError, match="hard_swish"):
        Session(g.build(y), Workspace(), device)


def node(device: str, op: Op, inputs: list[tuple[Array, QuantParams]], output: QuantParams) -> list:
    """Run an operator on stored numbers of the given meaning; further inputs are parameters."""
    g, arrays, values, feeds = Builder("hand"), Workspace(), [], {}
    for index, (array, quant) in enumerate(inputs):
        spec = Spec(array.shape, array.dtype.name, quant)
        values.append(g.param(f"w{index}", spec) if index else g.input("x", spec))
        (arrays if index else feeds)[values[-1]] = array
    (inferred,) = op.infer_outputs([g.specs[value] for value in values])
    (y,) = g.append(op, values, [Spec(inferred.shape, "int16", output)])
    return Session(g.build(y), arrays, device).run(feeds)[y].tolist()


ONE = QuantParams((1.0,), (0,))


def stored(*numbers: int, shape: tuple[int, ...] | None = None) -> Array:
    """Numbers as int16."""
    return np.array(numbers, np.int16).reshape(shape or (1, len(numbers)))


@pytest.mark.parametrize("device", DEVICES)
def test_sums_beyond_32_bits_by_hand(device):
    """600 products of 32767 · 127 are 2,496,845,400; a bias of -2,496,845,300 leaves 100."""
    x, w = stored(*[32767] * 600), np.full((1, 600), 127, np.int8)
    b = np.array([-2_496_845_300], np.int64)

    found = node(device, Linear(), [(x, ONE), (w, ONE), (b, ONE)], ONE)

    assert found == [[100]]


@pytest.mark.parametrize("device", DEVICES)
def test_dense_layers_round_halves_away_by_hand(device):
    """Sums of 5 and -5 by 0.5: 2.5 and -2.5, away from zero."""
    w = (np.array([[1], [-1]], np.int8), QuantParams((0.5,), (0,)))

    found = node(device, Linear(), [(stored(5), ONE), w], ONE)

    assert found == [[3, -3]]


@pytest.mark.parametrize("device", DEVICES)
def test_convolutions_multiply_by_15_bits_by_hand(device):
    """30000 · 0.3: 19661 / 65536 of it is 9000.09…; -2.5 rounds up; 1/3 is 21845 / 65536, and 32766 of it 10921.8…"""
    x = (stored(30000, -5, 32766, shape=(1, 1, 3, 1)), ONE)
    weights = np.ones((3, 1, 1, 1), np.int8), QuantParams((0.3, 0.5, 1 / 3), (0,) * 3, 0)

    found = np.array(node(device, Conv2D(), [x, weights], ONE))[0, 0]

    assert (found[0, 0], found[1, 1], found[2, 2]) == (9000, -2, 10922)


@pytest.mark.parametrize("device", DEVICES)
def test_functions_by_hand(device):
    """Sigmoid and tanh of 0, and far out; equal scores share 32768 steps."""
    x, quant = stored(0, 32767, -32768), QuantParams((0.001,), (0,))

    assert node(device, Sigmoid(), [(x, quant)], WIDE_FIXED) == [[16384, 32767, 1]]
    assert node(device, Tanh(), [(x, quant)], WIDE_FIXED) == [[0, 32767, -32767]]
    assert np.abs(np.array(node(device, Softmax(), [(stored(7, 7), quant)], WIDE_FIXED)) - 16384).max() <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_sums_and_means_by_hand(device):
    """0.5 · 300 + 0.25 · -40 = 140 in steps of 0.5; a pool of -2, -3, -2, -3 is -2.5, away from zero."""
    a, b = (stored(300), QuantParams((0.5,), (0,))), (stored(-40), QuantParams((0.25,), (0,)))

    assert node(device, Add(), [a, b], QuantParams((0.5,), (0,))) == [[280]]
    assert node(device, AvgPool2D((2, 2)), [(stored(-2, -3, -2, -3, shape=(1, 2, 2, 1)), ONE)], ONE) == [[[[-3]]]]


def test_16_bits_are_finer_than_8():
    """Against real numbers under the same rounded weights, what activations of 8 bits lose is all but gone."""
    model = pretrained.load("mobilenet_v2", weights=None, image_size=64)
    x = np.random.default_rng(5).normal(0, 1, (4, 64, 64, 3)).astype(np.float32)
    errors = {}
    for activations in ("int8", "int16"):
        candidate = observe(prepare(model, "float32", Scheme(activations=activations)), [x])
        integers = integer_graph(candidate, "float32", "float32")
        found, real = (Session(*one, batch=4).run({INPUT: x})[OUTPUT] for one in (integers, with_rounded(candidate)))
        errors[activations] = np.abs(found - real).mean() / np.abs(real).mean()

    assert errors["int16"] < errors["int8"] / 20


def with_rounded(candidate: Candidate) -> tuple[Graph, Workspace]:
    """The float network of a candidate, with its weights as they are stored."""
    arrays = candidate.workspace.restricted(candidate.graph)
    for one in candidate.graph.nodes:
        if type(one.op) in WEIGHT_AXIS:
            weights = candidate.workspace[one.inputs[1]]
            quant = candidate.decisions.weight(one, weights)
            arrays[one.inputs[1]] = round_weights(weights, quant) * along_axis(quant.scale, quant.axis, weights.ndim)
    return candidate.graph, arrays


def test_rows_use_16_bits():
    """The rows' steps are 256 times finer than those of 8 bits, so that what is lost would be seen."""
    (case,) = [case for case in WIDE_CASES if case.name == "conv2d_3x3_int16"]
    graph, _, _ = case.program()

    found = run(case, "cpu")["y"]

    assert np.abs(found.astype(int)).max() > 100 * STEPS
    assert graph.specs[graph.nodes[0].inputs[2]].dtype == "int64"
