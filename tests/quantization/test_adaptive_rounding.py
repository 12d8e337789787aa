"""Adaptive rounding of whole networks, and the samples that it learns from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_networks import NORMALISED, PIXELS, network

from edge_sdk.errors import DataError, UsageError
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization import adaptive_rounding
from edge_sdk.quantization.adaptive_rounding import Rounding, choose_integers, round_adaptively
from edge_sdk.quantization.bias_correction import correct_biases
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.quantization.layer_samples import Sampling, float_targets, samples_of
from edge_sdk.quantization.parameters import round_weights
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value

PREPROCESS = Preprocess((12, 12), mean=(128.0,) * 3, std=(64.0,) * 3)
LIMITS = {None: (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}
LAYERS = (
    (Conv2D((2, 2), "same", groups=2, activation="relu"), (16, 3, 3, 4)),
    (DepthwiseConv2D(padding=((1, 0), (0, 2)), activation="relu6"), (1, 3, 3, 32)),
)
IMAGES = [NORMALISED[:8], NORMALISED[8:]]


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    """A grouped and a depthwise convolution and a classifier, observed."""
    return observe(Candidate(*network(*LAYERS), PREPROCESS, PIXELS), IMAGES)


def logits(candidate: Candidate, images: Array, *, integers: bool) -> Array:
    """What a network makes of images, on real numbers or in integers."""
    program = integer_graph(candidate, "float32") if integers else (candidate.graph, candidate.workspace)
    return Session(*program, batch=len(images)).run({"image": images})["logits"]


def test_samples_are_what_the_layers_compute(candidate):
    """Rows times float weights, plus the bias, through the activation: the outputs at their places, by the kernels."""
    graph, workspace = candidate.graph, candidate.workspace
    layers = [node for node in graph.nodes if len(node.inputs) == 3]
    targets = float_targets(graph, workspace, layers, IMAGES, Sampling(rows=100))

    for node in layers:
        seen = (batch[node.inputs[0]] for batch in outputs_of(graph, workspace, [node.inputs[0]], IMAGES))
        weights, bias = (workspace[value] for value in node.inputs[1:])
        samples = samples_of(node, weights.shape, targets[node.output], seen)
        found = samples.inputs @ samples.matrices(weights) + samples.channels(bias)
        low, high = LIMITS[node.op.activation]
        np.testing.assert_allclose(np.clip(found, low, high), samples.targets, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(samples.as_weights(samples.matrices(weights)), weights)


def test_no_channel_is_worse_than_nearest_on_its_own_samples(candidate):
    """Grouped, depthwise and dense, behind ReLU, ReLU6 and nothing; all of it better."""
    graph, workspace = candidate.graph, candidate.workspace
    layers = [node for node in graph.nodes if len(node.inputs) == 3]
    targets = float_targets(graph, workspace, layers, IMAGES, Sampling(rows=300))

    for node in layers:
        seen = (batch[node.inputs[0]] for batch in outputs_of(graph, workspace, [node.inputs[0]], IMAGES))
        weights, bias = (workspace[value] for value in node.inputs[1:])
        samples = samples_of(node, weights.shape, targets[node.output], seen)
        quant = candidate.decisions.weight(node, weights)
        axis = weights.ndim - 1 if samples.depthwise else 0
        shape = [-1 if index == axis and len(quant.scale) > 1 else 1 for index in range(weights.ndim)]
        before, after = (
            np.square(
                np.clip(
                    samples.inputs @ samples.matrices(stored * np.reshape(quant.scale, shape)) + samples.channels(bias),
                    *LIMITS[node.op.activation],
                )
                - samples.targets
            ).sum(axis=1)
            for stored in (round_weights(weights, quant), choose_integers(node, weights, bias, quant, samples))
        )
        assert np.all(after <= before * (1 + 1e-4))
        assert after.sum() < 0.9 * before.sum()


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_images_that_were_not_learned_from_gain_and_runs_agree(candidate, weights):
    """Logits of other images are closer to the float network's, and two runs give the same integers."""
    candidate = dataclasses.replace(candidate, scheme=Scheme(weights=weights))
    random = np.random.default_rng(77)
    others = ((random.integers(0, 256, (64, 12, 12, 8)).astype(np.float32) - 128) / 64).astype(np.float32)
    wanted = logits(candidate, others, integers=False)

    found, again = (round_adaptively(candidate, IMAGES) for _ in range(2))

    assert set(found.rounded) == {"w0", "w1", "head.weight"}
    for value, stored in found.rounded.items():
        np.testing.assert_array_equal(stored, again.rounded[value])
    before, after = (np.mean((logits(one, others, integers=True) - wanted) ** 2) for one in (candidate, found))
    assert after < before


