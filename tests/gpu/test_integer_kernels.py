"""CUDA kernels of stored numbers of 8 and of 16 bits: the naive kernels' bytes in each profile, without exemption."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from any_int8 import KINDS, WIDE_KINDS, any_case, any_wide_case
from gpu.device_calls import call_on_device
from gpu.orders import other_order
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_cases import CASES, WIDE_CASES, Int8Case

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.kernels.gpu import integer_conv, products
from edge_sdk.ops.activation import Gelu, Softmax
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add, Maximum
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.quantization.profile import PROFILES, Profile
from edge_sdk.session import Session
from edge_sdk.spec import Array, QuantParams, Spec
from edge_sdk.workspace import Workspace

EXAMPLES = int(os.environ.get("EDGE_PROPERTY_EXAMPLES", "3"))

load_device("gpu")


def assert_same_bytes(case: Int8Case, profile: Profile, *, both_orders: bool = True) -> None:
    """Hold every kernel of a row, between guards and with threads in both orders, against the naive one."""
    graph, weights, feeds = case.program()
    wanted = Session(graph, weights, "reference", profile=profile).run(feeds)
    (node,) = graph.nodes
    specs, results = ([graph.specs[value] for value in values] for values in (node.inputs, node.outputs))
    inputs = [np.asarray(feeds[value] if value in feeds else weights[value]) for value in node.inputs]
    kernels = applicable_kernels(node.op, "gpu", specs)
    assert kernels

    for kernel in kernels:
        for order in (nullcontext, other_order)[: 1 + both_orders]:
            with order():
                found = call_on_device(kernel, node.op, inputs, specs=specs, results=results, profile=profile)
            for value, array in zip(node.outputs, found, strict=True):
                assert array.dtype == wanted[value].dtype
                np.testing.assert_array_equal(array, wanted[value], err_msg=f"{case.name}, {profile}, {order.__name__}")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", [*CASES, *WIDE_CASES], ids=str)
def test_the_gpu_gives_the_bytes_of_the_reference(case: Int8Case, profile: Profile) -> None:
    """Sums are exact and roundings defined: nothing may differ."""
    assert_same_bytes(case, profile)


DRAWN = [*((any_case, kind) for kind in KINDS), *((any_wide_case, kind) for kind in WIDE_KINDS)]


@pytest.mark.parametrize(("draw", "kind"), DRAWN, ids=lambda value: value if isinstance(value, str) else "")
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 3, database=None)
@given(seed=st.integers(0, 1 << 30), profile=st.sampled_from(PROFILES))
def test_any_shape_scale_and_zero_point(
    draw: Callable[[str, int], Int8Case], kind: str, seed: int, profile: Profile
) -> None:
    """No shape, no attribute, no scale and no zero point makes a single stored number differ."""
    assert_same_bytes(draw(kind, seed), profile, both_orders=False)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("draw", "kind"), DRAWN, ids=lambda value: value if isinstance(value, str) else "")
def test_dozens_of_shapes_scales_and_zero_points(
    draw: Callable[[str, int], Int8Case], kind: str, profile: Profile
) -> None:
    """The same of forty operators of each kind."""
    for seed in range(40):
        assert_same_bytes(draw(kind, seed), profile, both_orders=False)


EDGES = [
    Int8Case("one channel", Conv2D(padding="same"), ((1, 5, 6, 1),), (1, 3, 3, 1)),
    Int8Case("tiles and one more", Conv2D(), ((1, 5, 13, 65),), (65, 1, 1, 65)),
    Int8Case("steps and one more", Conv2D(), ((2, 4, 4, 260),), (4, 1, 1, 260)),
    Int8Case("groups of odd channels", Conv2D(groups=3), ((1, 4, 4, 15),), (6, 1, 1, 5)),
    Int8Case("a kernel larger than the image", Conv2D(padding=((3, 3), (3, 3))), ((1, 2, 2, 4),), (5, 7, 7, 4)),
    Int8Case("a long mean", ReduceMean(axes=(1, 2, 3)), ((2, 20, 21, 5),)),
    Int8Case("a mean of few", ReduceMean(axes=(2, 3)), ((3, 7, 2, 3),)),
    Int8Case("rows longer than a warp", Softmax(), ((11, 33),)),
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("case", EDGES, ids=str)
def test_remainders_of_tiles(case: Int8Case, dtype: str, profile: Profile) -> None:
    """What does not fill tiles, steps of 64 channels or words of four is computed like the rest."""
    assert_same_bytes(Int8Case(f"{case.name} {dtype}", case.op, case.shapes, case.weights, dtype), profile)


PRODUCTS = [
    Int8Case("padded", Conv2D(padding="same"), ((2, 13, 11, 32),), (140, 3, 3, 32)),
    Int8Case("strided", Conv2D((2, 2), ((1, 1), (1, 1)), activation="relu6"), ((1, 9, 9, 48),), (7, 3, 3, 48)),
    Int8Case("in groups", Conv2D(groups=2), ((1, 5, 5, 64),), (34, 1, 1, 32)),
    Int8Case("dense", Linear(), ((130, 80),), (129, 80)),
]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_tensor_cores_give_the_bytes_of_the_reference(
    case: Int8Case, wide: bool, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By small and by wide tiles, whose borders lie outside of the result; padding is the zero point."""
    monkeypatch.setattr(products, "wide_tiles_fit", lambda *_: wide)
    graph, _, _ = case.program()
    (node,) = graph.nodes
    chosen = applicable_kernels(node.op, "gpu", [graph.specs[value] for value in node.inputs])[0]

    assert chosen.algorithm == "tensor cores"
    assert_same_bytes(case, profile)


