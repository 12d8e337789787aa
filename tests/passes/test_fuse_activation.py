"""relu and relu6 become part of the operator before them, where nobody needs the number before."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret

from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Relu, Relu6, Tanh
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Sub
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.passes.fuse_activation import FUSABLE, fuse_activation
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace

STATISTICS = ((3,), (3,), (3,), (3,))
FUSED = {
    Conv2D: ((3, 2, 2, 3),),
    ConvTranspose2D: ((3, 2, 2, 3),),
    DepthwiseConv2D: ((1, 2, 2, 3),),
    Linear: ((4, 3),),
    Add: ((3,),),
    BatchNorm: STATISTICS,
    BatchNormTraining: STATISTICS,
}


def program(op, shapes=()):
    """A builder, the first output of `op` on an input x and parameters, and their arrays of either sign."""
    g = Builder("net")
    image = () if isinstance(op, Linear) else (4, 4)
    x = g.input("x", Spec((BATCH, *image, 3), "float64"))
    params = [g.param(f"p{i}", Spec(shape, "float64")) for i, shape in enumerate(shapes)]
    random = np.random.default_rng(5)
    arrays = Workspace({f"p{i}": random.uniform(-1, 1, shape) * 5 for i, shape in enumerate(shapes)})
    if shapes == STATISTICS:
        arrays["p3"] = np.abs(arrays["p3"]) + 0.5
    return g, g.add_multi(op, x, *params, name="before")[0], arrays


@pytest.mark.parametrize("activation", [Relu(), Relu6()], ids=["relu", "relu6"])
@pytest.mark.parametrize("op", FUSED, ids=lambda op: op.name)
def test_every_fusable_operator_takes_its_activation_in(op, activation):
    """One node is left, under the public name, and gives the very same numbers."""
    g, y, arrays = program(op(), FUSED[op])
    graph = g.build(g.add(activation, y, name="y"))

    after, _ = fuse_activation(graph, arrays)

    assert [node.op for node in after.nodes] == [op(activation=activation.name)]
    assert after.outputs == ("y",)
    feeds = feeds_for(graph)
    wanted = interpret(graph.bind(2), arrays, feeds)
    assert wanted["before"].min() < 0
    np.testing.assert_array_equal(interpret(after.bind(2), arrays, feeds)["y"], wanted["y"])


def test_the_table_of_this_file_is_complete():
    """Every fusable operator has a row."""
    assert set(FUSABLE) == set(FUSED)


def test_a_value_that_is_read_twice_is_not_fused():
    """The number before the activation is needed elsewhere."""
    g, y, arrays = program(Add(), ((3,),))
    graph = g.build(g.add(Sub(), g.add(Relu(), y), y))

    assert fuse_activation(graph, arrays)[0] == graph


def test_a_value_that_is_an_output_is_not_fused():
    """Users see the number before the activation."""
    g, y, arrays = program(Add(), ((3,),))
    graph = g.build(g.add(Relu(), y), y)

    assert fuse_activation(graph, arrays)[0] == graph


def test_a_value_that_is_an_update_is_not_fused():
    """A parameter takes the number before the activation."""
    g = Builder("net")
    state, step = g.param("state", Spec((3,))), g.param("step", Spec((3,)))
    new = g.add(Add(), state, step)
    g.update(state, new)
    graph = g.build(g.add(Relu(), new))

    arrays = Workspace({name: np.zeros(3, np.float32) for name in ("state", "step")})
    assert fuse_activation(graph, arrays)[0] == graph


def test_a_second_output_is_not_fused():
    """Relu of a batch norm's new mean has nothing to do with its first output."""
    g, _, arrays = program(BatchNormTraining(), STATISTICS)
    graph = g.build(g.add(Relu(), "before.1"), "before")

    assert fuse_activation(graph, arrays)[0] == graph


@pytest.mark.parametrize("second", [Relu(), Relu6(), Tanh()], ids=lambda op: op.name)
def test_only_the_first_of_two_activations_is_fused(second):
    """An operator that has an activation keeps it."""
    g, y, arrays = program(Add(), ((3,),))
    graph = g.build(g.add(second, g.add(Relu6(), y), name="y"))

    after, _ = fuse_activation(graph, arrays)

    assert [node.op for node in after.nodes] == [Add(activation="relu6"), second]


def test_both_outputs_of_a_fused_value_get_it():
    """A graph may name one value as an output more than once."""
    g, y, arrays = program(Add(), ((3,),))
    y = g.add(Relu(), y, name="y")
    graph = g.build(y, y)

    after, _ = fuse_activation(graph, arrays)

    assert after.outputs == ("y", "y")
    assert len(after.nodes) == 1


def test_readers_of_the_activation_read_the_fused_value():
    """The activation's name is gone where it was not public."""
    g, y, arrays = program(Add(), ((3,),))
    hidden = g.add(Relu(), y, name="hidden")
    graph = g.build(g.add(Tanh(), hidden, name="t"), g.add(Sub(), hidden, "x", name="s"))

    after, _ = fuse_activation(graph, arrays)

    assert [node.inputs for node in after.nodes] == [("x", "p0"), ("before",), ("before", "x")]
    assert "hidden" not in after.specs
