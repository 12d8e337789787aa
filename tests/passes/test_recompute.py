"""Activations that are made twice: the same training to the last bit, in less memory."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

import edge_sdk as edge
from edge_sdk.errors import UsageError
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.ops.norm import BatchNormTrainingAgain
from edge_sdk.ops.statistics import BatchNormTrainingGathered
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step


def residual_model() -> Model:
    """A stem with pooling and three residual blocks of two convolutions, as in a ResNet, and dropout."""
    net = Network("blocks", (SIDE, SIDE, 3), seed=2)

    def layer(x, name, activation="relu"):
        x = net.batch_norm(net.conv(x, 8, 3, f"{name}.conv"), f"{name}.norm")
        return x if activation is None else net.activation(x, activation)

    x = net.max_pool(layer(net.image, "stem"), 3, 2, 1)
    for block in range(3):
        x = net.residual(x, lambda x, b=block: layer(layer(x, f"{b}.first"), f"{b}.second", None), activation="relu")
    graph, workspace = net.head(net.dropout(net.activation(net.global_average_pool(x), "tanh"), 0.3), 3)
    return Model(graph, workspace, Preprocess((SIDE, SIDE)), ("a", "b", "c"))


def sessions(model: Model) -> list[Session]:
    """The training session that keeps activations, and the one that makes them again."""
    steps = [training_step(model, SGD(), learning_rate=0.1, seed=4, recompute=kind) for kind in (None, "activations")]
    return [Session(step.graph, step.workspace, batch=8) for step in steps]


@pytest.mark.parametrize("make", [tiny_model, residual_model])
def test_training_is_the_same_to_the_last_bit(make):
    """Losses, weights and running statistics after four steps."""
    random = np.random.default_rng(0)
    feeds = {
        "image": random.standard_normal((8, SIDE, SIDE, 3), np.float32),
        "label": random.integers(0, 3, 8).astype(np.int32),
    }
    kept, again = sessions(make())

    losses = [[float(session.run(feeds)["loss"]) for _ in range(4)] for session in (kept, again)]

    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][3]
    for name, array in kept.workspace.items():
        np.testing.assert_array_equal(again.workspace[name], array, err_msg=name)
    assert any(isinstance(node.op, BatchNormTrainingAgain) for node in again.graph.nodes)


@pytest.mark.parametrize("make", [tiny_model, residual_model])
def test_the_arena_is_smaller(make):
    """By more than a tenth, even where scratch and the input are most of it: results of batch norms are not kept."""
    kept, again = sessions(make())

    assert again.memory.arena_bytes < 0.9 * kept.memory.arena_bytes


def test_of_a_chain_of_sums_every_second_is_kept():
    """What is made again is made of what is kept: no node made again reads another one."""
    again = sessions(residual_model())[1].graph

    made = {node.outputs[0]: node for node in again.nodes if node.outputs[0].endswith(":again")}

    assert not any(value in made for node in made.values() for value in node.inputs)
    norms = [node for node in again.nodes if isinstance(node.op, BatchNormTrainingGathered)]
    ends = [node.outputs[0] for node in norms if len(node.inputs) == 7]
    assert [f"{end}:again" in made for end in ends] in ([True, False, True], [False, True, False])


def test_activations_are_made_before_their_parameters_change():
    """Scale and offset of a batch norm are updated behind the node that reads them once more."""
    session = sessions(tiny_model())[1]

    places = {value: index for index, node in enumerate(session.graph.nodes) for value in node.outputs}

    made = [node for node in session.graph.nodes if isinstance(node.op, BatchNormTrainingAgain)]
    assert made
    for node in made:
        for parameter in node.inputs[1:3]:
            assert places[node.outputs[0]] < places[session.graph.updates[parameter]]
            assert session.memory.aliases[session.graph.updates[parameter]] == parameter


def test_auto_leaves_out_what_is_not_worth_it():
    """A depthwise gradient does 9 multiply-adds with a number, one of a 3×3 convolution to 8 channels 72."""
    step = training_step(tiny_model(), SGD(), learning_rate=0.1, recompute="auto")
    wide = training_step(residual_model(), SGD(), learning_rate=0.1, recompute="auto")

    tiny = {str(node.outputs[0]) for node in step.graph.nodes if node.outputs[0].endswith(":again")}
    assert not any(name.startswith("stem") for name in tiny)  # read by the depthwise gradient, and a sum
    assert any(isinstance(node.op, BatchNormTrainingAgain) for node in wide.graph.nodes)


def test_an_unknown_kind_is_refused():
    """With what there is, and a suggestion."""
    with pytest.raises(UsageError, match=r"recompute is 'activation', wanted one of None, 'auto', .*did you mean"):
        edge.training_session(tiny_model(), batch=2, recompute="activation")