@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_a_gpu_without_tensor_cores_gives_the_same(case: Int8Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older one multiplies four at a time."""
    launched: list[str] = []
    launch = integer_conv.launch

    def noted(name: str, *arguments: Any, **options: Any) -> Any:
        launched.append(name)
        return launch(name, *arguments, **options)

    monkeypatch.setattr(integer_conv, "has_tensor_cores", lambda *_: False)
    monkeypatch.setattr(integer_conv, "launch", noted)

    assert_same_bytes(case, "xnnpack")

    assert {name for name in launched if name != "integer_weights"} == {"integer_conv"}


@pytest.mark.parametrize("terms", [517, 4096])
def test_sums_of_16_bits_are_longer_than_32(terms: int) -> None:
    """The largest numbers by the largest weights: from 517 products on their sum does not fit in 32 bits."""
    g, arrays = Builder("long"), Workspace()
    x = g.input("x", Spec((1, 1, 1, terms), "int16", QuantParams((1.0,), (0,))))
    arrays["w"] = np.full((2, 1, 1, terms), 127, np.int8)
    arrays["w"][1] = -127
    w = g.param("w", Spec((2, 1, 1, terms), "int8", QuantParams((1.0, 1.0), (0, 0), 0)))
    output = Spec((1, 1, 1, 2), "int16", QuantParams((float(terms * 127),), (0,)))
    (y,) = g.append(Conv2D(), [x, w], [output], name="y")
    graph, feeds = g.build(y), {"x": np.full((1, 1, 1, terms), 32767, np.int16)}

    found = Session(graph, arrays, "gpu").run(feeds)["y"].ravel()

    assert terms * 127 * 32767 > 2**31
    assert np.abs(found - np.array([32767, -32767])).max() <= 1  # the multiplier has 15 bits
    np.testing.assert_array_equal(found, Session(graph, arrays, "reference").run(feeds)["y"].ravel())


def chain(dtype: str) -> tuple[Builder, Spec, Array]:
    """A builder, and numbers of a dtype."""
    random = np.random.default_rng(3)
    limits = np.iinfo(dtype)
    spec = Spec((3, 5, 7), dtype, QuantParams((0.05,), (0,)))
    return Builder("chain"), spec, random.integers(limits.min, limits.max + 1, spec.shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_results_may_lie_where_inputs_were(dtype: str) -> None:
    """A chain of sums, whose memory the plan shares, gives what the naive kernels give."""
    g, spec, numbers = chain(dtype)
    x = y = g.input("x", spec)
    for _ in range(3):
        (y,) = g.append(Add("relu"), [y, x], [spec])
    graph = g.build(y)

    found, wanted = (Session(graph, Workspace(), device).run({"x": numbers})[y] for device in ("gpu", "reference"))

    np.testing.assert_array_equal(found, wanted)


def test_a_kernel_of_real_numbers_is_never_bound_to_stored_ones() -> None:
    """An operator without a kernel for them is refused by name, though it has one for real numbers."""
    g, spec, _ = chain("int8")
    (y,) = g.append(Gelu(), [g.input("x", spec)], [spec])

    with pytest.raises(GraphError, match="gelu"):
        Session(g.build(y), Workspace(), "gpu")


def test_numbers_of_different_scales_are_not_compared() -> None:
    """The larger stored number need not be the larger real one."""
    g, spec, _ = chain("int8")
    other = Spec(spec.shape, spec.dtype, QuantParams((0.1,), (0,)))
    (y,) = g.append(Maximum(), [g.input("a", spec), g.input("b", other)], [spec])

    with pytest.raises(GraphError, match="maximum"):
        Session(g.build(y), Workspace(), "gpu")
