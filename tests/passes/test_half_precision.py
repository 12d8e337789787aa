"""Activations in 16 bits: which values are, which are not, and that the function stays what it was."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import Relu, Softmax
from edge_sdk.ops.control import Full
from edge_sdk.ops.elementwise import Add, Exp, Mul
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Cast
from edge_sdk.passes.half_precision import half_precision
from edge_sdk.session import run_once
from edge_sdk.spec import BATCH, Spec, Value
from edge_sdk.training.step import training_forward
from edge_sdk.workspace import Workspace

both = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def types(graph: Graph) -> dict[str, str]:
    """The stored type of every value."""
    return {value: spec.dtype for value, spec in graph.specs.items()}


@both
def test_a_training_graph(dtype: str) -> None:
    """Images are halves, parameters, statistics, inputs, outputs and updates are not; one cast for each weight."""
    forward = training_forward(tiny_model())

    graph, workspace = half_precision(forward.graph, forward.workspace, dtype=dtype)

    kinds = types(graph)
    assert {kinds[node.outputs[0]] for node in graph.nodes if node.op.name in ("conv2d", "global_avg_pool")} == {dtype}
    for node in graph.nodes:
        if node.op.name == "batch_norm_training":
            assert [kinds[value] for value in node.outputs] == [dtype, *["float32"] * 4]
            assert [kinds[value] for value in node.inputs[1:5]] == ["float32"] * 4
    outside = {*graph.inputs, *graph.params, *graph.outputs, *graph.updates.values()}
    assert dtype not in {kinds[value] for value in outside}
    assert (graph.inputs, graph.outputs, graph.params) == (
        forward.graph.inputs, forward.graph.outputs, forward.graph.params
    )  # fmt: skip
    assert set(graph.updates) == set(forward.graph.updates)
    casts = [node.inputs[0] for node in graph.nodes if isinstance(node.op, Cast)]
    assert len(casts) == len(set(casts))
    assert set(workspace) == set(graph.params)


@both
def test_the_function_is_the_same_up_to_rounding(dtype: str) -> None:
    """By the naive kernels, on photos: a dozen roundings of the largest logit."""
    forward = training_forward(tiny_model())
    graph, workspace = half_precision(forward.graph, forward.workspace, dtype=dtype)
    image = {"image": np.random.default_rng(0).standard_normal((4, 16, 16, 3), np.float32)}

    single = run_once(forward.graph, forward.workspace.copy(), image, "reference")["logits"]
    half = run_once(graph, workspace.copy(), image, "reference")["logits"]

    assert not np.array_equal(half, single)
    assert np.abs(half - single).max() <= 12 * UNIT[dtype] * np.abs(single).max()


def test_what_needs_range_or_long_sums_is_in_single_precision() -> None:
    """Softmax, exponentials and sums take and make float32; what follows them in float32 stays so; constants follow."""
    g = Builder("mixed")
    x, w = g.input("x", Spec((BATCH, 6))), g.param("w", Spec((6, 6)))
    y = g.add(Relu(), g.add(Linear(), x, w, name="product"), name="active")
    half = g.add(Mul(), y, g.add(Full((), 0.5)), name="halved")
    soft = g.add(Softmax(), half, name="soft")
    wide = g.add(Add(), soft, half, name="both")
    total = g.add(ReduceSum((1,)), g.add(Exp(), half, name="exp"), name="total")
    again = g.add(Linear(), wide, w, name="again")
    graph = g.build(total, again, half)

    graph, _ = half_precision(graph, Workspace({"w": np.zeros((6, 6), np.float32)}), dtype="bfloat16")

    kinds = types(graph)
    narrow = {value for value, kind in kinds.items() if kind == "bfloat16"}
    assert narrow >= {"product", "active"}
    assert narrow.isdisjoint({"soft", "exp", "total", "both", "halved", "again"})
    # An output that is read inside too is read in the type that it was made in.
    assert graph.specs[graph.producers[Value("soft")].inputs[0]].dtype == "float32"
    assert graph.producers[Value("halved")].op == Cast("float32")
    assert sum(node.inputs == ("w",) for node in graph.nodes) == 1


def test_an_output_that_is_read_inside_stays_narrow_there() -> None:
    """The world outside gets float32, the next operator the 16 bits that it was made in."""
    g = Builder("features")
    x, w = g.input("x", Spec((BATCH, 6))), g.param("w", Spec((6, 6)))
    features = g.add(Relu(), g.add(Linear(), x, w), name="features")
    graph = g.build(features, g.add(Relu(), features, name="next"))

    graph, _ = half_precision(graph, Workspace({"w": np.zeros((6, 6), np.float32)}), dtype="float16")

    node = next(node for node in graph.nodes if node.outputs[0] == "next:float16")
    assert node.inputs == ("features:float16",)
    assert types(graph)["features"] == types(graph)["next"] == "float32"
