"""Operators: one declaration gives a name, input names, attributes and checks, inside the package and outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.errors import FormatError, GraphError, ShapeError
from edge_sdk.kernel import kernel
from edge_sdk.op import OPERATORS, Op, operator_from_attributes
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.ops.shape import BroadcastTo, Concat
from edge_sdk.ops.update import GroupedAdamUpdate, GroupedSGDUpdate, SGDUpdate
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class Cube(Op, name="test_cube"):
    """y = factor · x³, declared as a user would declare it."""

    factor: float = 1.0
    window: tuple[tuple[int, int], ...] = field(default=())
    mode: Literal["fast", "exact"] | None = None
    count: int = 0
    flag: bool = False
    label: str = ""

    def infer(self, x: Spec, offset: Spec | None = None) -> Spec:
        if x.rank == 0:
            raise ShapeError(f"test_cube: x is {x}, wanted one dimension or more")
        return x

    def grad(self, g, node, dy):
        x = node.inputs[0]
        return [g.add(Mul(), dy, g.add(CubeSlope(self.factor), x))]


@dataclass(frozen=True)
class CubeSlope(Op, name="test_cube_slope"):
    """The derivative 3 · factor · x²; it has none itself."""

    factor: float

    def infer(self, x: Spec) -> Spec:
        return x


@kernel(Cube, "reference")
@kernel(Cube, "cpu")
def _cube(op, out, x):
    out[...] = op.factor * x**3


@kernel(CubeSlope, "reference")
@kernel(CubeSlope, "cpu")
def _cube_slope(op, out, x):
    out[...] = 3 * op.factor * x**2


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_an_operator_from_outside_is_a_full_member(device):
    """Two declarations and kernels suffice: it runs, is differentiated and is stored."""
    g = Builder("user")
    x = g.input("x", Spec((BATCH, 2)))
    y = g.add(Cube(factor=2.0), x, name="y")
    loss = g.add(ReduceSum(axes=(0, 1)), y, name="loss")
    graph = graph_from_json(graph_to_json(g.build(y, *gradient(g, loss, [x]))))

    result = Session(graph, Workspace(), device, batch=1).run({"x": np.array([[1.0, -3.0]], np.float32)})

    assert result["y"].tolist() == [[2.0, -54.0]]
    assert result[graph.outputs[1]].tolist() == [[6.0, 54.0]]


def test_the_declaration_is_read_from_infer():
    """Names of inputs, and which are optional, are those of infer's parameters."""
    assert (Cube.name, Cube.input_names, Cube.required_inputs, Cube.variadic) == (
        "test_cube",
        ("x", "offset"),
        1,
        False,
    )
    assert (Concat.input_names, Concat.required_inputs, Concat.variadic) == (("parts",), 0, True)
    assert OPERATORS["test_cube"] is Cube


def test_attributes_come_in_order_and_make_operators_equal():
    """Operators are values: equal attributes, equal operators."""
    assert list(Cube(count=3).attributes()) == ["factor", "window", "mode", "count", "flag", "label"]
    assert Cube(count=3) == Cube(count=3) != Cube(count=4)
    assert hash(Cube(count=3)) == hash(Cube(count=3))


def test_a_name_is_declared_once():
    """The second declaration is refused, with the places of both."""
    with pytest.raises(TypeError, match=r"'add' is declared twice: edge_sdk\.ops\.elementwise and"):

        class Again(Op, name="add"):
            def infer(self, x: Spec) -> Spec:
                return x


def test_a_declaration_without_infer_is_refused():
    """It would fail at its first use; nothing is registered."""
    with pytest.raises(TypeError, match=r"'test_empty' declares no infer"):

        class Empty(Op, name="test_empty"):
            pass

    assert "test_empty" not in OPERATORS


@pytest.mark.parametrize(
    ("op", "count", "message"),
    [
        (Add(), 1, r"add takes 2 inputs \(a, b\), got 1"),
        (Add(), 3, r"add takes 2 inputs \(a, b\), got 3"),
        (Conv2D(), 1, r"conv2d takes 2 to 4 inputs \(x, w, b, residual\), got 1"),
        (Cube(), 3, r"test_cube takes 1 to 2 inputs \(x, offset\), got 3"),
    ],
)
def test_a_wrong_number_of_inputs_is_refused(op, count, message):
    """The message names the inputs."""
    with pytest.raises(ShapeError, match=message):
        op.infer_outputs([Spec((2, 2))] * count)


def test_an_operator_without_gradient_says_so():
    """The message says what to do about it."""
    g = Builder("net")
    x = g.input("x", Spec((2,)))
    y = g.add(CubeSlope(1.0), x, name="slope")

    with pytest.raises(GraphError, match=r"test_cube_slope has no gradient \(node 'slope'\); put stop_gradient"):
        gradient(g, g.add(ReduceSum(axes=(0,)), y), [x])


