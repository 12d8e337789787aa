"""Equalization: factors worked out by hand, and a function that stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import NORMALISED, PIXELS, network

from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError
from edge_sdk.ops.activation import Sigmoid
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Minimum
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.pool import MaxPool2D
from edge_sdk.ops.shape import Flatten
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.candidate import Candidate
from edge_sdk.quantization.channel_groups import channel_groups
from edge_sdk.quantization.equalization import equalize, rescale
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec, Value
from edge_sdk.workspace import Workspace

PREPROCESS = Preprocess((12, 12), mean=(128.0,) * 3, std=(64.0,) * 3)
BODY = (
    (Conv2D(activation="relu"), (16, 3, 3, 8)),
    (DepthwiseConv2D(padding="same", activation="relu"), (1, 3, 3, 32)),
    (MaxPool2D((2, 2), (2, 2)), None),
    (Conv2D(groups=4, activation="relu"), (24, 3, 3, 8)),
    (Conv2D(), (12, 1, 1, 24)),
)


def candidate(*layers: tuple) -> Candidate:
    """A network of the given layers, with weights and biases of very different ranges."""
    graph, workspace = network(*layers)
    random = np.random.default_rng(3)
    for name in list(workspace):
        if name.startswith("w"):
            axis = 3 if workspace[name].shape[0] == 1 else 0
            shape = [1, 1, 1, 1]
            shape[axis] = workspace[name].shape[axis]
            workspace[name] *= 10 ** random.uniform(-1, 1, shape).astype(np.float32)
    return Candidate(graph, workspace, PREPROCESS, PIXELS)


def logits(found: Candidate) -> np.ndarray:
    """What the float network answers."""
    return Session(found.graph, found.workspace, batch=len(NORMALISED)).run({"image": NORMALISED})["logits"]


def two_dense_layers() -> Candidate:
    """1×1 convolutions 8 → 2 → 1 whose ranges are 4 and 1 of the first, 1 and 9 of the second."""
    g, workspace = Builder("net"), Workspace()
    first, second = np.zeros((2, 1, 1, 8), np.float32), np.zeros((10, 1, 1, 2), np.float32)
    first[0, 0, 0, 0], first[0, 0, 0, 1], first[1, 0, 0, 0] = 4, -2, -1
    second[0, 0, 0], second[1, 0, 0] = (1, -9), (0.5, 3)
    arrays = {"a": first, "a_bias": np.array([2, 3], np.float32), "b": second, "b_bias": np.zeros(10, np.float32)}
    arrays["head"] = np.eye(10, 1440, dtype=np.float32)
    x = g.input("image", Spec((BATCH, 12, 12, 8)))
    params = {name: g.param(name, Spec(array.shape)) for name, array in arrays.items()}
    workspace.update(arrays)
    x = g.add(Conv2D(activation="relu"), x, params["a"], params["a_bias"], name="first")
    x = g.add(Sigmoid(), g.add(Conv2D(), x, params["b"], params["b_bias"], name="second"))
    x = g.add(Flatten(), x)
    return Candidate(g.build(g.add(Linear(), x, params["head"], name="logits")), workspace, PREPROCESS, PIXELS)


def test_the_factors_of_two_layers_by_hand():
    """√(r₂ / r₁): √(1 / 4) = 1/2 for the first channel, √(9 / 1) = 3 for the second; the ranges become 2 and 3."""
    found = equalize(two_dense_layers(), [NORMALISED])

    np.testing.assert_allclose(found.workspace["a"][:, 0, 0, :2], [[2, -1], [-3, 0]], rtol=1e-6)
    np.testing.assert_allclose(found.workspace["a_bias"], [1, 9], rtol=1e-6)
    np.testing.assert_allclose(found.workspace["b"][:2, 0, 0], [[2, -3], [1, 1]], rtol=1e-6)


def test_the_function_stays_the_same():
    """Convolutions, groups, depthwise, a pool and a flattened dense layer: equal logits to 1e-5."""
    original = candidate(*BODY)

    found = equalize(original, [NORMALISED])

    wanted = logits(original)
    assert np.abs(logits(found) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert np.ptp(np.abs(found.workspace["w0"]).max(axis=(1, 2, 3))) != np.ptp(
        np.abs(original.workspace["w0"]).max(axis=(1, 2, 3))
    )


def test_the_given_candidate_is_not_changed():
    """A step returns a new candidate; the old weights are still there."""
    original = candidate(*BODY)
    before = original.workspace.digest()

    equalize(original, [NORMALISED])

    assert original.workspace.digest() == before


def test_ranges_are_equal_in_the_end():
    """Between a writer and a reader without other layers, every channel has one range on both sides."""
    found = equalize(candidate((Conv2D(activation="relu"), (16, 3, 3, 8)), (Conv2D(), (12, 3, 3, 16))), [NORMALISED])

    written = np.abs(found.workspace["w0"]).max(axis=(1, 2, 3))
    read = np.abs(found.workspace["w1"]).max(axis=(0, 1, 2))
    # The second layer is a writer too, whose outputs are rescaled for the classifier after it.
    assert np.ptp(np.log(written / read)) < 0.01


RELU6 = (
    (Conv2D(activation="relu6"), (16, 3, 3, 8)),
    (DepthwiseConv2D(activation="relu6"), (1, 3, 3, 16)),
    (Conv2D(), (12, 1, 1, 16)),
)


@pytest.mark.parametrize("limits", ["keep", "bounded", "minimum"])
def test_relu6_keeps_its_limit(limits):
    """Some channels reach 6, others do not: equal logits on the images in every way of handling it."""
    original = candidate(*RELU6)
    session = Session(original.graph, original.workspace, batch=len(NORMALISED))
    wanted = session.run({"image": NORMALISED})["logits"]

    found = equalize(original, [NORMALISED], limits=limits)

    assert np.abs(logits(found) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    changed = not np.array_equal(found.workspace["w0"], original.workspace["w0"])
    assert changed == (limits != "keep")


def rescaled(original: Candidate) -> Candidate:
    """The same function with channels 1000 : 1 apart, limits included."""
    groups, random = channel_groups(original.graph), np.random.default_rng(0)
    return rescale(original, groups, [10 ** random.uniform(-1.5, 1.5, group.channels) for group in groups])


def test_channels_are_rescaled_with_their_limits():
    """Factors for every group: equal logits, and limits 6 times the factors."""
    original = candidate(*RELU6)

    found = rescaled(original)

    wanted = logits(original)
    assert np.abs(logits(found) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    limits = [found.workspace[name] for name in found.graph.params if name.endswith(".limit")]
    assert [len(limit) for limit in limits] == [16, 16]
    assert all(limit.max() > 100 * limit.min() for limit in limits)


def test_minimums_with_a_number_a_channel_are_gone_through():
    """A rescaled network ends with the weights and limits that the original one ends with."""
    original = candidate(*RELU6)
    wanted = equalize(original, [NORMALISED], limits="minimum")

    found = equalize(rescaled(original), [NORMALISED])

    assert found.graph == wanted.graph
    for name in wanted.graph.params:
        scale = np.abs(wanted.workspace[name]).max()
        np.testing.assert_allclose(found.workspace[name], wanted.workspace[name], atol=0.02 * scale, err_msg=name)


def test_a_minimum_with_one_number_for_all_keeps_its_channels():
    """One limit cannot follow factors of its own for each channel."""
    graph = network((Conv2D(), (16, 1, 1, 8)), (Conv2D(), (12, 1, 1, 16)))[0]
    g = Builder("limited")
    params = {name: g.param(name, graph.specs[name]) for name in graph.params}
    one = g.param("one", Spec((1,)))
    x = g.add(Conv2D(), g.input("image", Spec((BATCH, 12, 12, 8))), params["w0"], params["b0"])
    x = g.add(Conv2D(), g.add(Minimum(), x, one), params["w1"], params["b1"])
    x = g.add(Linear(), g.add(Flatten(), x), params["head.weight"], params["head.bias"], name="logits")

    groups = channel_groups(g.build(x))

    assert [group.channels for group in groups] == [12]


def test_a_sum_ties_its_terms_together():
    """Both writers of a sum and its reader share one group; what enters and leaves the graph is in none."""
    graph = network((Conv2D(), (16, 1, 1, 8)), (Add("relu"), None), (Conv2D(), (12, 1, 1, 16)))[0]

    groups = channel_groups(graph)

    assert [group.channels for group in groups] == [16, 12]
    assert groups[0].values == (Value("layer0"), Value("layer1"))


def test_an_unknown_way_is_refused():
    """The message suggests the right name."""
    with pytest.raises(UsageError, match="bounded"):
        equalize(candidate(*RELU6), [NORMALISED], limits="bound")  # type: ignore[arg-type]