def test_a_layer_learns_from_what_the_rounded_layers_before_it_make(candidate, monkeypatch):
    """The inputs it is given are those of the finished integer network, and no others."""
    given = {}

    def remember(node, weights, bias, quant, samples, rounding):
        given[node.output] = samples.inputs
        return choose_integers(node, weights, bias, quant, samples, rounding)

    monkeypatch.setattr(adaptive_rounding, "choose_integers", remember)

    found = round_adaptively(candidate, IMAGES)

    layers = [node for node in candidate.graph.nodes if len(node.inputs) == 3]
    targets = float_targets(candidate.graph, candidate.workspace, layers, IMAGES, Sampling())
    integers, arrays = integer_graph(found, "float32")
    nearest, others = integer_graph(candidate, "float32")
    for node in layers[1:]:
        x = integers.producers[Value("logits.int8") if node.output == "logits" else node.output].inputs[0]
        shape = candidate.workspace[node.inputs[1]].shape
        wanted, unrounded = (
            samples_of(node, shape, targets[node.output], (one[x] for one in outputs_of(*program, [x], IMAGES))).inputs
            for program in ((integers, arrays), (nearest, others))
        )
        np.testing.assert_array_equal(given[node.output], wanted)
        assert not np.array_equal(given[node.output], unrounded)


def test_rows_are_bounded_by_memory(candidate):
    """Of one layer: what its inputs and outputs take; of all layers: what their outputs take."""
    layers = [node for node in candidate.graph.nodes if len(node.inputs) == 3]
    rows = {
        memory: float_targets(candidate.graph, candidate.workspace, layers, IMAGES, Sampling(memory=memory))
        for memory in (2**28, 20_000)
    }

    depth, outputs = 36 * 2, 16  # both groups' inputs of the first layer
    assert len(rows[2**28][layers[0].output].outputs) == 16 * 6 * 6
    assert 1 <= len(rows[20_000][layers[0].output].outputs) <= 20_000 / 4 / (depth + outputs)
    assert sum(one.outputs.nbytes for one in rows[20_000].values()) <= 20_000


def test_impossible_settings_and_no_image_are_refused(candidate):
    """No row, a negative count, and a ridge that is none."""
    with pytest.raises(UsageError, match="ridge"):
        Rounding(ridge=0)
    with pytest.raises(UsageError, match="sweeps"):
        Rounding(sweeps=-1)
    with pytest.raises(UsageError, match="rows"):
        Sampling(rows=0)
    with pytest.raises(DataError, match="no image"):
        round_adaptively(candidate, [])


def test_corrected_biases_do_not_change_what_is_wanted(candidate, monkeypatch):
    """The outputs that a layer learns towards are the float network's, whatever its biases were corrected to."""
    wanted = []

    def remember(node, weights, bias, quant, samples, rounding):
        wanted.append(samples.targets)
        return choose_integers(node, weights, bias, quant, samples, rounding)

    monkeypatch.setattr(adaptive_rounding, "choose_integers", remember)
    corrected = correct_biases(candidate, IMAGES)

    for one in (candidate, corrected):
        round_adaptively(one, IMAGES)

    assert any(not np.array_equal(corrected.workspace[b], candidate.workspace[b]) for b in ("b0", "b1", "head.bias"))
    for before, after in zip(wanted[:3], wanted[3:], strict=True):
        np.testing.assert_array_equal(before, after)
