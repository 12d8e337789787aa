"""Workspace: arrays by name, shared or copied, compared with a graph's parameters."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.builder import Builder
from edge_sdk.errors import GraphError
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.linear import Linear
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec
from edge_sdk.workspace import Workspace


@pytest.fixture
def graph():
    """A dense layer with parameters `head.weight` (2, 3) and `head.bias` (2)."""
    g = Builder("net")
    x = g.input("x", Spec((BATCH, 3)))
    g.add(Linear(), x, g.param("head.weight", Spec((2, 3))), g.param("head.bias", Spec((2,))), name="y")
    return g.build(g.add(Relu(), "y"))


@pytest.fixture
def arrays():
    """Fitting arrays, and one that the graph does not know."""
    return Workspace(
        {
            "head.weight": np.ones((2, 3), np.float32),
            "head.bias": np.zeros(2, np.float32),
            "other": np.arange(3),
        }
    )


def test_it_is_a_mapping(arrays):
    """Set, get, ask, delete, count, iterate in order."""
    arrays["new"] = [1.0, 2.0]
    del arrays["other"]

    assert list(arrays) == ["head.weight", "head.bias", "new"]
    assert len(arrays) == 3
    assert "new" in arrays
    assert "other" not in arrays
    assert isinstance(arrays["new"], np.ndarray)
    assert dict(arrays.items())["new"].tolist() == [1.0, 2.0]


def test_a_missing_array_gets_a_suggestion(arrays):
    """A typo is named, with what was probably meant; get and pop have their defaults as usual."""
    with pytest.raises(GraphError, match=r"no array 'head\.wieght'; did you mean 'head\.weight'"):
        arrays["head.wieght"]


def test_the_mapping_handed_in_is_not_kept():
    """A later change of the dictionary is not seen; the arrays are the same."""
    source = {"a": np.zeros(2)}
    workspace = Workspace(source)

    source["b"] = np.zeros(3)

    assert list(workspace) == ["a"]
    assert workspace["a"] is source["a"]


def test_a_copy_has_arrays_of_its_own(arrays):
    """Writing into a copy changes nothing else."""
    copy = arrays.copy()

    copy["head.bias"][...] = 5

    assert arrays["head.bias"].tolist() == [0, 0]
    assert list(copy) == list(arrays)


def test_a_restriction_shares_the_arrays_of_a_graph(graph, arrays):
    """Only the parameters, in the graph's order, not copied."""
    part = arrays.restricted(graph)

    assert list(part) == ["head.weight", "head.bias"]
    assert all(part[name] is arrays[name] for name in part)


def test_a_fitting_workspace_passes(graph, arrays):
    """Arrays that the graph does not know are no mistake."""
    before = dict(arrays)

    arrays.check(graph)

    assert dict(arrays) == before
    result = Session(graph, arrays, "reference", batch=1).run({"x": np.array([[1, 2, 3]], np.float32)})
    assert result[graph.outputs[0]].tolist() == [[6, 6]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2), np.float32), r"'head.weight' is f32\[2,3\], but its array is float32\[3, 2\]"),
        (np.zeros((2, 3)), r"but its array is float64\[2, 3\]"),
        (np.zeros((2, 3), ">f4"), r"but its array is >f4\[2, 3\]"),
    ],
)
def test_an_array_that_does_not_fit_is_named(graph, arrays, array, message):
    """Shape and dtype must be those of the parameter, the byte order the machine's."""
    arrays["head.weight"] = array

    with pytest.raises(GraphError, match=message):
        arrays.check(graph)


def test_a_missing_parameter_is_named(graph, arrays):
    """The check names what is not there."""
    del arrays["head.bias"]

    with pytest.raises(GraphError, match=r"no array 'head\.bias'"):
        arrays.check(graph)


def test_equal_contents_have_equal_digests(arrays):
    """Neither order, nor memory layout, nor byte order matters."""
    other = Workspace(dict(reversed(list(arrays.items()))))
    other["head.weight"] = np.asfortranarray(np.ones((2, 3), np.float32))
    other["other"] = arrays["other"].astype(arrays["other"].dtype.newbyteorder())

    assert other.digest() == arrays.digest()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a", np.array([[1.0, 2.0]], np.float32)),
        ("a", np.array([[1.0], [2.0]], np.float32)),
        ("a", np.array([1.0, 2.5], np.float32)),
        ("a", np.array([1.0, 2.0])),
        ("b", np.array([1.0, 2.0], np.float32)),
    ],
    ids=["rank", "shape", "value", "dtype", "name"],
)
def test_any_difference_changes_the_digest(name, array):
    """Names, shapes, dtypes and every byte count."""
    assert Workspace({name: array}).digest() != Workspace({"a": np.array([1.0, 2.0], np.float32)}).digest()


def test_a_scalar_is_not_a_vector_of_one():
    """Their bytes are the same, their shapes are not."""
    assert Workspace({"a": np.float32(1)}).digest() != Workspace({"a": np.ones(1, np.float32)}).digest()


def test_an_array_is_drawn_once_and_when_it_is_asked_for():
    """One that is replaced before is never drawn; names are there from the start."""
    drawn = []
    workspace = Workspace()
    for name in ("used", "replaced"):
        workspace.draw_later(name, lambda name=name: drawn.append(name) or np.ones(2, np.float32))
    workspace["replaced"] = np.zeros(2, np.float32)

    assert list(workspace) == ["used", "replaced"]
    assert drawn == []
    assert workspace["used"] is workspace["used"]
    assert not workspace.copy()["replaced"].any()
    assert drawn == ["used"]
