"""Bias correction against a closed form, and what it does to the means of a network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_networks import NORMALISED, PIXELS, network

from edge_sdk.errors import UsageError
from edge_sdk.ops.conv import Conv2D
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.bias_correction import correct_biases
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.parameters import weight_parameters
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.session import Session
from edge_sdk.spec import Value

PREPROCESS = Preprocess((12, 12), mean=(128.0,) * 3, std=(64.0,) * 3)
BRIGHT = np.abs(NORMALISED)  # inputs whose mean is not 0, so that rounded weights shift the outputs
IMAGES = [BRIGHT[:8], BRIGHT[8:]]


def candidate(activation: str | None = None) -> Candidate:
    """Two convolutions and a classifier, observed; one weight scale a tensor makes roundings coarse."""
    layers = ((Conv2D(activation=activation), (16, 3, 3, 8)), (Conv2D(activation=activation), (12, 3, 3, 16)))
    graph, workspace = network(*layers)
    workspace["w0"][0, 0, 0, 0] = 12
    return observe(Candidate(graph, workspace, PREPROCESS, PIXELS, Scheme(per_channel=False)), IMAGES)


def test_the_shift_of_one_layer_in_closed_form():
    """E[(ŵ - w) · x̂] of the rounded weights, where no activation follows: the bias is lowered by that, to a step."""
    original = candidate()
    (scale,) = weight_parameters(original.workspace["w0"], None).scale
    rounded = np.round(original.workspace["w0"] / scale) * scale
    pixels = BRIGHT  # exact in 8 bits: the images are 64ths
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(1, 2))  # (n, p, q, c, r, s)
    mean = windows.mean(axis=(0, 1, 2)).transpose(1, 2, 0)
    shift = np.einsum("krsc,rsc->k", rounded - original.workspace["w0"], mean)

    found = correct_biases(original, IMAGES)

    lowered = original.workspace["b0"] - found.workspace["b0"]
    step = original.activations["layer0"].scale[0]
    assert np.abs(shift).max() > 5 * step / 10
    np.testing.assert_allclose(lowered, shift, atol=0.1 * step)


@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_means_come_closer(activation):
    """The mean of every layer's output on the images is nearer to the float network's than before."""
    original = candidate(activation)
    values = ("layer0", "layer1", "logits")
    floats = Session(observed(original.graph, values), original.workspace, batch=16).run({"image": BRIGHT})

    found = correct_biases(original, IMAGES)

    for value in values:
        before, after = (shift(c, value, floats[value]) for c in (original, found))
        assert after < 0.6 * before, value


def observed(graph, values):
    """The graph with these outputs."""
    return dataclasses.replace(graph, outputs=values)


def shift(candidate: Candidate, value: str, wanted: np.ndarray) -> float:
    """The root mean square difference of channel means between the integer graph and wanted numbers."""
    graph, arrays = integer_graph(candidate, "float32")
    stored = Session(observed(graph, (value,)), arrays, batch=16).run({"image": BRIGHT})[value].astype(np.float64)
    quant = graph.specs[value].quant
    real = stored if quant is None else (stored - quant.zero_point[0]) * quant.scale[0]
    channels = wanted.shape[-1]
    difference = (real - wanted).reshape(-1, channels).mean(axis=0)
    return float(np.sqrt(np.mean(difference**2)))


def test_stages_below_one_are_refused():
    """There is nothing to do in no stage."""
    with pytest.raises(UsageError, match="stages"):
        correct_biases(candidate(), IMAGES, stages=0)


def test_what_saturates_is_not_made_up_for():
    """Exact weights, and a range that leaves out the largest numbers: rounding shifts nothing, and no bias moves."""
    graph, workspace = network((Conv2D(), (16, 1, 1, 8)))
    workspace["w0"] = np.round(workspace["w0"] * 64).clip(-127, 127).astype(np.float32) / 64
    workspace["w0"][:, 0, 0, 0] = 127 / 64
    original = observe(Candidate(graph, workspace, PREPROCESS, PIXELS), IMAGES)
    whole = original.activations[Value("layer0")]
    narrow = dataclasses.replace(whole, scale=(whole.scale[0] / 3,))
    cut = dataclasses.replace(original, activations={**original.activations, Value("layer0"): narrow})

    found = correct_biases(cut, IMAGES)

    reached = narrow.scale[0] * (127 - narrow.zero_point[0])
    floats = Session(observed(graph, ("layer0",)), workspace, batch=16).run({"image": BRIGHT})["layer0"]
    assert np.mean(floats > reached) > 0.01
    assert np.abs(found.workspace["b0"] - workspace["b0"]).max() < 0.2 * narrow.scale[0]


def test_what_is_wanted_stays_what_the_float_network_makes():
    """Corrections leave the float network findable, and a second time starts from it: the means stay near."""
    original = candidate()
    values = ("layer0", "layer1", "logits")
    floats = Session(observed(original.graph, values), original.workspace, batch=16).run({"image": BRIGHT})

    once = correct_biases(original, IMAGES)
    twice = correct_biases(once, IMAGES)

    for found in (once, twice):
        for value in original.graph.params:
            np.testing.assert_array_equal(found.floats[value], original.workspace[value])
    for value in values:
        assert shift(twice, value, floats[value]) <= 1.1 * shift(once, value, floats[value]), value
