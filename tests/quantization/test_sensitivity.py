"""The report of layers against NumPy, and mixed precision as far as the limit asks for it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from small_networks import NORMALISED, PIXELS, network

from edge_sdk.errors import UsageError
from edge_sdk.ops.conv import Conv2D
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.quantization.sensitivity import mixed_precision, report_layers, signal_to_noise
from edge_sdk.session import Session

PREPROCESS = Preprocess((12, 12), mean=(128.0,) * 3, std=(64.0,) * 3)
IMAGES = [NORMALISED[:8], NORMALISED[8:]]


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    """Three convolutions of which the second has one weight that makes its single scale useless."""
    graph, workspace = network(
        (Conv2D(), (16, 3, 3, 8)), (Conv2D(activation="relu"), (12, 3, 3, 16)), (Conv2D(), (12, 1, 1, 12))
    )
    workspace["w1"][0, 0, 0, 0] = 40
    return observe(Candidate(graph, workspace, PREPROCESS, PIXELS, Scheme(per_channel=False)), IMAGES)


def logits(candidate: Candidate) -> np.ndarray:
    """What the integer network answers."""
    return Session(*integer_graph(candidate, "float32"), batch=16).run({"image": NORMALISED})["logits"]


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The root of the error's share of the signal."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_signal_to_noise_by_hand():
    """100 of signal and 1 of noise are 20 dB; no noise is without end."""
    assert signal_to_noise(np.array([6.0, 8.0]), np.array([6.0, 9.0])) == pytest.approx(20)
    assert signal_to_noise(np.array([1.0]), np.array([1.0])) == math.inf


def test_the_report_is_what_numpy_says(candidate):
    """Ratio, cosine and histogram of one layer from its real and stored numbers; the error of the logits."""
    floats = Session(candidate.graph, candidate.workspace, batch=16).run({"image": NORMALISED})["logits"].ravel()
    stored = logits(candidate).ravel()

    report = report_layers(candidate, IMAGES, sensitivity=False)

    layer = report.layers[-1]
    assert layer.value == "logits"
    assert layer.signal_to_noise == pytest.approx(20 * np.log10(1 / relative(stored, floats)), rel=1e-4)
    assert layer.cosine == pytest.approx(np.corrcoef([floats, stored])[0, 1], abs=0.05)
    assert layer.histogram == tuple(np.histogram(floats.astype(np.float64), 32, (layer.low, layer.high))[0])
    assert layer.clipped == 0
    assert report.error == pytest.approx(relative(stored, floats), rel=1e-4)


def test_the_broken_layer_has_the_largest_share(candidate):
    """The layer with the useless scale; the table and the JSON values say so."""
    report = report_layers(candidate, IMAGES)

    shares = {layer.value: layer.share for layer in report.layers if layer.share is not None}
    assert max(shares, key=shares.get) == "layer1"
    assert sum(shares.values()) == pytest.approx(1)
    assert "layer1" in report.table()
    assert json.loads(json.dumps(report.to_dict()))["layers"][1]["value"] == "layer1"


def test_one_layer_on_real_numbers_is_enough(candidate):
    """The limit is kept by putting the broken layer alone on real numbers."""
    floats = Session(candidate.graph, candidate.workspace, batch=16).run({"image": NORMALISED})["logits"]
    before = relative(logits(candidate), floats)

    found = mixed_precision(candidate, IMAGES, limit=before / 2)

    assert dict(found.scheme.layers) == {"layer1": "float32"}
    assert relative(logits(found), floats) <= before / 2


def test_a_network_within_the_limit_stays(candidate):
    """Nothing is put on real numbers without need."""
    assert mixed_precision(candidate, IMAGES, limit=10.0) is candidate


def test_a_limit_out_of_reach_is_said(candidate):
    """All layers on real numbers, and still not zero: the message names the error that is left."""
    bright = [images + np.float32(0.003) for images in IMAGES]  # between two pixels

    with pytest.raises(UsageError, match="all 4 layers"):
        mixed_precision(candidate, bright, limit=0.0)
