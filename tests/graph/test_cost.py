"""Multiply-adds against hand-computed ones."""

from __future__ import annotations

import pytest
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.cost import multiply_adds, node_bytes, node_multiply_adds
from edge_sdk.errors import GraphError
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    ConvTranspose2D,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.pretrained.zoo import load
from edge_sdk.spec import Spec

CASES = {
    # 2 images of 4 × 4 outputs with 5 channels, each the sum of 3 · 3 · 3 products
    "conv2d": (Conv2D((2, 2), "same"), [(2, 8, 8, 3), (5, 3, 3, 3)], 2 * 4 * 4 * 5 * 27),
    # each output channel sees the 2 channels of its group
    "grouped conv2d": (Conv2D(groups=2), [(1, 3, 3, 4), (6, 3, 3, 2)], 6 * 18),
    "conv_transpose2d": (ConvTranspose2D((2, 2)), [(2, 4, 3, 6), (5, 2, 3, 6)], 2 * 4 * 3 * 6 * 5 * 6),
    # 3 · 5 outputs of 8 channels, each the sum of 2 · 3 products
    "depthwise_conv2d": (DepthwiseConv2D(), [(1, 4, 7, 4), (1, 2, 3, 8)], 3 * 5 * 8 * 6),
    "linear": (Linear(), [(3, 7), (5, 7)], 3 * 7 * 5),
    "linear with bias": (Linear(), [(3, 7), (5, 7), (5,)], 3 * 7 * 5),
    "matmul": (MatMul(), [(2, 3, 7), (2, 7, 5)], 2 * 3 * 7 * 5),
    "matmul of a transposed": (MatMul(transpose_a=True), [(7, 3), (7, 5)], 3 * 7 * 5),
    "matmul of b transposed": (MatMul(transpose_b=True), [(3, 7), (5, 7)], 3 * 7 * 5),
    # gradients: as many products as the convolutions above, of dy and w, and of dy and x
    "conv2d_grad_input": (
        Conv2DGradInput((2, 2), "same", (1, 1), 1, (8, 8)), [(2, 4, 4, 5), (5, 3, 3, 3)], 2 * 4 * 4 * 5 * 27,
    ),
    "conv2d_grad_weight": (
        Conv2DGradWeight((2, 2), "same", (1, 1), 1, (3, 3)), [(2, 4, 4, 5), (2, 8, 8, 3)], 2 * 4 * 4 * 5 * 27,
    ),
    "grouped conv2d_grad_input": (
        Conv2DGradInput((1, 1), "valid", (1, 1), 2, (3, 3)), [(1, 1, 1, 6), (6, 3, 3, 2)], 6 * 18,
    ),
    "grouped conv2d_grad_weight": (
        Conv2DGradWeight((1, 1), "valid", (1, 1), 2, (3, 3)), [(1, 1, 1, 6), (1, 3, 3, 4)], 6 * 18,
    ),
    "depthwise_conv2d_grad_input": (
        DepthwiseConv2DGradInput((1, 1), "valid", (1, 1), (4, 7), 4), [(1, 3, 5, 8), (1, 2, 3, 8)], 3 * 5 * 8 * 6,
    ),
    "depthwise_conv2d_grad_weight": (
        DepthwiseConv2DGradWeight((1, 1), "valid", (1, 1), (2, 3)), [(1, 3, 5, 8), (1, 4, 7, 4)], 3 * 5 * 8 * 6,
    ),
    "relu": (Relu(), [(2, 8)], 0),
    "add": (Add(), [(2, 8), (2, 8)], 0),
}  # fmt: skip

# Billions of multiply-adds of one image of 224 × 224 pixels, as torchvision documents its networks.
PUBLISHED = {"mobilenetv2": 0.30, "resnet18": 1.81}


@pytest.mark.parametrize(("op", "shapes", "wanted"), CASES.values(), ids=CASES)
def test_one_operator(op, shapes, wanted):
    """Outputs times the products that each of them sums."""
    g = Builder("net")
    graph = g.build(g.add(op, *(g.input(f"x{i}", Spec(shape)) for i, shape in enumerate(shapes))))

    assert node_multiply_adds(graph, graph.nodes[0]) == wanted


def test_bytes_are_those_of_inputs_and_outputs():
    """Two matrices of 3 × 7 and 7 × 5 read, one of 3 × 5 written, of four bytes a number."""
    g = Builder("net")
    graph = g.build(g.add(MatMul(), g.input("a", Spec((3, 7))), g.input("b", Spec((7, 5)))))

    assert node_bytes(graph, graph.nodes[0]) == 4 * (21 + 35 + 15)


def test_a_network_is_the_sum_of_its_nodes():
    """Stem 8 · 8 · 8 · 27, depthwise 8 · 8 · 8 · 9, pointwise 8 · 8 · 8 · 8, head 8 · 3; times the batch."""
    one = 512 * 27 + 512 * 9 + 512 * 8 + 24

    assert multiply_adds(tiny_model().graph.bind(1)) == one
    assert multiply_adds(tiny_model().graph.bind(5)) == 5 * one


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_cost_what_was_published(name):
    """Within the two decimals that are published."""
    graph = load(name, weights=None).graph.bind(1)

    assert multiply_adds(graph) / 1e9 == pytest.approx(PUBLISHED[name], abs=0.005)


def test_an_open_batch_is_refused():
    """There is no number for it."""
    model = tiny_model()

    with pytest.raises(GraphError, match="open batch"):
        multiply_adds(model.graph)
