"""Optimizer steps as operators: they return the new weights and state, which a graph's updates store.

A gradient may be stored in 16 bits where its weight is float32. With a `factor` (a scalar) the gradient is multiplied
by it; a factor of 0 skips the step, and weight and state stay as they are, whatever the gradient is (loss_scaling.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_sdk.errors import ShapeError
from edge_sdk.op import Members, Op
from edge_sdk.spec import HALVES, Spec, accumulated, check_floats


def _check(name: str, weight: Spec, rate: Spec, *like_weight: Spec, factor: Spec | None = None) -> None:
    if any(other != weight for other in like_weight):
        raise ShapeError(
            f"{name}: weight {weight} needs a gradient and state like it, got {', '.join(map(str, like_weight))}"
        )
    if rate.shape != ():
        raise ShapeError(f"{name}: rate is {rate}, wanted a scalar")
    if factor is not None and (factor.shape != () or factor.dtype != rate.dtype):
        raise ShapeError(f"{name}: factor is {factor}, wanted a scalar of the type of the rate {rate}")


def _like_weight(weight: Spec, gradient: Spec) -> Spec:
    """The gradient in the weight's type, where it may come in 16 bits."""
    narrow = weight.dtype == "float32" and gradient.dtype in HALVES
    return Spec(gradient.shape, weight.dtype) if narrow else gradient


def _check_step(name: str, step: Spec) -> None:
    if step.shape != () or step.dtype != "int64":
        raise ShapeError(f"{name}: step is {step}, wanted i64[]")


@dataclass(frozen=True)
class SGDUpdate(Op, name="sgd_update"):
    """d = gradient + weight_decay · weight; v = momentum · velocity + d; weight - rate · v, as torch.optim.SGD.

    With `nesterov` the step is rate · (d + momentum · v).
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    in_place = {0: 0, 1: 3}

    def infer(
        self, weight: Spec, gradient: Spec, rate: Spec, velocity: Spec, factor: Spec | None = None
    ) -> tuple[Spec, Spec]:
        _check("sgd_update", weight, rate, _like_weight(weight, gradient), velocity, factor=factor)
        return weight, weight


@dataclass(frozen=True)
class AdamUpdate(Op, name="adam_update"):
    """m = β₁ m + (1 - β₁) d; v = β₂ v + (1 - β₂) d²; weight - rate · m̂ / (√v̂ + ε), bias-corrected by `step` ≥ 1.

    d is gradient + weight_decay · weight; with `decoupled` (AdamW) the decay is rate · weight_decay · weight instead.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    in_place = {0: 0, 1: 3, 2: 4}

    def infer(
        self, weight: Spec, gradient: Spec, rate: Spec, first: Spec, second: Spec, step: Spec,
        factor: Spec | None = None,
    ) -> tuple[Spec, Spec, Spec]:  # fmt: skip
        _check("adam_update", weight, rate, _like_weight(weight, gradient), first, second, factor=factor)
        _check_step("adam_update", step)
        return weight, weight, weight


@dataclass(frozen=True)
class RMSPropUpdate(Op, name="rmsprop_update"):
    """s = decay · s + (1 - decay) · d²; v = momentum · v + d / (√s + ε); weight - rate · v, as torch.optim.RMSprop."""

    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    in_place = {0: 0, 1: 3, 2: 4}

    def infer(
        self, weight: Spec, gradient: Spec, rate: Spec, square: Spec, velocity: Spec, factor: Spec | None = None
    ) -> tuple[Spec, Spec, Spec]:
        _check("rmsprop_update", weight, rate, _like_weight(weight, gradient), square, velocity, factor=factor)
        return weight, weight, weight


def _check_factors(name: str, weight: Spec, dy: Spec, x: Spec) -> None:
    if dy.rank != 2 or x.rank != 2 or dy.shape[0] != x.shape[0] or weight.shape != (dy.shape[1], x.shape[1]):
        raise ShapeError(f"{name}: dy {dy} and x {x} do not fit weight {weight}; wanted (n, out), (n, in), (out, in)")
    check_floats(name, weight=weight, dy=dy, x=x)


@dataclass(frozen=True)
class LinearSGDUpdate(Op, name="linear_sgd_update"):
    """sgd_update of a dense layer's weight (out, in) by the gradient dyᵀ · x of dy (n, out) and x (n, in).

    The gradient is made and used piece by piece, and never stored.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    in_place = {0: 0, 1: 4}

    def infer(self, weight: Spec, dy: Spec, x: Spec, rate: Spec, velocity: Spec) -> tuple[Spec, Spec]:
        _check("linear_sgd_update", weight, rate, velocity)
        _check_factors("linear_sgd_update", weight, dy, x)
        return weight, weight


@dataclass(frozen=True)
class LinearAdamUpdate(Op, name="linear_adam_update"):
    """adam_update of a dense layer's weight (out, in) by the gradient dyᵀ · x of dy (n, out) and x (n, in)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    in_place = {0: 0, 1: 4, 2: 5}

    def infer(
        self, weight: Spec, dy: Spec, x: Spec, rate: Spec, first: Spec, second: Spec, step: Spec
    ) -> tuple[Spec, Spec, Spec]:
        _check("linear_adam_update", weight, rate, first, second)
        _check_factors("linear_adam_update", weight, dy, x)
        _check_step("linear_adam_update", step)
        return weight, weight, weight


