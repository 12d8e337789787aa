"""A hundred training steps of whole networks on a GPU: the losses are the CPU's, within the noise of rounding."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gpu.loss_curves import FOLDER, NETWORKS, NOISE, STEPS, losses

from edge_sdk.spec import Array

LEAST = {"float32": 1e-4, "fp16": 2.0**-7, "bf16": 2.0**-4}
"""What may differ where nothing is amplified: sixteen roundings of a loss of about 1 in 16 bits."""
TIMES = 4.0
"""How far beyond the disturbed curves of the CPU another one may go: there are two of them alone."""
KNOWN = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def noise(curves: list[list[float]], undisturbed: list[float]) -> Array:
    """By how much disturbed curves differ up to each step from the one that is not."""
    return np.maximum.accumulate(np.abs(np.array(curves) - undisturbed).max(axis=0))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", sorted(NOISE))
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_learns_what_it_learns_on_the_cpu(name: str, precision: str) -> None:
    """At each step the loss is within the noise, and at the end much lower than in the beginning."""
    if name not in KNOWN:
        pytest.skip(f"no curve of {name} is kept: PYTHONPATH=tests python -m gpu.loss_curves {name}")
    wanted = KNOWN[name]["cpu"]

    found = losses(name, "gpu", precision)

    allowed = TIMES * noise(KNOWN[name][precision], wanted) + LEAST[precision]
    worst = int(np.argmax(np.abs(found - wanted) / allowed))
    assert np.isfinite(found).all()
    assert abs(found[worst] - wanted[worst]) <= allowed[worst], f"step {worst}: {found[worst]}, wanted {wanted[worst]}"
    assert np.median(found[-30:]) < 0.9 * np.median(found[:10])  # a single step may leap, on the CPU as well


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_noise_tells_a_defect_from_rounding(name: str) -> None:
    """The curves that are kept are whole, fall, and leave room for less than a tenth of the first loss in float32.

    Ten steps long, that is: later a defect shows by how much the loss falls.
    """
    curves = KNOWN[name]

    assert len(curves["cpu"]) == STEPS
    assert np.mean(curves["cpu"][-10:]) < 0.7 * np.mean(curves["cpu"][:10])
    for precision, most in (("float32", 0.01), ("fp16", 0.1), ("bf16", 0.4)):
        room = TIMES * noise(curves[precision], curves["cpu"]) + LEAST[precision]
        assert room[:10].max() < most * curves["cpu"][0], precision
