"""What a Session takes of a device's memory is known before it is taken, and so is the batch that would fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_models import tiny_model

from edge_sdk import device_memory
from edge_sdk.device_memory import HostMemory
from edge_sdk.errors import DeviceError
from edge_sdk.host_memory import available_bytes
from edge_sdk.memory_need import DeviceMemoryError, need_of, optimizer_state
from edge_sdk.prepared import prepare
from edge_sdk.session import Session
from edge_sdk.training.fit import fit
from edge_sdk.training.optimizers import Optimizer, named_optimizer
from edge_sdk.training.step import TrainingStep, training_step


def step_of(optimizer: Optimizer, **settings: object) -> TrainingStep:
    """A training step of the tiny network."""
    return training_step(tiny_model(), optimizer, learning_rate=0.01, **settings)


@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 1), ("adamw", 2), ("rmsprop", 2)])
def test_parameters_state_and_gradients_are_counted(optimizer: str, states: int) -> None:
    """Each trained weight has so many arrays of state and one gradient like it; the rest is weights and counters.

    The gradient of the dense layer's weight is never stored: the optimizer makes it tile by tile.
    """
    model, step = tiny_model(), step_of(named_optimizer(optimizer))
    trained = sum(array.nbytes for name, array in model.workspace.items() if name in step.graph.updates)
    statistics = sum(array.nbytes for name, array in model.workspace.items() if name.endswith((".mean", ".variance")))

    need = Session(step.graph, step.workspace, batch=4).need

    weights = trained - statistics
    assert need.state == states * weights
    assert need.gradients == weights - model.workspace["head.weight"].nbytes
    assert need.parameters == sum(array.nbytes for array in model.workspace.values()) + 4 + 8  # rate and step
    assert need.total == need.parameters + need.state + need.arena + need.packed


def test_a_network_that_does_not_train_has_no_state() -> None:
    """Inference has parameters and an arena alone."""
    session = Session(*tiny_model().inference, batch=2)

    assert optimizer_state(session.graph) == frozenset()
    assert (session.need.state, session.need.gradients, session.need.staging) == (0, 0, 0)


@dataclass(frozen=True)
class Small(HostMemory):
    """The host, with less memory free."""

    free: int

    def free_bytes(self) -> int:
        """Return it."""
        return self.free


def needed(step: TrainingStep, batch: int) -> int:
    """What the host needs beside the parameters, by planning."""
    prepared = prepare(step.graph.bind(batch), "cpu", 1, autotune=False, precise=False)
    return need_of(prepared, HostMemory()).arena


@pytest.mark.parametrize("fits", [1, 5, 30])
def test_the_largest_batch_is_named(monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    """With room for a batch and not a byte more, that one is bound, and a larger one is refused by its name."""
    step = step_of(named_optimizer("sgd"))
    small = Small(needed(step, fits))
    monkeypatch.setattr("edge_sdk.session.memory_of", lambda device: small)

    Session(step.graph, step.workspace, batch=fits, threads=1)
    with pytest.raises(DeviceMemoryError) as refused:
        Session(step.graph, step.workspace, batch=40, threads=1)

    assert refused.value.largest_batch == fits
    assert isinstance(refused.value, DeviceError)
    assert f"in batches of 40 needs {refused.value.need.total / 2**10:.1f} KiB (parameters 1.9 KiB, " in str(
        refused.value
    )
    assert f"{small.free / 2**10:.1f} KiB are free; the largest batch that fits is {fits}" in str(refused.value)


def test_that_nothing_fits_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too small for one photo."""
    step = step_of(named_optimizer("sgd"))
    monkeypatch.setattr("edge_sdk.session.memory_of", lambda device: Small(100))

    with pytest.raises(DeviceMemoryError, match="not even a batch of 1 fits"):
        Session(step.graph, step.workspace, batch=8)


def test_fit_says_what_recomputing_would_allow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before any photo is decoded; the number is that of the graph in which all cheap activations are made twice."""
    kept, again = (step_of(named_optimizer("sgd"), recompute=kind) for kind in (None, "activations"))
    free = needed(again, 20)
    monkeypatch.setattr("edge_sdk.session.memory_of", lambda device: Small(free))
    photos = Unreadable()

    with pytest.raises(DeviceMemoryError) as refused:
        fit(tiny_model(), photos, batch_size=40, validation=0, recompute=None, compute_threads=1, out=tmp_path / "run")

    assert needed(kept, 20) > free
    assert f"the largest batch that fits is {refused.value.largest_batch}; with recompute activations it is 20" in str(
        refused.value
    )
    assert refused.value.largest_batch < 20
    assert not (tmp_path / "run").exists()


class Unreadable:
    """Photos whose decoding would be a defect."""

    labels = ("blue", "green", "red")

    def __len__(self) -> int:
        return 64

    def fingerprint(self) -> str:
        """Return one of its own."""
        return "unreadable"

    def photo(self, index: int, shortest: int | None = None) -> None:
        """Fail."""
        raise AssertionError(index)


MEMINFO = "MemTotal:       16000 kB\nMemAvailable:    8000 kB\nSwapFree:        1000 kB\nHugePages_Free:        0\n"


def test_the_system_says_what_is_available(tmp_path: Path) -> None:
    """Linux' estimate and the swap; in a container what its limit leaves, where that is less."""
    proc, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    proc.write_text(MEMINFO)
    plain = available_bytes(proc, cgroup)
    cgroup.mkdir()
    found = []
    for limit in ("max", "3000000", "99000000000"):
        for name, text in (("max", limit), ("current", "2000000"), ("stat", "anon 5\ninactive_file 500000\n")):
            (cgroup / f"memory.{name}").write_text(text)
        found.append(available_bytes(proc, cgroup))

    assert plain == 9000 * 1024
    assert found == [9000 * 1024, 1_500_000, 9000 * 1024]


@pytest.mark.parametrize("text", ["", "MemAvailable: many kB\nSwapFree: 0 kB\n", "MemAvailable:\nSwapFree: 0 kB\n"])
def test_a_system_that_does_not_say_it_is_not_asked(tmp_path: Path, text: str) -> None:
    """Without the numbers nothing is refused."""
    (tmp_path / "meminfo").write_text(text)

    assert available_bytes(tmp_path / "meminfo", tmp_path) is None
    assert available_bytes(tmp_path / "none", tmp_path) is None


def test_the_host_of_this_process_has_room() -> None:
    """The memory of device "cpu" asks the system."""
    free = device_memory.memory_of("cpu").free_bytes()

    assert free is None or free > 0
