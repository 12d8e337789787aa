"""Runs that are timed are runs: they train as others do, and what they take is the device's time."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import tiny_model

from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.session import Session
from edge_sdk.training.step import training_session

DEVICES = pytest.mark.parametrize("device", ["cpu", "gpu"])


def session_and_feeds(device: str) -> tuple[Session, dict[str, np.ndarray]]:
    """A training step, and what it is fed."""
    model, random = tiny_model(), np.random.default_rng(0)
    image = random.standard_normal((4, *model.preprocess.shape), np.float32)
    return training_session(model, 4, device=device), {"image": image, "label": np.arange(4, dtype=np.int32) % 3}


@DEVICES
def test_timed_runs_train_on_the_same_feeds(device: str) -> None:
    """Two to warm up and three that are timed end with the bytes of five, though inputs' memory is used again."""
    (timed, feeds), (plain, _) = session_and_feeds(device), session_and_feeds(device)

    seconds = timed.time_on_device(feeds, 3)
    for _ in range(5):
        plain.run(feeds)
    after, wanted = timed.run(feeds), plain.run(feeds)

    assert seconds > 0
    assert after["loss"] == wanted["loss"]
    assert timed.workspace.digest() == plain.workspace.digest()


@DEVICES
def test_profiled_runs_train(device: str) -> None:
    """One to warm up and two that are profiled node by node."""
    (profiled, feeds), (plain, _) = session_and_feeds(device), session_and_feeds(device)

    times = profiled.profile(feeds, runs=2)
    for _ in range(3):
        plain.run(feeds)

    assert [spent.value for spent in times] == [node.outputs[0] for node in plain.graph.nodes]
    assert sum(spent.seconds for spent in times) > 0
    assert profiled.workspace.digest() == plain.workspace.digest()


def test_works_are_done_in_their_order() -> None:
    """Each has a time of its own; what was copied before is there for what copies it further."""
    driver = current_driver()
    first, second, third = (driver.allocate(1 << 20) for _ in range(3))
    driver.write(first, np.full(1 << 20, 5, np.uint8))

    times = driver.timed([lambda: driver.copy(second, first), lambda: driver.copy(third, second)])

    assert len(times) == 2
    assert min(times) > 0
    assert (driver.read(third) == 5).all()
