"""Casts of many arrays in one launch: the bits of single casts, and of whole training runs."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from tiny_models import tiny_model

from edge_sdk.halves import rounded_to
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.ops.shape import GroupedCast
from edge_sdk.passes import pipelines
from edge_sdk.passes.group_casts import group_casts
from edge_sdk.session import Session
from edge_sdk.spec import HALVES, Array, spec_of
from edge_sdk.training.step import training_session

SIZES = (4096, 4097, 1, 0, 8192, 3, 10_000)


@pytest.mark.parametrize("dtype", sorted(HALVES))
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_each_number_is_rounded_once(dtype: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit what the host rounds, pieces whole and broken, subnormal and beyond the range."""
    load_device("gpu")
    random = np.random.default_rng(0)
    xs = [(random.standard_normal(n) * 2.0 ** random.integers(-30, 20, n)).astype(source) for n in SIZES]
    found = find_kernel(GroupedCast(dtype), "gpu", [spec_of(x) for x in xs])
    assert found is not None

    outputs = call_on_device(found, GroupedCast(dtype), xs)
    monkeypatch.setattr(current_driver(), "reversed", True)
    again = call_on_device(found, GroupedCast(dtype), xs)

    for x, y, other in zip(xs, outputs, again, strict=True):
        assert np.array_equal(y, rounded_to(x, dtype))
        assert y.tobytes() == other.tobytes()


def test_arrays_of_two_types_have_no_kernel() -> None:
    """A launch reads one type; the pass groups by it."""
    load_device("gpu")
    specs = [spec_of(np.zeros(3, dtype)) for dtype in ("float32", "float64")]

    assert find_kernel(GroupedCast("float16"), "gpu", specs) is None


def without_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps have a cast a weight."""
    passes = tuple(each for each in pipelines.PIPELINES["step"] if each is not group_casts)
    monkeypatch.setattr(pipelines, "PIPELINES", {**pipelines.PIPELINES, "step": passes})


def trained(precision: str) -> tuple[Session, list[bytes], dict[str, bytes]]:
    """Three steps on noise: the Session, the losses, all that is kept."""
    model = tiny_model()
    session = training_session(model, 4, "adamw", 0.01, device="gpu", precision=precision)
    feeds: dict[str, Array] = {
        "image": np.random.default_rng(1).standard_normal((4, *model.preprocess.shape), np.float32),
        "label": np.array([0, 1, 2, 0], np.int32),
    }
    losses = [session.run(feeds)["loss"].tobytes() for _ in range(3)]
    return session, losses, {name: session.workspace[name].tobytes() for name in session.graph.params}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_run_has_the_bytes_of_one_with_a_cast_a_weight(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One launch in place of five, and not a bit of losses, weights and state is another."""
    session, losses, state = trained(precision)
    without_the_pass(monkeypatch)

    single, wanted, wanted_state = trained(precision)

    assert len(single.graph.nodes) - len(session.graph.nodes) == 4
    assert losses == wanted
    assert state == wanted_state
