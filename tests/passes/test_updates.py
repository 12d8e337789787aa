"""How a step updates its parameters: dense layers without a stored gradient, each as early as it may."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.update import GroupedSGDUpdate, SGDUpdate
from edge_sdk.passes import group_updates as grouping
from edge_sdk.passes import pipelines
from edge_sdk.passes.fuse_update import fuse_update
from edge_sdk.passes.group_updates import group_updates
from edge_sdk.passes.order_updates import order_updates
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.training.optimizers import SGD, Adam, RMSProp
from edge_sdk.training.step import TrainingStep, training_step
from edge_sdk.workspace import Workspace

OPTIMIZERS = [SGD(weight_decay=0.01), Adam(weight_decay=0.01), RMSProp(momentum=0.5)]
named = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adam", "rmsprop"])


def dense_model() -> Model:
    """Three dense layers with activations, the middle one's input gradient being needed."""
    net = Network("dense", (4, 4, 3), seed=1)
    x = net.flatten(net.image)
    for layer, outputs in (("first", 70), ("second", 33)):
        x = net.activation(net.linear(x, outputs, layer), "relu")
    graph, workspace = net.head(x, 3)
    return Model(graph, workspace, Preprocess((4, 4)), ("a", "b", "c"))


def step_of(model: Model, optimizer, passes, monkeypatch, **settings) -> TrainingStep:
    """A training step after some passes only."""
    monkeypatch.setattr(pipelines, "PIPELINES", {**pipelines.PIPELINES, "step": passes})
    return training_step(model, optimizer, learning_rate=0.05, **settings)


def after_steps(step: TrainingStep, batch: int, side: int, threads: int | None = None) -> dict[str, np.ndarray]:
    """All parameters after three steps on the same photos."""
    random = np.random.default_rng(3)
    feeds = {
        "image": random.standard_normal((batch, side, side, 3), np.float32),
        "label": random.integers(0, 3, batch).astype(np.int32),
    }
    session = Session(step.graph, step.workspace, batch=batch, threads=threads)
    for _ in range(3):
        session.run(feeds)
    return dict(step.workspace)


def names(graph: Graph) -> list[str]:
    """The operators in order."""
    return [node.op.name for node in graph.nodes]


@named
@pytest.mark.parametrize("batch", [1, 8, 150])
def test_a_fused_step_computes_what_a_plain_one_does(optimizer, batch, monkeypatch):
    """Weights and state after three steps, whatever the optimizer; the input gradient sees the old weights."""
    fused = step_of(dense_model(), optimizer, (fuse_update, order_updates), monkeypatch)
    plain = step_of(dense_model(), optimizer, (), monkeypatch)

    ours, wanted = after_steps(fused, batch, 4), after_steps(plain, batch, 4)

    assert sum(name.startswith("linear_") and name.endswith("_update") for name in names(fused.graph)) == 3
    assert MatMul(transpose_a=True) not in [node.op for node in fused.graph.nodes]
    assert set(ours) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-4, atol=1e-5 * max(1, np.abs(array).max()), err_msg=name)


@named
def test_the_order_changes_no_bit(optimizer, monkeypatch):
    """The same kernels on the same numbers, convolutions and batch norms included."""
    plain = step_of(tiny_model(), optimizer, (), monkeypatch)
    early = step_of(tiny_model(), optimizer, (order_updates,), monkeypatch)

    ours, wanted = after_steps(early, 4, SIDE), after_steps(plain, 4, SIDE)

    assert names(early.graph) != names(plain.graph)
    assert sorted(names(early.graph)) == sorted(names(plain.graph))
    for name, array in wanted.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def large_model() -> Model:
    """Convolutions of which one's weight is of several tasks' size and one is too large for a group."""
    net = Network("large", (8, 8, 3), seed=1)
    x = net.activation(net.batch_norm(net.conv(net.image, 65, 3, "first"), "norm1"), "relu")
    x = net.activation(net.batch_norm(net.conv(x, 96, 3, "second"), "norm2"), "relu")
    x = net.activation(net.batch_norm(net.conv(x, 96, 3, "third"), "norm3"), "relu")
    return Model(*net.head(net.global_average_pool(x), 3), Preprocess((8, 8)), ("a", "b", "c"))


