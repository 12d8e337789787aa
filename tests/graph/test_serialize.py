"""Graphs as JSON: what is written comes back, and what is damaged is a FormatError, never another exception."""

from __future__ import annotations

import copy
import dataclasses
import json
import random

import pytest
from graph.random_graphs import programs
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from edge_sdk import serialize
from edge_sdk.builder import Builder
from edge_sdk.errors import FormatError
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.pretrained import load, warmup
from edge_sdk.serialize import FORMAT_VERSION, graph_from_dict, graph_from_json, graph_to_dict, graph_to_json
from edge_sdk.spec import BATCH, QuantParams, Spec
from edge_sdk.training.optimizers import SGD, Adam, RMSProp
from edge_sdk.training.step import training_step

quickly = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def assert_round_trip(graph):
    """The graph comes back equal, and its text is the same again."""
    text = graph_to_json(graph)
    back = graph_from_json(text)
    assert back == graph
    assert graph_to_json(back) == text


@pytest.mark.parametrize("name", warmup.NETWORKS)
def test_networks_of_the_zoo_come_back(name):
    """One of each family, before and after the inference passes."""
    model = load(name, weights=None, num_classes=2, image_size=64)

    assert_round_trip(model.graph)
    assert_round_trip(run_pipeline("inference", model.graph, model.workspace)[0])


@pytest.mark.parametrize("optimizer", [SGD(0.9, nesterov=True), Adam(decoupled=True), RMSProp()], ids=repr)
def test_training_graphs_come_back(optimizer):
    """Gradients, optimizers, updates and counters are ordinary parts of a graph."""
    step = training_step(tiny_model(), optimizer, learning_rate=0.1, clip_norm=1.0, label_smoothing=0.1)

    assert_round_trip(step.graph)


@given(pair=programs(updates=True))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_random_programs_come_back(pair):
    """Whatever can be built can be stored."""
    assert_round_trip(pair[0])


def test_quantization_comes_back():
    """Scales to the last bit, for a tensor and along an axis."""
    g = Builder("net")
    whole = QuantParams((0.1,), (-3,))
    x = g.input("x", Spec((BATCH, 2, 2, 2), "int8", whole))
    along = QuantParams((1 / 3, 2e-38), (0, 0), 1)
    (y,) = g.append(GlobalAvgPool(), (x,), [Spec((BATCH, 2), "int8", along)])

    assert_round_trip(g.build(y))


def test_specs_of_no_value_are_left_out():
    """What a file says of names that nothing has is not kept: nobody has checked such a name or spec."""
    graph = tiny_model().graph
    data = graph_to_dict(graph)

    data["specs"]["\x1b[31m"] = [[-1, 1 << 39], "float32"]

    assert graph_from_dict(data) == graph


def test_equal_graphs_have_equal_texts():
    """The text is compact, sorted and independent of the order in which specs were made."""
    graph = tiny_model().graph
    shuffled = dataclasses.replace(graph, specs=dict(sorted(graph.specs.items())))

    assert graph_to_json(shuffled) == graph_to_json(graph)
    assert " " not in graph_to_json(graph)


def test_the_format_version_is_written():
    """Readers can tell."""
    assert graph_to_dict(tiny_model().graph)["format"] == FORMAT_VERSION


def test_a_newer_format_is_refused_with_the_way_out():
    """The message names both versions and the command."""
    data = graph_to_dict(tiny_model().graph) | {"format": FORMAT_VERSION + 1}

    with pytest.raises(
        FormatError, match=f"format {FORMAT_VERSION + 1}, this edge-sdk reads up to {FORMAT_VERSION}; upgr"
    ):
        graph_from_dict(data)


@pytest.mark.parametrize("version", [0, -1, None, "1", 1.0, [1]])
def test_a_format_that_is_no_version_is_refused(version):
    """Whole numbers from 1 on."""
    with pytest.raises(FormatError, match="format is"):
        graph_from_dict(graph_to_dict(tiny_model().graph) | {"format": version})


def test_too_many_nodes_are_refused_before_they_are_read(monkeypatch):
    """A file cannot make the reader build millions of objects."""
    monkeypatch.setattr(serialize, "MAX_NODES", 3)

    with pytest.raises(FormatError, match="12 nodes, at most 3"):
        graph_from_json(graph_to_json(tiny_model().graph))


