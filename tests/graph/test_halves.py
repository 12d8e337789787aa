"""bfloat16 on the host: every number of it, ties, overflow, and naive kernels that round once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph
from edge_sdk.halves import from_bfloat16, rounded_to, to_bfloat16, widened
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.shape import Cast
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import Session, run_once
from edge_sdk.spec import Spec
from edge_sdk.workspace import Workspace


def cast_and_back() -> Graph:
    """Return a graph that rounds x to bfloat16 and gives it in float32."""
    from edge_sdk.builder import Builder

    g = Builder("rounded")
    x = g.input("x", Spec((4,)))
    return g.build(g.add(Cast("float32"), g.add(Cast("bfloat16"), x, name="narrow"), name="y"))


def test_every_bfloat16_survives() -> None:
    """All 65,536 patterns come back as they were; NaN stays one."""
    bits = np.arange(2**16, dtype=np.uint32).astype(np.uint16)

    again = to_bfloat16(from_bfloat16(bits))

    numbers = ~np.isnan(from_bfloat16(bits))
    assert np.array_equal(again[numbers], bits[numbers])
    assert np.isnan(from_bfloat16(again[~numbers])).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_go_to_the_nearest(dtype: type) -> None:
    """By exact fractions: no other bfloat16 is nearer, and of two that are as near the even one is taken."""
    random = np.random.default_rng(0)
    numbers = (random.standard_normal(200) * 10.0 ** random.integers(-30, 30, 200)).astype(dtype)
    ties = ((1 + (2 * random.integers(0, 2**7, 50) + 1) / 2**8) * 2.0 ** random.integers(-50, 50, 50)).astype(dtype)

    for x in (*numbers, *ties):
        bits = int(to_bfloat16(np.array([x]))[0])
        away = [Fraction(float(from_bfloat16(np.array([bits + step], np.uint16))[0])) for step in (0, -1, 1)]
        distances = [abs(value - Fraction(float(x))) for value in away]
        assert distances[0] == min(distances)
        if distances[0] in distances[1:]:
            assert bits % 2 == 0


def test_double_precision_is_rounded_once() -> None:
    """Just above a tie goes up, though float32 cannot tell it from the tie."""
    above, below = 1 + 2.0**-8 + 2.0**-40, 1 + 3 * 2.0**-8 - 2.0**-40

    rounded = from_bfloat16(to_bfloat16(np.array([above, below, 1e300, -1e39])))

    assert rounded.tolist() == [1 + 2.0**-7, 1 + 2.0**-7, np.inf, -np.inf]


def test_naive_kernels_round_their_results_once() -> None:
    """A sum of 4097 products is made in float32 and then rounded: in float16 it would stop growing at 2048."""
    load_device("reference")
    ones = np.ones((1, 4097), np.float16)
    for dtype in ("float16", "bfloat16"):
        x = rounded_to(ones.astype(np.float32), dtype)
        kernel = find_kernel(Linear(), "reference", [Spec(x.shape, dtype)] * 2)
        out = np.zeros((1, 1), x.dtype)

        assert kernel is not None
        kernel.bind(Linear(), out, [x, x])()

        assert float(widened(out)[0, 0]) == 4096.0  # 4097 needs 13 bits


def test_graphs_with_bfloat16_are_written_and_read() -> None:
    """As JSON, and run by the naive kernels."""
    graph = graph_from_json(graph_to_json(cast_and_back()))

    y = run_once(graph, Workspace(), {"x": np.array([1, 1.001, -3.14159, 1e-40], np.float32)}, "reference")["y"]

    assert graph == cast_and_back()
    assert y.tolist() == [1.0, 1.0, -3.140625, pytest.approx(1e-40, rel=0.01)]


def test_a_processor_refuses_bfloat16() -> None:
    """Its kernels would take the bits for whole numbers: there is none, and the message says for what."""
    with pytest.raises(GraphError, match=r"no cpu kernel for cast \(node 'narrow'\)"):
        Session(cast_and_back(), Workspace())