def test_attributes_of_every_kind_come_back_from_json():
    """Lists become tuples, whole numbers become floats where a float is declared."""
    found = operator_from_attributes(
        "test_cube",
        {"factor": 2, "window": [[1, 2], [3, 4]], "mode": "exact", "count": 5, "flag": True, "label": "a"},
    )

    assert found == Cube(2.0, ((1, 2), (3, 4)), "exact", 5, True, "a")  # noqa: FBT003
    assert type(found.attributes()["factor"]) is float
    assert operator_from_attributes("test_cube", {"mode": None}) == Cube()


@pytest.mark.parametrize(
    "attributes",
    [
        {"factor": "2"},
        {"factor": True},
        {"factor": None},
        {"window": 3},
        {"window": [[1]]},
        {"window": [[1, 2.0]]},
        {"mode": "slow"},
        {"mode": ["fast"]},
        {"count": 1.0},
        {"count": False},
        {"flag": 1},
        {"label": 1},
        {"label": {"a": 1}},
    ],
    ids=str,
)
def test_an_attribute_of_another_type_is_refused(attributes):
    """The message names the operator and the attribute."""
    with pytest.raises(FormatError, match=f"test_cube.*{next(iter(attributes))}"):
        operator_from_attributes("test_cube", attributes)


def test_a_number_beyond_floats_is_refused():
    """JSON knows no limits."""
    with pytest.raises(FormatError, match="test_cube: attribute factor is too large"):
        operator_from_attributes("test_cube", {"factor": 10**400})


def test_an_unknown_operator_gets_a_suggestion():
    """Both a typo and a forgotten import are likely."""
    with pytest.raises(FormatError, match=r"did you mean 'conv2d'\?; if it is your own, import the module"):
        operator_from_attributes("conv2", {})


def test_an_unknown_attribute_gets_a_suggestion():
    """A typo is no silent default."""
    with pytest.raises(FormatError, match="unknown attribute 'strides'; did you mean 'stride'"):
        operator_from_attributes("conv2d", {"strides": [1, 1]})


def test_a_missing_attribute_is_named():
    """Attributes without default must be there."""
    with pytest.raises(FormatError, match=r"test_cube_slope:.*factor"):
        operator_from_attributes("test_cube_slope", {})


def test_an_output_of_a_member_overwrites_an_input_of_that_member():
    """Behind two shared inputs, members of four inputs and three outputs; the gradient is never overwritten."""
    op = GroupedAdamUpdate()

    assert [op.overwrites(output) for output in range(6)] == [2, 4, 5, 6, 8, 9]
    assert [SGDUpdate().overwrites(output) for output in range(2)] == [0, 3]
    assert Add().overwrites(1) is None


VECTOR, SCALAR, STEP = Spec((4,)), Spec(()), Spec((), "int64")


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (GroupedSGDUpdate(), (SCALAR,), "grouped_sgd_update: 0 weights, gradients and states"),
        (GroupedSGDUpdate(), (SCALAR, VECTOR, VECTOR), "grouped_sgd_update: 2 weights, gradients and states"),
        (GroupedSGDUpdate(), (VECTOR, VECTOR, VECTOR, VECTOR), r"rate is f32\[4\], wanted a scalar"),
        (GroupedSGDUpdate(), (SCALAR, *[VECTOR] * 4, Spec((5,)), VECTOR), r"needs a gradient and state like it"),
        (GroupedAdamUpdate(), (SCALAR, SCALAR, *[VECTOR] * 4), r"step is f32\[\], wanted i64\[\]"),
        (GroupedAdamUpdate(), (SCALAR, STEP, *[VECTOR] * 3), "grouped_adam_update: 3 weights, gradients and states"),
    ],
)
def test_members_that_do_not_fit_are_named(op, inputs, message):
    """Half a parameter, none at all, another shape in the middle."""
    with pytest.raises(ShapeError, match=message):
        op.infer_outputs(inputs)


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (BroadcastTo((-1, 3)), (Spec((3,)),), r"broadcast_to: \(-1, 3\) for x f32\[3\]; -1 is for a first axis"),
        (BroadcastTo((-1, 3)), (SCALAR,), r"broadcast_to: \(-1, 3\) for x f32\[\]"),
        (Conv2D(), (Spec((1, 4, 4, 2)), Spec((3, 1, 1, 2), "int8")), r"w is i8\[3,1,1,2\]; cast them to one type"),
        (MatMul(), (Spec((2, 2)), Spec((2, 2), "float64")), r"b is f64\[2,2\]; cast them to one type"),
        (BatchNorm(), (Spec((2, 4)), *[VECTOR] * 3, Spec((4,), "int32")), r"i32\[4\]; wanted them in the type of x"),
    ],
)
def test_inputs_that_do_not_fit_are_named(op, inputs, message):
    """An axis that is not there is no batch, and bytes are not read as if they were of the other inputs' type."""
    with pytest.raises(ShapeError, match=message):
        op.infer_outputs(inputs)
