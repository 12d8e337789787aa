"""Whole training steps in float16 and bfloat16 on device "gpu": what is learnt, what is skipped, what is resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu.residual_network import GATES, MANY, first_steps, session_of
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk.session import Session
from edge_sdk.spec import HALVES, Array
from edge_sdk.training.checkpoint import Checkpoint, Progress, load_checkpoint
from edge_sdk.training.loss_scaling import GOOD_STEPS, LOSS_SCALE
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_session, training_step

UNIT = {"fp16": 2.0**-11, "bf16": 2.0**-8}
"""What one rounding may change, relatively."""
both = pytest.mark.parametrize("precision", sorted(UNIT))


def photos(model: edge.Model, batch: int = 8) -> dict[str, Array]:
    """The same noise, with labels, at every call."""
    rng = np.random.default_rng(1)
    return {
        "image": rng.standard_normal((batch, *model.preprocess.shape), np.float32),
        "label": rng.integers(0, len(model.labels), batch).astype(np.int32),
    }


def losses(session: Session, feeds: dict[str, Array], steps: int) -> Array:
    """The loss of each step on one batch."""
    return np.array([float(session.run(feeds)["loss"]) for _ in range(steps)])


def bytes_of(session: Session) -> dict[str, bytes]:
    """All that a step changes."""
    return {name: session.workspace[name].tobytes() for name in session.graph.updates}


@both
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.02), ("adamw", 0.01), ("rmsprop", 0.002)])
def test_it_learns_what_float32_learns(precision: str, optimizer: str, rate: float) -> None:
    """After each of N steps the loss is that of the run in float32, up to N roundings; it is much lower in the end."""
    model, steps = tiny_model(), 6
    feeds = photos(model)
    single = losses(training_session(model, 8, optimizer, rate, device="gpu"), feeds, steps)

    half = losses(training_session(model, 8, optimizer, rate, device="gpu", precision=precision), feeds, steps)

    assert single[-1] < 0.8 * single[0]
    assert not np.array_equal(half, single)
    assert np.all(np.abs(half - single) <= UNIT[precision] * (1 + np.arange(steps)) * single[0])


@both
def test_the_naive_kernels_learn_the_same(precision: str) -> None:
    """The same graph on the reference device: losses and every parameter agree as closely as 16 bits can."""
    model = tiny_model()
    feeds, found = photos(model), {}
    for device in ("reference", "gpu"):
        step = training_step(model, SGD(), learning_rate=0.05, precision=precision, device="gpu", clip_norm=1.0)
        session = Session(step.graph, step.workspace, device, 8)
        found[device] = losses(session, feeds, 3), {name: session.workspace[name] for name in session.graph.params}

    np.testing.assert_allclose(found["gpu"][0], found["reference"][0], rtol=4 * UNIT[precision])
    for name, wanted in found["reference"][1].items():
        largest = max(float(np.abs(wanted).max(initial=0)), 1e-2)
        assert float(np.abs(found["gpu"][1][name] - wanted).max(initial=0)) <= 16 * UNIT[precision] * largest, name


@both
def test_activations_are_in_16_bits_and_state_is_not(precision: str) -> None:
    """The images that one operator hands the next are halves; parameters, outputs and losses are float32."""
    session = training_session(tiny_model(), 8, device="gpu", precision=precision)
    single = training_session(tiny_model(), 8, device="gpu")

    specs = session.graph.specs
    graph = session.graph
    fed_or_kept = {*graph.inputs, *graph.params, *graph.outputs, *graph.updates.values()}
    assert all(specs[value].dtype not in HALVES for value in fed_or_kept)
    images = [spec for value, spec in specs.items() if spec.rank == 4 and value not in fed_or_kept]
    assert images
    assert all(spec.dtype in HALVES for spec in images)
    assert session.memory.arena_bytes < 0.75 * single.memory.arena_bytes


def test_a_step_that_overflows_changes_nothing_but_the_scale() -> None:
    """Weights, moments, running statistics and the step count keep their bytes; the scale is halved until it fits."""
    model = tiny_model()
    session, feeds = training_session(model, 8, "adamw", device="gpu", precision="fp16"), photos(model)
    session.run(feeds)
    session.workspace[LOSS_SCALE] = np.asarray(2.0**24, np.float32)
    before = bytes_of(session)

    loss = float(session.run(feeds)["loss"])
    after = bytes_of(session)

    assert np.isfinite(loss)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {LOSS_SCALE, GOOD_STEPS}
    assert (float(session.workspace[LOSS_SCALE]), int(session.workspace[GOOD_STEPS])) == (2.0**23, 0)

    scales = []
    while int(session.workspace[GOOD_STEPS]) == 0:
        session.run(feeds)
        scales.append(float(session.workspace[LOSS_SCALE]))
    assert scales[:-1] == [2.0 ** (22 - index) for index in range(len(scales) - 1)]
    assert scales[-1] == scales[-2] < 2.0**22
    assert int(session.workspace["step"]) == 2


def test_the_scale_doubles_after_two_thousand_good_steps() -> None:
    """The step that makes them full does it, and counting starts anew."""
    model = tiny_model()
    session, feeds = training_session(model, 8, device="gpu", precision="fp16"), photos(model)
    session.workspace[GOOD_STEPS] = np.asarray(1998, np.int64)
    session.workspace[LOSS_SCALE] = np.asarray(512, np.float32)

    states = []
    for _ in range(3):
        session.run(feeds)
        states.append((float(session.workspace[LOSS_SCALE]), int(session.workspace[GOOD_STEPS])))

    assert states == [(512.0, 1999), (1024.0, 0), (1024.0, 1)]


@pytest.mark.parametrize("scale", [2.0**6, 2.0**12])
def test_clipping_sees_the_true_gradients(scale: float) -> None:
    """Whatever the scale, all weights together move by rate · max_norm: plain SGD, and gradients larger than that."""
    model = tiny_model()
    step = training_step(
        model, SGD(momentum=0), learning_rate=1.0, precision="fp16", device="gpu", clip_norm=0.125
    )  # fmt: skip
    step.workspace[LOSS_SCALE] = np.asarray(scale, np.float32)
    session = Session(step.graph, step.workspace, "gpu", 8)
    trained = [name for name in step.graph.updates if f"{name}:velocity" in step.graph.params]
    before = {name: session.workspace[name].astype(np.float64) for name in trained}

    session.run(photos(model))

    moved = sum(float(((session.workspace[name] - old) ** 2).sum()) for name, old in before.items())
    assert np.sqrt(moved) == pytest.approx(0.125, rel=1e-4)


def test_without_a_scale_clipping_works_the_same_in_bfloat16() -> None:
    """The norm of the gradients as they are stored, in one factor."""
    model = tiny_model()
    step = training_step(model, SGD(momentum=0), learning_rate=1.0, precision="bf16", device="gpu", clip_norm=0.125)
    session = Session(step.graph, step.workspace, "gpu", 8)
    trained = [name for name in step.graph.updates if f"{name}:velocity" in step.graph.params]
    before = {name: session.workspace[name].astype(np.float64) for name in trained}

    session.run(photos(model))

    moved = sum(float(((session.workspace[name] - old) ** 2).sum()) for name, old in before.items())
    assert np.sqrt(moved) == pytest.approx(0.125, rel=1e-4)
    assert LOSS_SCALE not in step.graph.params


def test_a_checkpoint_has_the_scale(tmp_path: Path) -> None:
    """A run that was saved in between, while the scale was falling, ends with the same bytes as one that was not."""
    model, ends = tiny_model(), []
    feeds = photos(model)
    for stops in (False, True):
        step = training_step(model, SGD(), learning_rate=0.05, precision="fp16", device="gpu")
        step.workspace[LOSS_SCALE] = np.asarray(2.0**24, np.float32)
        session = Session(step.graph, step.workspace, "gpu", 8)
        losses(session, feeds, 2)
        if stops:
            Checkpoint(Progress(), session.workspace).save(tmp_path / "last.checkpoint")
            saved = load_checkpoint(tmp_path / "last.checkpoint").workspace
            session = Session(step.graph, saved.restricted(step.graph), "gpu", 8)
        losses(session, feeds, 12)
        ends.append(bytes_of(session))

    assert ends[0] == ends[1]
    assert np.frombuffer(ends[0][GOOD_STEPS], np.int64)[0] > 0


@both
def test_gradients_of_a_residual_network_err_as_its_roundings_do(precision: str) -> None:
    """Without kinks every layer's gradient is float32's within 8 roundings, far from the loss as near to it.

    The same holds beside the naive kernels, which round what they store in the same places; and losses of a few steps.
    """
    unit = UNIT[precision]
    single, exact = first_steps(session_of("float32", "reference", "silu"), 3)
    naive, rounded = first_steps(session_of(precision, "reference", "silu"), 3)

    losses, found = first_steps(session_of(precision, "gpu", "silu"), 3)

    assert found.keys() == exact.keys() == {f"{name}.weight" for name in GATES}
    for name, gradient in found.items():
        assert relative_error(gradient, exact[name]) <= 8 * unit, name
        assert relative_error(gradient, rounded[name]) <= 8 * unit, name
    for wanted in (single, naive):
        assert np.all(np.abs(losses - wanted) <= unit * (1 + np.arange(3)) * single[0])


@both
def test_gates_of_a_residual_network_turn_few_gradients(precision: str) -> None:
    """An activation that is rounded to the other side of 0 opens or closes a gate: that is what 16 bits cost with ReLU.

    Of numbers that are spread normally a share of about u lies within a rounding of 0. Each such gate gives or takes a
    whole term of the gradient, so that its square errs by about u for each activation on the way; four times that is
    allowed, and cosines follow from it.
    """
    single, exact = first_steps(session_of("float32", "reference", batch=MANY), 3)

    losses, found = first_steps(session_of(precision, "gpu", batch=MANY), 3)

    for name, gates in GATES.items():
        mine, wanted = found[f"{name}.weight"].ravel(), exact[f"{name}.weight"].ravel()
        allowed = 2 * np.sqrt(gates * UNIT[precision]) + 8 * UNIT[precision]
        assert relative_error(mine, wanted) <= allowed, name
        assert mine @ wanted >= (1 - allowed**2 / 2) * np.linalg.norm(mine) * np.linalg.norm(wanted), name
    assert np.all(np.abs(losses - single) <= 4 * UNIT[precision] * (1 + np.arange(3)) * single[0])


def relative_error(found: Array, wanted: Array) -> float:
    """The length of the difference over that of what is wanted."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