@dataclass(frozen=True)
class LinearRMSPropUpdate(Op, name="linear_rmsprop_update"):
    """rmsprop_update of a dense layer's weight (out, in) by the gradient dyᵀ · x of dy (n, out) and x (n, in)."""

    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    in_place = {0: 0, 1: 4, 2: 5}

    def infer(
        self, weight: Spec, dy: Spec, x: Spec, rate: Spec, square: Spec, velocity: Spec
    ) -> tuple[Spec, Spec, Spec]:
        _check("linear_rmsprop_update", weight, rate, square, velocity)
        _check_factors("linear_rmsprop_update", weight, dy, x)
        return weight, weight, weight


OF_DENSE_LAYERS: Mapping[type[Op], type[Op]] = {
    SGDUpdate: LinearSGDUpdate,
    AdamUpdate: LinearAdamUpdate,
    RMSPropUpdate: LinearRMSPropUpdate,
}
"""The form of each optimizer's operator that takes a dense layer's dy and x in place of the gradient."""


def _infer_members(name: str, members: Members, shared: Sequence[Spec], specs: Sequence[Spec]) -> tuple[Spec, ...]:
    """The specs of all outputs, from the rate and perhaps the factor, and from those of (weight, gradient, state …) of
    one parameter after the other.
    """
    if not specs or len(specs) % members.inputs:
        raise ShapeError(f"{name}: {len(specs)} weights, gradients and states; wanted all of one parameter or more")
    rate, factor = shared[0], shared[1] if len(shared) > 1 else None
    results: list[Spec] = []
    for first in range(0, len(specs), members.inputs):
        weight, gradient, *states = specs[first : first + members.inputs]
        _check(name, weight, rate, _like_weight(weight, gradient), *states, factor=factor)
        results += [weight] * members.outputs
    return tuple(results)


@dataclass(frozen=True)
class GroupedSGDUpdate(Op, name="grouped_sgd_update"):
    """sgd_update of many parameters: members are (weight, gradient, velocity), one parameter after the other.

    Before them come the rate and, where `factored`, the factor of all gradients.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    factored: bool = False
    in_place = {0: 0, 1: 2}

    @property
    def members(self) -> Members:
        return Members(shared=1 + self.factored, inputs=3, outputs=2)

    def infer(self, rate: Spec, *parameters: Spec) -> tuple[Spec, ...]:
        border = int(self.factored)
        return _infer_members(self.name, self.members, (rate, *parameters[:border]), parameters[border:])


@dataclass(frozen=True)
class GroupedAdamUpdate(Op, name="grouped_adam_update"):
    """adam_update of many parameters: members are (weight, gradient, first moment, second moment).

    Before them come rate, step and, where `factored`, the factor of all gradients.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    factored: bool = False
    in_place = {0: 0, 1: 2, 2: 3}

    @property
    def members(self) -> Members:
        return Members(shared=2 + self.factored, inputs=4, outputs=3)

    def infer(self, rate: Spec, step: Spec, *parameters: Spec) -> tuple[Spec, ...]:
        _check_step("grouped_adam_update", step)
        border = int(self.factored)
        return _infer_members(self.name, self.members, (rate, *parameters[:border]), parameters[border:])


@dataclass(frozen=True)
class GroupedRMSPropUpdate(Op, name="grouped_rmsprop_update"):
    """rmsprop_update of many parameters: members are (weight, gradient, mean square, velocity).

    Before them come the rate and, where `factored`, the factor of all gradients.
    """

    decay: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    factored: bool = False
    in_place = {0: 0, 1: 2, 2: 3}

    @property
    def members(self) -> Members:
        return Members(shared=1 + self.factored, inputs=4, outputs=3)

    def infer(self, rate: Spec, *parameters: Spec) -> tuple[Spec, ...]:
        border = int(self.factored)
        return _infer_members(self.name, self.members, (rate, *parameters[:border]), parameters[border:])


GroupedUpdate = GroupedSGDUpdate | GroupedAdamUpdate | GroupedRMSPropUpdate

GROUPED: Mapping[type[Op], type[GroupedUpdate]] = {
    SGDUpdate: GroupedSGDUpdate,
    AdamUpdate: GroupedAdamUpdate,
    RMSPropUpdate: GroupedRMSPropUpdate,
}
"""The form of each optimizer's operator that updates many parameters."""


@dataclass(frozen=True)
class GlobalNorm(Op, name="global_norm"):
    """√Σ g² over all elements of all gradients, a scalar."""

    def infer(self, *gradients: Spec) -> Spec:
        if not gradients:
            raise ShapeError("global_norm: no gradients given")
        return Spec((), accumulated(gradients[0].dtype))


@dataclass(frozen=True)
class ClipByNorm(Op, name="clip_by_norm"):
    """gradient · min(1, max_norm / norm) (Pascanu et al. 2013)."""

    max_norm: float
    in_place = {0: 0}

    def infer(self, gradient: Spec, norm: Spec) -> Spec:
        if norm.shape != () or self.max_norm <= 0:
            raise ShapeError(
                f"clip_by_norm: norm {norm}, max_norm {self.max_norm}; wanted a scalar and a number above 0"
            )
        return gradient
