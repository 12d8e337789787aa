"""Gradients: hand values, sums over all uses, and nothing that nobody asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret, largest, programs
from hypothesis import HealthCheck, assume, given, settings
from tiny_models import tiny_model

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.op import Op
from edge_sdk.ops.activation import ActivationGrad, Relu, Relu6, Tanh
from edge_sdk.ops.control import FullLike, StopGradient
from edge_sdk.ops.elementwise import Add, Maximum, Mul, Square
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import Cast, Split
from edge_sdk.spec import Spec
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step


@pytest.fixture
def g():
    """A builder with inputs a and b, two numbers each."""
    g = Builder("net")
    for name in ("a", "b"):
        g.input(name, Spec((2,), "float64"))
    return g


A, B = np.array([2.0, -3.0]), np.array([5.0, 7.0])


def total(g, value, name="loss"):
    """The sum of a vector."""
    return g.add(ReduceSum(axes=tuple(range(g.spec(value).rank))), value, name=name)


def evaluate(g, *values):
    """Values at a = (2, -3), b = (5, 7)."""
    found = interpret(g.build(*values), {}, {"a": A, "b": B})
    return [found[value].tolist() for value in values]


def kinds(g):
    """The operators' names, in order."""
    return [node.op.name for node in g.nodes]


def test_a_product_by_hand(g):
    """The gradient of Σ a · b is (b, a)."""
    loss = total(g, g.add(Mul(), "a", "b"))

    assert evaluate(g, *gradient(g, loss, ["a", "b"])) == [B.tolist(), A.tolist()]


def test_a_value_used_twice_gets_the_sum(g):
    """The gradient of Σ a² + a · b is 2 a + b, also where one node reads a twice."""
    loss = total(g, g.add(Add(), g.add(Mul(), "a", "a"), g.add(Mul(), "a", "b")))

    assert evaluate(g, *gradient(g, loss, ["a"])) == [(2 * A + B).tolist()]


def test_a_long_chain_of_uses(g):
    """Doubled ten times, a is 1024 a."""
    value = "a"
    for _ in range(10):
        value = g.add(Add(), value, value)

    assert evaluate(g, *gradient(g, total(g, value), ["a"])) == [[1024.0, 1024.0]]


def test_only_some_outputs_of_a_node_are_used(g):
    """The gradient of the unused half of a split is 0."""
    left, _ = g.add_multi(Split(0, (1, 1)), "a")

    assert evaluate(g, *gradient(g, total(g, left), ["a"])) == [[1.0, 0.0]]


def test_a_seed_replaces_the_one(g):
    """With d loss given, the loss may have any shape: the gradient of a² is 2 a · seed."""
    y = g.add(Square(), "a", name="y")

    assert evaluate(g, *gradient(g, y, ["a"], seed="b")) == [(2 * A * B).tolist()]


def test_a_loss_that_is_no_scalar_is_refused(g):
    """The message says what to do."""
    g.add(Square(), "a", name="y")

    with pytest.raises(GraphError, match=r"the loss 'y' is f64\[2\], wanted a scalar; reduce it or give a seed"):
        gradient(g, "y", ["a"])


def test_the_loss_by_itself_is_one(g):
    """The gradient d loss / d loss."""
    loss = total(g, "a")

    assert evaluate(g, *gradient(g, loss, [loss])) == [1.0]


def test_an_inner_value_can_be_asked_for(g):
    """The gradient for something computed stops there: nothing before it is differentiated."""
    inner = g.add(Tanh(), "a", name="inner")
    loss = total(g, g.add(Mul(), inner, "b"))
    before = len(g.nodes)

    assert evaluate(g, *gradient(g, loss, [inner])) == [B.tolist()]
    assert not any("tanh" in kind for kind in kinds(g)[before:])


def test_the_same_value_may_be_asked_for_twice(g):
    """Both answers are the gradient."""
    first, second = gradient(g, total(g, g.add(Mul(), "a", "b")), ["a", "a"])

    assert first == second


def test_stop_gradient_makes_a_constant(g):
    """The gradient of Σ stop(a) · a is stop(a)."""
    loss = total(g, g.add(Mul(), g.add(StopGradient(), "a"), "a"))

    assert evaluate(g, *gradient(g, loss, ["a"])) == [A.tolist()]


def test_an_operator_without_gradient_may_stand_behind_stop_gradient(g):
    """It is not asked for one: the gradient of Σ f(stop(a)) · a is f(stop(a)), here a where a > 0."""
    stopped = g.add(StopGradient(), "a")
    loss = total(g, g.add(Mul(), g.add(ActivationGrad("relu"), stopped, stopped), "a"))

    assert evaluate(g, *gradient(g, loss, ["a"])) == [[2.0, 0.0]]


