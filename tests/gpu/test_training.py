"""Whole training steps on device "gpu": a network learns there what it learns by the naive kernels."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.training.step import training_session


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
def test_a_network_learns_the_same_as_on_the_reference_device(optimizer: str) -> None:
    """After three steps, losses and every parameter, statistics and optimizer state included, are those of NumPy."""
    losses, arrays = {}, {}
    for device in ("reference", "gpu"):
        model = tiny_model()
        session = training_session(model, 4, optimizer, 0.01, device=device, recompute=None)
        rng = np.random.default_rng(1)
        losses[device] = []
        for _ in range(3):
            feeds = {
                "image": rng.standard_normal((4, *model.preprocess.shape), np.float32),
                "label": rng.integers(0, len(model.labels), 4).astype(np.int32),
            }
            losses[device].append(float(session.run(feeds)["loss"]))
        arrays[device] = {name: session.workspace[name] for name in session.graph.params}

    assert losses["gpu"] == pytest.approx(losses["reference"], rel=1e-4)
    for name, wanted in arrays["reference"].items():
        largest = max(float(np.abs(wanted).max(initial=0)), 1e-3)
        assert float(np.abs(arrays["gpu"][name] - wanted).max(initial=0)) <= 2e-3 * largest, name


def test_training_in_tf32_is_within_its_rounding() -> None:
    """Losses of three steps are float32's to three digits, and not its bytes: the precision reaches every product."""
    losses = {}
    for precision in ("float32", "tf32"):
        model = tiny_model()
        session = training_session(model, 4, "sgd", 0.01, device="gpu", recompute=None, precision=precision)
        rng = np.random.default_rng(1)
        image = rng.standard_normal((4, *model.preprocess.shape), np.float32)
        feeds = {"image": image, "label": np.arange(4, dtype=np.int32) % len(model.labels)}
        losses[precision] = [float(session.run(feeds)["loss"]) for _ in range(3)]

    assert losses["tf32"] != losses["float32"]
    assert losses["tf32"] == pytest.approx(losses["float32"], rel=1e-3)


def test_what_was_learnt_is_fetched_when_it_is_asked_for() -> None:
    """Parameters stay on the device between steps; the workspace gives the newest, and takes what is put into it."""
    model = tiny_model()
    session = training_session(model, 2, device="gpu", recompute=None)
    feeds = {"image": np.ones((2, *model.preprocess.shape), np.float32), "label": np.zeros(2, np.int32)}
    name = next(name for name in session.graph.updates if name.endswith("weight"))
    before = session.workspace[name].copy()

    session.run(feeds)
    on_device = session.workspace.undrawn(name) is not None
    after = session.workspace[name]
    session.workspace[name] = before
    session.run(feeds)

    assert on_device
    assert not np.array_equal(before, after)
    assert not np.array_equal(session.workspace[name], before)
