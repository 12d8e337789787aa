"""to_training and to_inference: batch norm and dropout change form, names and weights stay."""

from __future__ import annotations

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.elementwise import Add
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.shape import Split
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.to_inference import to_inference
from edge_sdk.passes.to_training import STEP, to_training
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec
from edge_sdk.training.frozen import learnable
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step
from edge_sdk.workspace import Workspace

PARTS = ("scale", "offset", "mean", "variance")


def norm(g, x, name, label):
    """A batch norm with parameters `name`.scale …; its value is called `label`."""
    parts = [g.param(f"{name}.{part}", Spec(g.spec(x).shape[-1:])) for part in PARTS]
    return g.add(BatchNorm(), x, *parts, name=label)


def arrays_for(graph, seed=0):
    """Random positive numbers for every parameter."""
    random = np.random.default_rng(seed)
    return Workspace({v: random.uniform(0.5, 1.5, graph.specs[v].shape).astype(np.float32) for v in graph.params})


def kinds(graph):
    """The operators' names, in order."""
    return [node.op.name for node in graph.nodes]


def test_a_trainable_norm_uses_the_batch():
    """The output is that of a training norm, and mean and variance take its running statistics."""
    g = Builder("net")
    graph = g.build(norm(g, g.input("x", Spec((BATCH, 3))), "norm", "y"))
    arrays = arrays_for(graph)
    feeds = feeds_for(graph, batch=8)
    x, scale, offset = feeds["x"], arrays["norm.scale"], arrays["norm.offset"]

    after, state = to_training(graph, arrays, trainable=["norm.scale", "norm.offset"])
    session = Session(after, state.copy(), "reference", batch=8)
    y = session.run(feeds)["y"]

    np.testing.assert_allclose(y, scale * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) + offset, rtol=1e-5, atol=1e-5)
    moved = {"norm.mean": x.mean(0), "norm.variance": x.var(0, ddof=1)}
    for name, statistic in moved.items():
        np.testing.assert_allclose(session.workspace[name], 0.9 * arrays[name] + 0.1 * statistic, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("trainable", "trains"), [("scale", True), ("offset", True), ("mean", False), (None, False)])
def test_a_norm_trains_when_its_scale_or_offset_does(trainable, trains):
    """A frozen norm keeps its running statistics, whatever trains elsewhere."""
    g = Builder("net")
    graph = g.build(norm(g, g.input("x", Spec((BATCH, 3))), "norm", "y"))

    after, _ = to_training(graph, arrays_for(graph), trainable=[f"norm.{trainable}"] if trainable else [])

    assert isinstance(after.nodes[0].op, BatchNormTraining) == trains
    assert bool(after.updates) == trains


def test_a_norms_epsilon_and_activation_survive_the_round_trip():
    """Both forms have the same attributes."""
    g = Builder("net")
    parts = [g.param(part, Spec((3,))) for part in PARTS]
    graph = g.build(g.add(BatchNorm(0.25, "relu6"), g.input("x", Spec((BATCH, 3))), *parts, name="y"))

    training = to_training(graph, arrays_for(graph), trainable=["scale"])

    assert training[0].nodes[0].op == BatchNormTraining(0.25, activation="relu6")
    assert to_inference(*training)[0] == graph


def test_dropout_drops_only_behind_something_that_trains():
    """Noise on features that nothing before can adapt to would be all there is of it."""
    g = Builder("net")
    x = g.input("x", Spec((BATCH, 3)))
    early = g.add(Dropout(0.5), g.add(Linear(), x, g.param("frozen", Spec((3, 3)))), name="early")
    late = g.add(Dropout(0.25), g.add(Linear(), early, g.param("trains", Spec((3, 3)))), name="late")
    graph = g.build(late)

    after, arrays = to_training(graph, arrays_for(graph), trainable=["trains"], seed=7)

    drops = {node.output: (node.op, len(node.inputs)) for node in after.nodes if isinstance(node.op, Dropout)}
    assert drops == {"early": (Dropout(0.5), 1), "late": (Dropout(0.25, 7000), 2)}
    assert arrays[STEP].dtype == np.int64


def test_every_dropout_has_its_own_seed_and_all_count_the_same_steps():
    """Two layers never share a mask; one counter serves both."""
    g = Builder("net")
    x = g.add(Linear(), g.input("x", Spec((BATCH, 3))), g.param("w", Spec((3, 3))))
    graph = g.build(g.add(Dropout(0.5), g.add(Dropout(0.5), x)))

    after, _ = to_training(graph, arrays_for(graph), trainable=["w"], seed=2)

    drops = [node for node in after.nodes if isinstance(node.op, Dropout)]
    assert [node.op.seed for node in drops] == [2000, 2001]
    assert drops[0].inputs[1] == drops[1].inputs[1] == after.updates[STEP]