@pytest.mark.parametrize("operator", [StopGradient(), Cast("int64")], ids=lambda op: op.name)
def test_a_value_that_no_gradient_reaches_is_refused(g, operator):
    """Training it would silently do nothing."""
    value = g.add(operator, "a")
    value = g.add(Cast("float64"), value) if isinstance(operator, Cast) else value
    loss = total(g, g.add(Mul(), value, "b"))

    with pytest.raises(GraphError, match="'loss' does not depend on 'a'"):
        gradient(g, loss, ["b", "a"])


def test_an_unused_parameter_is_refused(g):
    """The message names the loss and the parameter."""
    g.param("weight", Spec((2,), "float64"))

    with pytest.raises(GraphError, match="'loss' does not depend on 'weight'"):
        gradient(g, total(g, "a"), ["weight"])


def test_only_what_the_wanted_gradients_need_is_built():
    """A dense layer's gradient for its weight is one product; none for the photos, none for the bias."""
    g = Builder("net")
    x, w, b = g.input("x", Spec((4, 3))), g.param("w", Spec((2, 3))), g.param("b", Spec((2,)))
    loss = total(g, g.add(Linear(), x, w, b))
    before = len(g.nodes)

    (dw,) = gradient(g, loss, [w])

    added = g.nodes[before:]
    assert [node.op.name for node in added] == ["full_like", "expand_dims", "broadcast_like", "matmul"]
    assert added[-1].outputs == (dw,)
    assert set(g.specs) == {x, w, b, *(value for node in g.nodes for value in node.outputs)}


def test_a_frozen_backbone_has_no_backward_program():
    """Only the head's gradients are computed."""
    step = training_step(tiny_model(), SGD(), learning_rate=0.1, freeze="backbone")

    found = [node.op.name for node in step.graph.nodes]

    assert not any("conv2d_grad" in kind or "norm" in kind or "pool_grad" in kind for kind in found)
    assert set(step.graph.updates) == {
        "step", "head.weight", "head.bias", "head.weight:velocity", "head.bias:velocity",
    }  # fmt: skip


def test_no_gradient_for_the_photos_is_computed():
    """The first convolution of a network has a gradient for its weight alone."""
    step = training_step(tiny_model(), SGD(), learning_rate=0.1)

    readers = [node.op.name for node in step.graph.consumers("image")]

    assert readers == ["conv2d_statistics", "conv2d_grad_weight"]
    assert sum(node.op.name == "conv2d_grad_input" for node in step.graph.nodes) == 1


@dataclass(frozen=True)
class Wrong(Op, name="test_wrong_gradient"):
    """y = x, with a mistake in its gradient."""

    mistake: str

    def infer(self, x: Spec) -> Spec:
        return x

    def grad(self, g, node, dy):
        return [] if self.mistake == "count" else [total(g, dy, "")]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("count", "test_wrong_gradient: grad returned 0 values for 1 inputs"),
        ("shape", r"test_wrong_gradient: its gradient for 'a' is f64\[\], the value itself is f64\[2\]"),
    ],
)
def test_a_wrong_gradient_is_found_when_it_is_built(g, mistake, message):
    """A user's operator is told what is wrong with it."""
    loss = total(g, g.add(Wrong(mistake), "a"))

    with pytest.raises(GraphError, match=message):
        gradient(g, loss, ["a"])


KINKED = (Relu, Relu6, Maximum)


def reaching(graph, loss):
    """The values whose contents the loss depends on; running statistics are constants of a batch norm."""
    found = {loss}
    for node in reversed(graph.nodes):
        if not isinstance(node.op, FullLike) and not found.isdisjoint(node.outputs):
            found.update(node.inputs[:3] if isinstance(node.op, BatchNorm) else node.inputs)
    return found


@given(pair=programs())
@settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_random_programs_against_directional_derivatives(pair):
    """Along a random direction of all inputs and parameters, the gradient is the central difference in float64."""
    graph, workspace = pair
    assume(not any(isinstance(node.op, KINKED) for node in graph.nodes))
    graph = graph.bind(2)
    g = Builder.extend(graph)
    weighted = [total(g, g.add(Tanh(), value), "") for value in graph.outputs]
    loss = weighted[0]
    for term in weighted[1:]:
        loss = g.add(Add(), loss, term)
    forward = g.build(loss)
    point = feeds_for(graph) | dict(workspace)
    wanted = [value for value in (*graph.inputs, *graph.params) if value in reaching(forward, loss)]
    assume(wanted)
    slopes = interpret(g.build(loss, *(found := gradient(g, loss, wanted))), point, point)
    random, step = np.random.default_rng(1), 1e-5
    direction = {value: random.standard_normal(point[value].shape) for value in wanted}

    moved = [point | {value: point[value] + sign * step * direction[value] for value in wanted} for sign in (1, -1)]

    ahead, behind = (float(interpret(forward, at, at)[loss]) for at in moved)
    exact = sum(float(np.sum(slopes[v] * direction[w])) for v, w in zip(found, wanted, strict=True))
    # The error of a central difference is step² · third derivative + rounding / step.
    assert exact == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-5 * largest(slopes))
