"""The Session's 8-bit arithmetic is the mobile runtime's, bit for bit, by profile: operators and whole networks."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterator

import numpy as np
import pytest
from any_int8 import KINDS, any_case
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_cases import CASES, Int8Case

from edge_sdk import pretrained
from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSwish, LeakyRelu, PRelu
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D
from edge_sdk.ops.elementwise import Add, Mul, Sub
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.quantization import Quantize
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.post_training import QuantizedModel, quantize
from edge_sdk.quantization.profile import PROFILES, Profile
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Array, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

EXAMPLES = int(os.environ.get("EDGE_PROPERTY_EXAMPLES", "6"))
NETWORKS = ("resnet18", "mobilenet_v2", "efficientnet_lite0")
X86 = platform.machine() in ("x86_64", "AMD64")
# What the builtin kernels take at once, and so round, differs from processor to processor: "litert" is what x86 does.
COMPARED = [
    pytest.param(profile, marks=pytest.mark.skipif(profile == "litert" and not X86, reason="describes x86"))
    for profile in PROFILES
]


def both(graph: Graph, weights: Workspace, feeds: dict[str, Array], profile: Profile) -> Iterator[tuple[Array, Array]]:
    """Each output as the Session computes it, and as the runtime does."""
    theirs = TFLiteModel(write(graph, weights).data, profile=profile).invoke(feeds)
    ours = Session(graph, weights, profile=profile).run(feeds)
    return zip(ours.values(), theirs.values(), strict=True)


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_runtime_stores_the_same_numbers(case, profile):
    """The file of a row's program in LiteRT, by the kernels of the profile: equal bytes, without exemption."""
    for ours, theirs in both(*case.program(), profile):
        assert len(np.unique(ours)) > 10  # the row's scales let something be seen
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def check(kind: str, seed: int, profile: Profile) -> None:
    """Compare any operator of a kind with the runtime."""
    for ours, theirs in both(*any_case(kind, seed).program(), profile):
        np.testing.assert_array_equal(ours, theirs, err_msg=f"any_case({kind!r}, {seed})")


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 6, database=None)
@given(seed=st.integers(0, 1 << 30))
def test_any_shape_scale_and_zero_point(kind, profile, seed):
    """No shape, no attribute, no scale and no zero point makes a single stored number differ."""
    check(kind, seed, profile)


@pytest.mark.slow
@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_shapes_scales_and_zero_points(kind, profile):
    """The same of three hundred operators of each kind."""
    for seed in range(300):
        check(kind, seed, profile)


def stored_program(op: Op, scales: tuple[float, ...]) -> tuple[Graph, Workspace, dict[str, Array]]:
    """An operator on random stored numbers; the last scale is the output's."""
    random, g, feeds = np.random.default_rng(1), Builder("scales"), {}
    *given, output = (
        QuantParams((float(np.float32(scale)),), (zero,)) for scale, zero in zip(scales, (3, -9, 5), strict=False)
    )
    inputs = [g.input(f"x{index}", Spec((40, 50), "int8", quant)) for index, quant in enumerate(given)]
    for value in inputs:
        feeds[value] = random.integers(-128, 128, (40, 50)).astype(np.int8)
    return g.build(*g.append(op, inputs, [Spec((40, 50), "int8", output)], name="y")), Workspace(), feeds


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize(
    ("op", "scales"),
    [
        pytest.param(Add(), (1.4e-5, 0.02, 0.04), id="add"),
        pytest.param(Sub(), (0.02, 1.4e-5, 0.04), id="sub"),
        pytest.param(Mul(), (3e-7, 0.02, 0.02), id="mul"),
        pytest.param(Quantize(0.02, 5), (4e-5, 0.02), id="quantize"),
        pytest.param(LeakyRelu(0.003), (0.021, 0.02), id="leaky_relu, flat"),
        pytest.param(LeakyRelu(200.0), (0.021, 0.02), id="leaky_relu, steep"),
        pytest.param(LeakyRelu(-0.3), (0.021, 0.02), id="leaky_relu, turned"),
    ],
)
def test_scales_that_xnnpack_leaves_to_the_builtin_kernels(op, scales, profile):
    """Beyond what its fixed-point factors hold, the default resolver computes as the builtin kernels do."""
    for ours, theirs in both(*stored_program(op, scales), profile):
        np.testing.assert_array_equal(ours, theirs)


def network(name: str, size: int) -> tuple[QuantizedModel, Array]:
    """A quantized network with random weights, and random pixels."""
    model = pretrained.load(name, weights=None, image_size=size)
    pixels = np.random.default_rng(5).integers(0, 256, (4, *model.preprocess.shape), np.uint8)
    return quantize(model, pixels), pixels[:2]


