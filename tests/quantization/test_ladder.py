"""The rungs together: a network that plain quantization destroys is as good in integers as on real numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hard_network import Cells, hard_model, real_cells, rescaled, solar_cells

import edge_sdk as edge
from edge_sdk.evaluation import evaluate
from edge_sdk.quantization.adaptive_rounding import round_adaptively
from edge_sdk.quantization.bias_correction import correct_biases
from edge_sdk.quantization.candidate import Candidate, observe, prepare
from edge_sdk.quantization.equalization import equalize
from edge_sdk.quantization.post_training import quantize
from edge_sdk.quantization.scheme import Scheme


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Photos of solar cells and their classifier."""
    return solar_cells()


@pytest.fixture(scope="module")
def hard(cells) -> Candidate:
    """The classifier with rescaled channels, and one weight scale a tensor."""
    return rescaled(dataclasses.replace(prepare(cells.model), scheme=Scheme(per_channel=False)))


def test_the_float_function_is_unchanged(cells, hard):
    """The rescaled network gives the same logits to 1e-5, with weights 1000 : 1 apart."""
    wanted = cells.floats(prepare(cells.model))

    found = cells.floats(hard)

    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    ranges = np.abs(hard.workspace["block1.pointwise.weight"]).max(axis=(1, 2, 3))
    assert ranges.max() > 500 * ranges.min()


def test_the_ladder_saves_the_hard_network(cells, hard):
    """By plain extremes it is at chance; equalized, corrected and rounded it is within 1 point of float."""
    float_accuracy = cells.accuracy(cells.floats(hard))

    plain = cells.accuracy(cells.integers(observe(hard, cells.calibration)))
    corrected = correct_biases(equalize(hard, cells.calibration), cells.calibration)
    climbed = round_adaptively(corrected, cells.calibration)

    assert float_accuracy > cells.chance + 0.15
    assert plain <= cells.chance + 0.05
    assert cells.accuracy(cells.integers(climbed)) >= float_accuracy - 0.01
    assert np.mean(cells.integers(climbed).argmax(axis=1) == cells.floats(hard).argmax(axis=1)) >= 0.96


@pytest.fixture(scope="module")
def real() -> Cells:
    """EfficientNet-Lite0 with ImageNet's weights and a head for solar cells."""
    return real_cells()


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [True, False], ids=["a scale a channel", "a scale a tensor"])
def test_the_ladder_saves_a_real_network(real, per_channel, tmp_path):
    """Rescaled, it is the same function, and at chance by plain extremes; the gate's file is within 1 point."""
    model, scheme = hard_model(real.model), Scheme(per_channel=per_channel)
    exact, float_answers = evaluate(real.model, real.held_out), evaluate(model, real.held_out)
    plain = quantize(model, real.training, scheme=scheme)

    report = edge.export(
        model, tmp_path / "a.tflite", "int8", real.training, real.held_out, max_drop=1.0, scheme=scheme
    )

    assert np.abs(float_answers.scores - exact.scores).max() <= 1e-4 * np.abs(exact.scores).max()
    assert exact.top1 > real.chance + 0.15
    assert evaluate(plain, real.held_out).top1 <= real.chance + 0.05
    assert report.model_accuracy == exact.top1
    assert report.file_accuracy >= exact.top1 - 0.01
