"""allow_tf32 marks products of float32 and their gradients, and nothing else."""

from __future__ import annotations

import numpy as np

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Flatten
from edge_sdk.passes.allow_tf32 import allow_tf32
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import run_once
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace


def network(dtype: str = "float32") -> tuple[Graph, Workspace]:
    """A convolution in groups, a depthwise one and a dense layer, with their weights."""
    g, random = Builder("net"), np.random.default_rng(0)
    shapes = {"w": (6, 3, 3, 2), "v": (1, 2, 2, 6), "d": (3, 24)}
    w, v, d = (g.param(name, Spec(shape, dtype)) for name, shape in shapes.items())
    y = g.add(Conv2D(groups=2, activation="relu"), g.input("x", Spec((BATCH, 5, 5, 4), dtype)), w)
    z = g.add(Linear(), g.add(Flatten(), g.add(DepthwiseConv2D(), y, v)), d, name="z")
    arrays = {name: random.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    return allow_tf32(g.build(z), Workspace(arrays))


def test_products_and_their_gradients_are_marked() -> None:
    """Those that have a precision all have the same."""
    graph, _ = network()
    g = Builder.extend(graph, name="training")
    loss = g.add(ReduceSum(axes=(0, 1)), graph.value("z"))

    slopes = gradient(g, loss, [*graph.inputs, *graph.params])

    products = {node.op.name: node.op.precision for node in g.build(*slopes).nodes if hasattr(node.op, "precision")}
    assert sorted(products) == ["conv2d", "conv2d_grad_input", "conv2d_grad_weight", "linear", "matmul"]
    assert set(products.values()) == {"tf32"}


def test_float64_stays() -> None:
    """A graph in other numbers asked for them."""
    graph, _ = network("float64")

    precisions = {node.op.precision for node in graph.nodes if hasattr(node.op, "precision")}

    assert precisions == {"float32"}


def test_the_mark_is_stored_and_changes_nothing_on_other_devices() -> None:
    """A marked graph survives its JSON text, and a processor computes it exactly."""
    graph, workspace = network()
    x = {"x": np.random.default_rng(1).standard_normal((2, 5, 5, 4)).astype(np.float32)}

    stored = graph_from_json(graph_to_json(graph))

    assert stored == graph
    exact, marked = run_once(graph, workspace, x, "reference")["z"], run_once(stored, workspace, x, "cpu")["z"]
    assert float(np.max(np.abs(exact - marked))) <= 1e-5 * float(np.max(np.abs(exact)))