TEXT = graph_to_json(tiny_model().graph)


def read_or_refuse(text):
    """Read a damaged text: a graph that still makes sense, or a FormatError, whose message is returned."""
    try:
        graph = graph_from_json(text)
    except FormatError as error:
        return str(error)
    assert_round_trip(graph)
    return ""


@pytest.mark.parametrize("length", range(0, len(TEXT), 97))
def test_a_truncated_text_is_refused(length):
    """No prefix of JSON is JSON."""
    with pytest.raises(FormatError, match="not JSON"):
        graph_from_json(TEXT[:length])


@given(at=st.integers(0, len(TEXT) - 1), character=st.characters(), count=st.integers(0, 3))
@quickly
def test_a_damaged_character_is_refused_or_harmless(at, character, count):
    """Replaced, inserted or deleted anywhere."""
    assert len(read_or_refuse(TEXT[:at] + character + TEXT[at + count :])) < 1000


@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=8))
@quickly
def test_json_that_is_no_graph_is_refused(value):
    """Numbers, texts, lists of lists."""
    with pytest.raises(FormatError):
        graph_from_json(json.dumps(value))


STRANGE = [
    None, True, -1, 0, 1, 2, 3.5, 1e400, float("nan"), 2**31, 2**64, 10**400, "", "x", "same", "relu", "float32",
    "image", [], {}, [[]], [-1], [0, 0], [1, 1], [2**62] * 4, [[1, 1], [1, 1]], ["image"], {"graph": {}}, {"graph": 1},
]  # fmt: skip


def places(data, path=()):
    """The path of every element of nested JSON data."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate(data, chance):
    """Replace, delete, copy or rename one element somewhere."""
    path = chance.choice(list(places(data)))
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    match chance.randrange(4):
        case 0:
            del parent[path[-1]]
        case 1 if isinstance(parent, list):
            parent.insert(path[-1], copy.deepcopy(chance.choice(parent)))
        case 2 if isinstance(parent, dict):
            parent[chance.choice([*parent, "strange"])] = parent.pop(path[-1])
        case _:
            parent[path[-1]] = copy.deepcopy(chance.choice(STRANGE))


SOURCES = {
    "network": graph_to_dict(tiny_model().graph),
    "training": graph_to_dict(training_step(tiny_model(), SGD(), learning_rate=0.1, clip_norm=1.0).graph),
}


@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("source", SOURCES)
def test_damaged_data_is_refused_or_harmless(source, seed):
    """Up to three elements are replaced by strange ones, dropped, doubled or renamed."""
    chance = random.Random(seed)
    data = copy.deepcopy(SOURCES[source])
    for _ in range(chance.randint(1, 3)):
        mutate(data, chance)

    assert len(read_or_refuse(json.dumps(data))) < 1000


@pytest.mark.parametrize("depth", [50, 300, 600, 900, 100_000])
def test_deep_nesting_is_refused(depth):
    """No file exhausts the interpreter's stack, wherever the nesting is."""
    deep = "[" * depth + "]" * depth
    for mark in ('"same"', '"relu6"', "[8,3,3,3]", '"block.conv"', "0.1", '"format":1', '"tiny"'):
        assert mark in TEXT
        with pytest.raises(FormatError):
            graph_from_json(TEXT.replace(mark, mark[: mark.find(":") + 1] + deep))


def test_nested_graphs_are_refused_below_a_depth():
    """An attribute that is a graph that has an attribute that is a graph …"""
    data = graph_to_dict(Builder("inner").build())
    for _ in range(40):
        node = {"op": "relu", "attributes": {"graph": {"graph": data}}, "inputs": [], "outputs": []}
        data = graph_to_dict(Builder("outer").build()) | {"nodes": [node]}

    with pytest.raises(FormatError, match="nested deeper than 16 levels"):
        graph_from_dict(data)


@pytest.mark.parametrize("size", [2**40, 2**63, 10**30])
def test_sizes_that_no_memory_holds_are_refused(size):
    """Before any array of that size is asked for."""
    g = Builder("net")
    data = graph_to_dict(g.build(g.add(Relu(), g.input("x", Spec((2, 2))), name="y")))
    data["specs"] = {"x": [[2, size], "float32"], "y": [[2, size], "float32"]}

    with pytest.raises(FormatError, match="shape of 'x' is too large"):
        graph_from_dict(data)
