"""Optimizers as nodes: each adds its update operators and state parameters to a training graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.errors import UsageError, suggestion
from edge_sdk.op import Op
from edge_sdk.ops.update import AdamUpdate, RMSPropUpdate, SGDUpdate
from edge_sdk.spec import Spec, Value
from edge_sdk.workspace import Workspace


class Optimizer(Protocol):
    """Adds the update of one weight to a graph."""

    def update(
        self, g: Builder, workspace: Workspace, weight: Value, gradient: Value, rate: Value, step: Value,
        factor: Value | None = None,
    ) -> None:  # fmt: skip
        """Replace `weight` by its updated value when a run ends; state is created in `workspace` as zeros.

        `rate` is the learning rate (float32 scalar), `step` counts from 1 (int64 scalar). Where there is a `factor`
        (float32 scalar) the gradient is multiplied by it, and a step whose factor is 0 changes nothing; it is there
        in training in 16 bits alone, where gradients may be stored so too.
        """


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum and Nesterov's look-ahead (Sutskever et al. 2013)."""

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def update(
        self, g: Builder, workspace: Workspace, weight: Value, gradient: Value, rate: Value, step: Value,
        factor: Value | None = None,
    ) -> None:  # fmt: skip
        """Add v ← momentum · v + gradient; weight ← weight - rate · v."""
        op = SGDUpdate(
            momentum=self.momentum, nesterov=self.nesterov, weight_decay=_decay(self.weight_decay, g, weight)
        )
        _add_update(g, workspace, op, weight, (gradient, rate), ("velocity",), _given(factor))


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015); with `decoupled`, AdamW (Loshchilov and Hutter 2019)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    def update(
        self, g: Builder, workspace: Workspace, weight: Value, gradient: Value, rate: Value, step: Value,
        factor: Value | None = None,
    ) -> None:  # fmt: skip
        """Add the update by bias-corrected first and second moments."""
        decay = _decay(self.weight_decay, g, weight)
        op = AdamUpdate(self.beta1, self.beta2, self.epsilon, weight_decay=decay, decoupled=self.decoupled)
        states = ("first_moment", "second_moment")
        _add_update(g, workspace, op, weight, (gradient, rate), states, (step, *_given(factor)))


@dataclass(frozen=True)
class RMSProp:
    """RMSProp (Tieleman and Hinton 2012), with momentum as the mobile networks were trained."""

    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    def update(
        self, g: Builder, workspace: Workspace, weight: Value, gradient: Value, rate: Value, step: Value,
        factor: Value | None = None,
    ) -> None:  # fmt: skip
        """Add the update by the gradient over the root of its running mean square."""
        op = RMSPropUpdate(self.decay, self.epsilon, self.momentum, weight_decay=_decay(self.weight_decay, g, weight))
        _add_update(g, workspace, op, weight, (gradient, rate), ("mean_square", "velocity"), _given(factor))


DEFAULT_RATES = {"sgd": 0.01, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
"""Learning rate of each optimizer when the user gives none: what fine-tuning usually wants at batch 32."""


def named_optimizer(name: str, momentum: float = 0.9, weight_decay: float = 0.0) -> Optimizer:
    """Return the optimizer called `name`; raises UsageError with a suggestion for an unknown one."""
    makers: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: SGD(momentum=momentum, weight_decay=weight_decay),
        "adam": lambda: Adam(weight_decay=weight_decay),
        "adamw": lambda: Adam(weight_decay=weight_decay, decoupled=True),
        "rmsprop": lambda: RMSProp(momentum=momentum, weight_decay=weight_decay),
    }
    if name not in makers:
        raise UsageError(f"optimizer {name!r} is not one of {', '.join(makers)}{suggestion(name, makers)}")
    return makers[name]()


def _decay(weight_decay: float, g: Builder, weight: Value) -> float:
    """No decay on biases and normalisation parameters, which are vectors (He et al. 2019, "Bag of Tricks", 3.1)."""
    return weight_decay if g.spec(weight).rank > 1 else 0.0


def _given(factor: Value | None) -> tuple[Value, ...]:
    return () if factor is None else (factor,)


def _add_update(
    g: Builder,
    workspace: Workspace,
    op: Op,
    weight: Value,
    before: tuple[Value, ...],
    states: tuple[str, ...],
    after: tuple[Value, ...],
) -> None:
    spec = g.spec(weight)
    slots = [g.param(f"{weight}:{state}", Spec(spec.shape, spec.dtype)) for state in states]
    for slot in slots:
        workspace[slot] = np.zeros(spec.shape, spec.numpy_dtype)
    results = g.add_multi(op, weight, *before, *slots, *after, name=f"{weight}:updated")
    for state, new in zip((weight, *slots), results, strict=True):
        g.update(state, new)