def grouped_weights(graph: Graph) -> list[set[str]]:
    """The weights of each group."""
    groups = [node for node in graph.nodes if node.op.name.startswith("grouped_")]
    return [{inputs[0] for inputs, _ in node.op.members.each(node.inputs, node.outputs)} for node in groups]


@named
@pytest.mark.parametrize("threads", [1, None])
def test_a_group_changes_no_bit(optimizer, threads, monkeypatch):
    """Weights and state after three steps are those of separate updates, for any number of threads."""
    grouped = step_of(large_model(), optimizer, (order_updates, group_updates), monkeypatch)
    plain = step_of(large_model(), optimizer, (order_updates,), monkeypatch)

    ours, wanted = after_steps(grouped, 4, 8, threads), after_steps(plain, 4, 8)

    assert len(grouped.graph.nodes) < len(plain.graph.nodes)
    assert set(ours) == set(wanted)
    for name, array in wanted.items():
        assert ours[name].tobytes() == array.tobytes(), name


def test_small_parameters_of_one_rule_are_a_group(monkeypatch):
    """Weights decay and vectors do not, which makes two groups; a weight of more than 65536 numbers stands alone."""
    graph = step_of(large_model(), SGD(weight_decay=0.01), pipelines.PIPELINES["step"], monkeypatch).graph

    matrices, vectors = sorted(grouped_weights(graph), key=len)

    assert matrices == {"first.weight", "second.weight"}
    norms = {f"norm{number}.{part}" for number in (1, 2, 3) for part in ("scale", "offset")}
    assert vectors == norms | {"head.bias"}
    assert [node.inputs[0] for node in graph.nodes if node.op == SGDUpdate(0.9, weight_decay=0.01)] == ["third.weight"]


def test_large_parameters_that_wait_for_all_gradients_are_in_the_group(monkeypatch):
    """Where a factor is made of all gradients they are there at the end, so nothing is gained by an update alone."""
    step = training_step(
        large_model(), SGD(weight_decay=0.01), learning_rate=0.05, precision="fp16", device="gpu"
    )  # fmt: skip

    alone = {node.inputs[0] for node in step.graph.nodes if node.op.name == "sgd_update"}

    assert {"first.weight", "second.weight", "third.weight", "head.weight"} in grouped_weights(step.graph)
    assert alone == {"head.bias"}  # the only one of its kind whose gradient is in 16 bits


def test_a_lone_small_parameter_stays_as_it_is(monkeypatch):
    """A group of one would gain nothing."""
    monkeypatch.setattr(grouping, "LARGEST", 3)

    graph = step_of(dense_model(), SGD(), (fuse_update, order_updates, group_updates), monkeypatch).graph

    assert grouped_weights(graph) == []
    assert names(graph).count("sgd_update") == 3


def test_an_update_that_is_read_is_in_no_group():
    """What a later node or the caller wants must not wait for the last gradient."""
    g = Builder("step")
    rate, weights, new = g.param("rate", Spec(())), [], []
    for number in range(4):
        weight, velocity = g.param(f"w{number}", Spec((4,))), g.param(f"v{number}", Spec((4,)))
        slope = g.input(f"g{number}", Spec((4,)))
        results = g.add_multi(SGDUpdate(), weight, slope, rate, velocity)
        g.update(weight, results[0])
        g.update(velocity, results[1])
        weights.append(weight)
        new.append(results)
    graph = g.build(new[1][0])
    arrays = Workspace({value: np.ones(graph.specs[value].shape, np.float32) for value in graph.params})

    after, _ = group_updates(graph, arrays)

    assert grouped_weights(after) == [{"w0", "w2", "w3"}]
    feeds = {value: np.full(4, 0.5, np.float32) for value in graph.inputs}
    assert Session(after, arrays).run(feeds)[new[1][0]].tolist() == [0.5] * 4
    assert [arrays[weight].tolist() for weight in weights] == [[0.5] * 4] * 4


