"""Training ends in the same place whatever the kernels' arithmetic: on real photos, within what a seed changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_sdk.data.split import split_dataset
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.solar_cells import LABELS, block_of, load_solar_cells
from edge_sdk.spec import Array
from edge_sdk.training.step import training_session

SIDE, WIDTH, BATCH, STEPS, LAST = 24, 32, 32, 80, 20  # widths are whole register tiles: Winograd's algorithm applies
NAIVE_STEPS = 8
"""Of the naive kernels, which take most of a second for one."""


@pytest.fixture(scope="module")
def photos() -> tuple[Array, Array]:
    """Some hundred cells of all four kinds."""
    chosen, _ = split_dataset(load_solar_cells(), 0.75, 0, block_of)
    pixels = [np.asarray(chosen.photo(index).resize((SIDE, SIDE)), np.float32) for index in range(len(chosen))]
    return (np.stack(pixels) - 100) / 50, np.array([chosen.label(index) for index in range(len(chosen))], np.int32)


def residual_network(seed: int) -> Model:
    """A residual block of two 3×3 convolutions with batch norms."""
    net = Network("residual", (SIDE, SIDE, 3), seed)
    x = net.activation(net.batch_norm(net.conv(net.image, WIDTH, 3, "stem", 2, 1), "stem_norm"), "relu")
    y = net.activation(net.batch_norm(net.conv(x, WIDTH, 3, "first", 1, 1), "first_norm"), "relu")
    y = net.batch_norm(net.conv(y, WIDTH, 3, "second", 1, 1), "second_norm")
    graph, workspace = net.head(net.global_average_pool(net.activation(net.add(x, y), "relu")), len(LABELS))
    return Model(graph, workspace, Preprocess((SIDE, SIDE)), LABELS)


def trained(photos: tuple[Array, Array], seed: int, steps: int = STEPS, **kernels: Any) -> tuple[Array, set[str]]:
    """The losses of a training's steps, and the algorithms of its convolutions."""
    session = training_session(residual_network(seed), BATCH, learning_rate=0.02, **kernels)
    rng = np.random.default_rng(seed)
    losses = []
    for _ in range(steps):
        chosen = rng.integers(0, len(photos[1]), BATCH)
        losses.append(float(session.run({"image": photos[0][chosen], "label": photos[1][chosen]})["loss"]))
    algorithms = {step.algorithm for step in session.plan.steps if step.op.startswith("conv2d")}
    return np.array(losses), algorithms


def ends(losses: Array) -> float:
    """The mean of the last steps."""
    return float(np.mean(losses[-LAST:]))


def learns(losses: Array) -> bool:
    """Whether the last steps are better than the first."""
    return ends(losses) < float(np.mean(losses[:5]))


def test_winograd_and_precise_kernels_train_alike(photos: tuple[Array, Array]) -> None:
    """From the same weights and batches the losses end nearer to each other than those of three seeds do."""
    winograd = [trained(photos, seed, precise=False) for seed in range(3)]
    precise = [trained(photos, seed, precise=True) for seed in range(3)]

    spread = float(np.ptp([ends(losses) for losses, _ in precise]))
    assert all("winograd 4x4" in algorithms for _, algorithms in winograd)
    assert all("winograd 4x4" not in algorithms for _, algorithms in precise)
    assert all(learns(losses) for losses, _ in (*winograd, *precise))
    for (a, _), (b, _) in zip(winograd, precise, strict=True):
        assert abs(ends(a) - ends(b)) < spread


def test_naive_kernels_begin_alike(photos: tuple[Array, Array]) -> None:
    """Loss by loss, before roundings have added up; another seed has other losses."""
    naive, _ = trained(photos, 0, NAIVE_STEPS, device="reference")

    for precise in (True, False):
        losses, _ = trained(photos, 0, NAIVE_STEPS, precise=precise)
        np.testing.assert_allclose(losses, naive, rtol=1e-5)
    assert np.abs(trained(photos, 1, NAIVE_STEPS)[0] / naive - 1).max() > 0.01


@pytest.mark.long
def test_naive_kernels_end_alike(photos: tuple[Array, Array]) -> None:
    """A whole training with them ends nearer to that with Winograd's algorithm than those of three seeds do."""
    fast = [trained(photos, seed) for seed in range(3)]

    naive, _ = trained(photos, 0, device="reference")

    assert learns(naive)
    assert abs(ends(fast[0][0]) - ends(naive)) < np.ptp([ends(losses) for losses, _ in fast])