def test_the_counter_counts_and_masks_differ_from_step_to_step():
    """Three runs: step is 3, and no two results are equal."""
    g = Builder("net")
    x = g.add(Linear(), g.input("x", Spec((BATCH, 8))), g.param("w", Spec((8, 8))))
    graph = g.build(g.add(Dropout(0.5), x, name="y"))
    session = Session(*to_training(graph, arrays_for(graph), trainable=["w"]), "reference", 4)
    feeds = feeds_for(graph, batch=4)

    results = [session.run(feeds)["y"] for _ in range(3)]

    assert session.workspace[STEP] == 3
    assert len({(result == 0).tobytes() for result in results}) == 3


def test_names_that_look_like_a_norms_other_outputs_do_not_collide():
    """A second norm called `norm.1` is not mistaken for the first one's new mean."""
    g = Builder("net")
    x = g.input("x", Spec((BATCH, 3)))
    y = norm(g, norm(g, x, "a", "norm"), "b", "norm.1")
    graph = g.build(g.add(Add(), y, x, name="y"))

    after, _ = to_training(graph, arrays_for(graph), trainable=["a.scale", "b.scale"])

    add, second = after.producer("y"), after.producer("norm.1")
    assert add.inputs == ("norm.1", "x")
    assert second.op == BatchNormTraining()
    assert second.inputs[0] == "norm"
    assert second.outputs[0] == "norm.1"


def test_operators_of_several_outputs_keep_their_names():
    """Two splits are called split, split.1, split.2 and split.3."""
    g = Builder("net")
    x = g.input("x", Spec((BATCH, 2)))
    for _ in range(2):
        parts = g.add_multi(Split(1, (1, 1)), x)
    graph = g.build(g.add(Add(), *parts))

    assert to_training(graph, Workspace(), trainable=[])[0] == graph


def test_the_tiny_network_comes_back_from_training():
    """to_inference of to_training is the graph itself, but for dropout, which inference does without."""
    model = tiny_model()

    training = to_training(model.graph, model.workspace, trainable=learnable(model.graph))
    back, arrays = to_inference(*training)

    assert kinds(back) == [kind for kind in kinds(model.graph) if kind != "dropout"]
    assert set(arrays) == set(model.workspace)
    image = feeds_for(model.graph)
    wanted = interpret(model.graph.bind(2), model.workspace, image)["logits"]
    np.testing.assert_array_equal(interpret(back.bind(2), arrays, image)["logits"], wanted)


def test_to_training_leaves_its_arguments_alone():
    """The step counter is in the new workspace only."""
    model = tiny_model()
    names, digest, before = list(model.workspace), model.workspace.digest(), str(model.graph)

    to_training(model.graph, model.workspace, trainable=learnable(model.graph))

    assert (list(model.workspace), model.workspace.digest(), str(model.graph)) == (names, digest, before)


def test_a_whole_training_step_becomes_the_network_again():
    """Gradients and the optimizer go with the updates; loss and logits stay."""
    step = training_step(tiny_model(), SGD(), learning_rate=0.1)

    after, arrays = to_inference(step.graph, step.workspace)

    assert not after.updates
    assert not any("grad" in kind or "update" in kind or "training" in kind for kind in kinds(after))
    assert set(arrays) == set(step.model.graph.params)


def test_a_dropout_between_input_and_output_is_a_copy():
    """The public name stays although nothing is computed."""
    g = Builder("net")
    graph = g.build(g.add(Dropout(0.5), g.input("x", Spec((BATCH, 3))), name="y"))

    after, _ = to_inference(graph, Workspace())

    assert [(node.op.name, node.inputs, node.outputs) for node in after.nodes] == [("identity", ("x",), ("y",))]


def test_dropout_is_skipped_by_all_its_readers():
    """What read the dropout reads what was before it."""
    g = Builder("net")
    x = g.add(Relu(), g.input("x", Spec((BATCH, 3))), name="r")
    y = g.add(Dropout(0.5), x)
    graph = g.build(g.add(Add(), y, y, name="s"), g.add(Relu(), y, name="t"))

    after, _ = to_inference(graph, Workspace())

    assert [node.inputs for node in after.nodes] == [("x",), ("r", "r"), ("r",)]
    assert dead_code(after, Workspace())[0] == after