def test_a_group_of_other_numbers_is_not_reached_by_address():
    """The processor's kernel takes addresses for those of float32; float64 goes to the naive one, and is right."""
    g = Builder("double")
    members = [g.input(name, Spec((4,), "float64")) for name in ("w", "g", "v")]
    results = g.add_multi(GroupedSGDUpdate(momentum=0.5), g.param("rate", Spec(())), *members, name="new")
    feeds = {"w": np.full(4, 1.0), "g": np.arange(4.0), "v": np.full(4, 8.0)}

    found = Session(g.build(*results), Workspace({"rate": np.asarray(0.25, np.float32)})).run(feeds)

    assert found[results[1]].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert found[results[0]].tolist() == [0.0, -0.25, -0.5, -0.75]


def test_a_group_writes_into_arrays_that_were_exchanged():
    """Whoever gives the workspace other arrays between steps finds the updates there, and the old ones untouched."""
    step = training_step(large_model(), SGD(), learning_rate=0.1)
    session = Session(step.graph, step.workspace, batch=2)
    feeds = {"image": np.ones((2, 8, 8, 3), np.float32), "label": np.zeros(2, np.int32)}
    session.run(feeds)
    old = {name: step.workspace[name] for name in ("first.weight", "norm1.scale", "norm1.scale:velocity")}
    kept = {name: array.copy() for name, array in old.items()}
    for name, array in old.items():
        step.workspace[name] = array.copy()

    session.run(feeds)

    for name, array in kept.items():
        np.testing.assert_array_equal(old[name], array)
        assert not np.array_equal(step.workspace[name], array)


@pytest.mark.parametrize("model", [dense_model, large_model, tiny_model])
def test_every_parameter_is_still_written_in_place(model):
    """No optimizer's update needs a copy at the end, and none stands before a reader of what it replaces."""
    step = training_step(model(), Adam(), learning_rate=0.1)
    graph = step.graph

    session = Session(graph, step.workspace, batch=4)

    assert grouped_weights(graph)
    assert set(session.memory.aliases.values()) == set(graph.updates)
    order = {value: index for index, node in enumerate(graph.nodes) for value in node.outputs}
    for state, new in graph.updates.items():
        assert all(order[reader.outputs[0]] <= order[new] for reader in graph.consumers(state))


def test_gradients_do_not_wait_for_the_end(monkeypatch):
    """The arena of a network of dense layers holds no gradient of a weight."""
    net = Network("dense", (8, 8, 3), seed=1)
    x = net.flatten(net.image)
    for layer in range(4):
        x = net.activation(net.linear(x, 512, f"layer{layer}"), "relu")
    graph, workspace = net.head(x, 3)
    model = Model(graph, workspace, Preprocess((8, 8)), ("a", "b", "c"))
    pipelines_of_steps = ((), (order_updates,), (fuse_update, order_updates))
    steps = [step_of(model, SGD(), passes, monkeypatch) for passes in pipelines_of_steps]

    plain, ordered, fused = (Session(s.graph, s.workspace, batch=2).memory.arena_bytes for s in steps)

    gradient = 512 * 512 * 4
    assert plain > 3 * gradient
    assert gradient < ordered < 2 * gradient
    assert fused < gradient


def test_a_gradient_that_is_clipped_stays(monkeypatch):
    """The norm of all gradients needs them, and then so does the update."""
    step = step_of(dense_model(), SGD(), (fuse_update, order_updates), monkeypatch, clip_norm=1.0)

    assert not any(name.startswith("linear_") for name in names(step.graph))
    assert names(step.graph).count("sgd_update") == 6
    assert grouped_weights(group_updates(step.graph, step.workspace)[0]) == [set(step.model.graph.params)]


@pytest.mark.parametrize("freeze", [None, "backbone"])
def test_training_does_not_change_the_model(freeze):
    """Weights that train are copies; those that do not are the model's own, unless a layer was folded."""
    model = tiny_model()
    before = model.workspace.digest()

    step = training_step(model, SGD(), learning_rate=0.1, freeze=freeze)
    after_steps(step, 4, SIDE)

    assert model.workspace.digest() == before
    for name, array in model.workspace.items():
        if name in step.workspace:
            trains = name in step.graph.updates
            assert np.shares_memory(step.workspace[name], array) != trains