def assert_logits_are_the_runtimes(name: str, size: int, profile: Profile) -> None:
    """Not one logit of a network differs from the runtime's."""
    model, pixels = network(name, size)

    ours = dataclasses.replace(model, profile=profile).run(pixels)

    theirs = TFLiteModel(write(model.graph, model.workspace).data, profile=profile).run(pixels)
    assert len(np.unique(ours)) > 100
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name, profile):
    """Dozens of layers after one another, on small photos: not one logit differs."""
    assert_logits_are_the_runtimes(name, 64, profile)


@pytest.mark.slow
@pytest.mark.parametrize("profile", COMPARED)
@pytest.mark.parametrize(
    "name", [*NETWORKS, "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "googlenet", "vgg11"]
)
def test_whole_networks_of_full_size(name, profile):
    """The same at 224 × 224 pixels."""
    assert_logits_are_the_runtimes(name, 224, profile)


def upsampling_model() -> Model:
    """Convolution, PReLU, a transposed convolution with ReLU, a transposed one in groups, and a mean."""
    random, g, arrays = np.random.default_rng(3), Builder("upsampling"), Workspace()

    def param(name: str, *shape: int) -> Value:
        arrays[name] = random.normal(0, 0.4, shape).astype(np.float32)
        return g.param(name, Spec(shape))

    x = g.input(INPUT, Spec((BATCH, 12, 12, 3)))
    x = g.add(Conv2D(padding="same"), x, param("w1", 8, 3, 3, 3), param("b1", 8))
    x = g.add(PRelu(), x, param("slope", 8))
    up = ConvTranspose2D((2, 2), ((1, 1), (1, 1)), output_padding=(1, 1), activation="relu")
    x = g.add(up, x, param("w2", 12, 3, 3, 8), param("b2", 12))
    x = g.add(ConvTranspose2D((2, 2), groups=2), x, param("w3", 20, 2, 2, 6), param("b3", 20))
    g.add(GlobalAvgPool(), x, name=OUTPUT)
    rule = Preprocess(size=(12, 12), mean=(120.0, 110.0, 100.0), std=(60.0, 58.0, 57.0))
    return Model(g.build(Value(OUTPUT)), arrays, rule, tuple(map(str, range(20))))


@pytest.mark.parametrize("profile", COMPARED)
def test_prelu_and_transposed_convolutions_are_quantized(profile):
    """From floats to a file that the runtime computes as the Session does, and close to what the floats say."""
    model = upsampling_model()
    pixels = np.random.default_rng(4).integers(0, 256, (16, 12, 12, 3), np.uint8)
    quantized = dataclasses.replace(quantize(model, pixels), profile=profile)

    ours = quantized.run(pixels)

    # With an open batch the file works the shape out as it runs, and XNNPACK takes nothing behind that.
    data = write(quantized.graph.bind(len(pixels)), quantized.workspace).data
    np.testing.assert_array_equal(ours, TFLiteModel(data, profile=profile).run(pixels))
    real = model.run(np.stack([model.preprocess(image) for image in pixels]))
    assert np.abs(ours - real).max() < 0.05 * np.abs(real).max()
    assert {"prelu", "conv_transpose2d"} <= {node.op.name for node in quantized.graph.nodes}


def test_profiles_differ():
    """The three sets of kernels do not agree with one another, so a profile has something to say."""
    (case,) = [case for case in CASES if case.name == "conv2d_1x1_narrow"]
    graph, weights, feeds = case.program()

    results = {profile: Session(graph, weights, profile=profile).run(feeds)["y"] for profile in PROFILES}

    pairs = [("reference", "litert"), ("reference", "xnnpack"), ("litert", "xnnpack")]
    differences = [np.abs(results[a].astype(int) - results[b]) for a, b in pairs]
    assert all(0 < (difference > 0).mean() < 0.01 for difference in differences)
    assert max(difference.max() for difference in differences) == 1


def test_a_session_is_what_the_runtime_does_by_default():
    """Where no profile is given, XNNPACK's arithmetic is meant."""
    graph, weights, feeds = Int8Case("mul", Mul(), ((40, 70), (40, 70))).program()

    found = Session(graph, weights).run(feeds)["y"]

    np.testing.assert_array_equal(found, Session(graph, weights, profile="xnnpack").run(feeds)["y"])
    assert np.any(found != Session(graph, weights, profile="reference").run(feeds)["y"])


def test_an_unknown_profile_is_refused():
    """The names that there are, and the one that was meant."""
    graph, weights, _ = CASES[0].program()

    with pytest.raises(UsageError, match=r"'refrence' is not one of reference, litert, xnnpack.*'reference'\?"):
        Session(graph, weights, profile="refrence")


def test_floats_have_no_profile():
    """The arithmetic of real numbers is the same in all of them."""
    g = Builder("floats")
    graph = g.build(g.add(HardSwish(), g.input("x", Spec((3, 50))), name="y"))
    x = np.random.default_rng(0).normal(0, 3, (3, 50)).astype(np.float32)

    first, *others = (Session(graph, Workspace(), profile=profile).run({"x": x})["y"] for profile in PROFILES)

    for other in others:
        np.testing.assert_array_equal(other, first)
