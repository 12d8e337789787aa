"""The rungs together: a network that plain quantization destroys is as good in integers as on real numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hard_network import Cells, rescaled, solar_cells

from edge_sdk.quantization.adaptive_rounding import round_adaptively
from edge_sdk.quantization.bias_correction import correct_biases
from edge_sdk.quantization.candidate import Candidate, observe, prepare
from edge_sdk.quantization.equalization import equalize
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
    chance = np.bincount(cells.labels).max() / len(cells.labels)

    plain = cells.accuracy(cells.integers(observe(hard, cells.calibration)))
    corrected = correct_biases(equalize(hard, cells.calibration), cells.calibration)
    climbed = round_adaptively(corrected, cells.calibration)

    assert float_accuracy > chance + 0.15
    assert plain <= chance + 0.05
    assert cells.accuracy(cells.integers(climbed)) >= float_accuracy - 0.01
    assert np.mean(cells.integers(climbed).argmax(axis=1) == cells.floats(hard).argmax(axis=1)) >= 0.96
