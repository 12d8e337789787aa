"""mixed_precision marks the products that gain, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.writer import write
from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Flatten
from edge_sdk.passes.mixed_precision import mixed_precision
from edge_sdk.printer import program
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import run_once
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace

IMAGE = (BATCH, 8, 8, 32)

RULE: list[tuple[str, Op, tuple[int, ...], tuple[int, ...], bool]] = [
    ("1x1", Conv2D(), IMAGE, (64, 1, 1, 32), True),
    ("strided 1x1", Conv2D((2, 2)), IMAGE, (64, 1, 1, 32), True),
    ("strided 3x3", Conv2D((2, 2)), IMAGE, (64, 3, 3, 32), True),
    ("dilated 3x3", Conv2D(dilation=(2, 2)), IMAGE, (64, 3, 3, 32), True),
    ("5x5", Conv2D(), IMAGE, (64, 5, 5, 32), True),
    ("narrowest", Conv2D(), (BATCH, 8, 8, 16), (16, 1, 1, 16), True),
    ("dense", Linear(), (BATCH, 32), (64, 32), True),
    ("winograd", Conv2D(padding="same"), IMAGE, (64, 3, 3, 32), False),
    ("groups", Conv2D(groups=2), IMAGE, (64, 1, 1, 16), False),
    ("depthwise", DepthwiseConv2D(), IMAGE, (1, 5, 5, 32), False),
    ("photo", Conv2D((2, 2)), (BATCH, 8, 8, 3), (64, 7, 7, 3), False),
    ("few outputs", Linear(), (BATCH, 32), (10, 32), False),
    ("product of values", MatMul(), (8, 32), (32, 64), False),
]


@pytest.mark.parametrize(("op", "x", "w", "marked"), [row[1:] for row in RULE], ids=[row[0] for row in RULE])
def test_what_gains_is_marked(op: Op, x: tuple[int, ...], w: tuple[int, ...], marked: bool) -> None:
    """Products that other algorithms shorten, that wait for memory or that are narrow stay float32."""
    g = Builder("one")
    graph = g.build(g.add(op, g.input("x", Spec(x)), g.param("w", Spec(w)), name="y"))

    after, _ = mixed_precision(graph, Workspace({"w": np.zeros(w, np.float32)}))

    assert ("precision=bfloat16" in program(after)) == marked
    assert (after == graph) != marked


def test_float64_stays() -> None:
    """A graph in other numbers asked for them."""
    g = Builder("one")
    x, w = g.input("x", Spec((BATCH, 32), "float64")), g.param("w", Spec((64, 32), "float64"))
    graph = g.build(g.add(Linear(), x, w))

    after, _ = mixed_precision(graph, Workspace({"w": np.zeros((64, 32))}))

    assert after == graph


def network() -> tuple[Graph, Workspace]:
    """A 1×1 convolution and a dense layer, both marked, and their weights."""
    g, random = Builder("net"), np.random.default_rng(0)
    w, d = random.standard_normal((32, 1, 1, 32), np.float32), random.standard_normal((16, 128), np.float32)
    y = g.add(Conv2D(activation="relu"), g.input("x", Spec((BATCH, 2, 2, 32))), g.param("w", Spec(w.shape)))
    z = g.add(Linear(), g.add(Flatten(), y), g.param("d", Spec(d.shape)), name="z")
    return mixed_precision(g.build(z), Workspace({"w": w, "d": d}))


def test_gradients_are_computed_alike() -> None:
    """Each gradient of a marked product is marked too."""
    graph, _ = network()
    g = Builder.extend(graph, name="training")
    loss = g.add(ReduceSum(axes=(0, 1)), graph.value("z"))

    slopes = gradient(g, loss, [*graph.inputs, *graph.params])

    products = {node.op.name: node.op.precision for node in g.build(*slopes).nodes if hasattr(node.op, "precision")}
    assert sorted(products) == ["conv2d", "conv2d_grad_input", "conv2d_grad_weight", "linear", "matmul"]
    assert set(products.values()) == {"bfloat16"}


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_gradients_of_a_matrix_product_are_computed_alike(transpose_a: bool, transpose_b: bool) -> None:
    """However its factors lie."""
    g = Builder("product")
    a, b = g.input("a", Spec((3, 3))), g.input("b", Spec((3, 3)))
    loss = g.add(ReduceSum(axes=(0, 1)), g.add(MatMul(transpose_a, transpose_b, "bfloat16"), a, b))

    slopes = gradient(g, loss, [a, b])

    precisions = [node.op.precision for node in g.build(*slopes).nodes if isinstance(node.op, MatMul)]
    assert precisions == ["bfloat16"] * 3  # the product and both gradients


def test_the_mark_is_stored() -> None:
    """A marked graph survives its JSON text."""
    graph, _ = network()

    assert graph_from_json(graph_to_json(graph)) == graph


def test_the_reference_and_the_exported_file_are_those_of_the_unmarked_graph() -> None:
    """The mark allows our CPU kernels to round; it is no part of the function."""
    graph, arrays = network()
    plain = dataclasses.replace(graph, nodes=tuple(map(unmarked, graph.nodes)))
    feeds = {"x": np.random.default_rng(1).standard_normal((3, 2, 2, 32), np.float32)}

    results = [run_once(each, arrays, feeds, "reference")["z"] for each in (graph, plain)]

    assert plain != graph
    np.testing.assert_array_equal(*results)
    assert write(graph, arrays).data == write(plain, arrays).data


def unmarked(node: Node) -> Node:
    """The node in float32."""
    if not isinstance(node.op, Conv2D | Linear):
        return node
    return dataclasses.replace(node, op=dataclasses.replace(node.op, precision="float32"))
