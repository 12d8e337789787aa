"""Precise mode: kernels that round more than a direct sum are left out, wherever that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.errors import UsageError
from edge_sdk.kernel import PRECISE
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.training.fit import Settings
from edge_sdk.training.step import training_session

SIDE, CHANNELS = 48, 32  # where F(4×4, 3×3) is the fastest algorithm
APPROXIMATE, EXACT = "winograd 4x4", "winograd 2x2"


def classifier() -> Model:
    """Two 3×3 convolutions, the second of which can be Winograd's."""
    net = Network("classifier", (SIDE, SIDE, 3), 0)
    x = net.activation(net.conv(net.image, CHANNELS, 3, "first"), "relu")
    x = net.activation(net.conv(x, CHANNELS, 3, "second"), "relu")
    graph, workspace = net.head(net.global_average_pool(x), 2)
    return Model(graph, workspace, Preprocess((SIDE, SIDE)), ("a", "b"))


def algorithms(session: Session) -> list[str]:
    """The algorithms of the convolutions and of their gradients."""
    return [step.algorithm for step in session.plan.steps if step.op.startswith("conv2d")]


def test_a_precise_training_step_takes_no_approximate_kernel() -> None:
    """The usual step does; the loss is the same up to rounding."""
    rng = np.random.default_rng(0)
    feeds = {"image": rng.standard_normal((2, SIDE, SIDE, 3), np.float32), "label": np.array([0, 1], np.int32)}

    usual, precise = (training_session(classifier(), batch=2, precise=asked) for asked in (False, True))

    assert algorithms(usual).count(APPROXIMATE) == 3  # the second layer forward and both its gradients
    assert APPROXIMATE not in algorithms(precise)
    assert algorithms(precise).count(EXACT) == 2
    assert precise.run(feeds)["loss"] == pytest.approx(usual.run(feeds)["loss"], rel=1e-5)


def test_a_model_runs_precisely_when_asked() -> None:
    """Both ways are kept beside each other, and the precise one is nearer to a float64 run."""
    model = classifier()
    x = np.random.default_rng(0).standard_normal((2, SIDE, SIDE, 3), np.float32)
    wanted = Session(model.graph, model.workspace, "reference", 2).run({"image": x})["logits"]

    usual, precise = model.run(x, precise=False), model.run(x, precise=True)

    assert [algorithms(session)[1] for session in model._sessions.values()] == [APPROXIMATE, EXACT]
    assert np.abs(precise - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert not np.array_equal(usual, precise)


def test_the_environment_decides_where_the_caller_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """EDGE_PRECISE=1 makes inference and the settings of a training precise; an argument overrides it."""
    monkeypatch.setenv(PRECISE, "1")
    model = classifier()

    of_environment = Session(model.graph, model.workspace, batch=2)
    of_argument = Session(model.graph, model.workspace, batch=2, precise=False)

    assert APPROXIMATE not in algorithms(of_environment)
    assert APPROXIMATE in algorithms(of_argument)
    assert Settings().precise
    assert not Settings(precise=False).precise


def test_another_value_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody guesses what `yes` means."""
    monkeypatch.setenv(PRECISE, "yes")
    model = classifier()

    with pytest.raises(UsageError, match="EDGE_PRECISE is 0 or 1, not 'yes'"):
        Session(model.graph, model.workspace, batch=2)
