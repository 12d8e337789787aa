"""Dynamic loss scaling: what is decided of a step whose loss was multiplied so that small gradients survive in float16.

Micikevicius et al. 2018, "Mixed Precision Training", 3.2. All of it happens on the device, in the graph of the step.
The norm of all gradients is the one reduction that tells whether each of them is a number: a single infinity or NaN
makes it one too.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.errors import ShapeError
from edge_sdk.op import Members, Op
from edge_sdk.spec import Spec

LEAST_SCALE, LARGEST_SCALE = 2.0**-24, 2.0**24
"""Where a scale stops, so that neither it nor 1 / scale ever becomes 0 or infinite."""


@dataclass(frozen=True)
class GradientFactor(Op, name="gradient_factor"):
    """What gradients are multiplied by before they are applied: 1 / scale · min(1, max_norm / (norm / scale)).

    `norm` is that of the gradients as they are, of a loss multiplied by `scale` (1 where there is none); without a
    `max_norm` nothing is clipped. The factor is 0 where the norm is not finite: that skips the step.
    """

    max_norm: float | None = None

    def infer(self, norm: Spec, scale: Spec | None = None) -> Spec:
        if norm.shape != () or (scale is not None and scale != norm):
            raise ShapeError(f"gradient_factor: norm is {norm}, scale {scale}; wanted two scalars of one type")
        if self.max_norm is not None and self.max_norm <= 0:
            raise ShapeError(f"gradient_factor: max_norm is {self.max_norm}, wanted a number above 0")
        return norm


@dataclass(frozen=True)
class LossScaleUpdate(Op, name="loss_scale_update"):
    """The scale of the next step, and how many steps were good since it last changed.

    scale · backoff, and 0, where the norm is not finite; scale · growth, and 0, after `interval` good steps; else the
    scale as it is, and one step more. The scale stays between 2⁻²⁴ and 2²⁴.
    """

    growth: float = 2.0
    backoff: float = 0.5
    interval: int = 2000
    in_place = {0: 1, 1: 2}

    def infer(self, norm: Spec, scale: Spec, good_steps: Spec) -> tuple[Spec, Spec]:
        if norm.shape != () or scale != norm or good_steps != Spec((), "int64"):
            raise ShapeError(
                f"loss_scale_update: norm is {norm}, scale {scale}, good_steps {good_steps}; wanted two scalars of one "
                "type and i64[]"
            )
        if self.growth < 1 or not 0 < self.backoff <= 1 or self.interval < 1:
            raise ShapeError(
                f"loss_scale_update: growth {self.growth}, backoff {self.backoff}, interval {self.interval}; wanted 1 "
                "or more, a number in (0, 1], and 1 or more"
            )
        return scale, good_steps


@dataclass(frozen=True)
class AcceptUpdates(Op, name="accept_updates"):
    """The new value of each member (old, new), or the old one where the factor is 0: a step that is skipped."""

    in_place = {0: 0}

    @property
    def members(self) -> Members:
        return Members(shared=1, inputs=2, outputs=1)

    def infer(self, factor: Spec, *pairs: Spec) -> tuple[Spec, ...]:
        old, new = pairs[::2], pairs[1::2]
        if factor.shape != () or not pairs or old != new:
            shown = ", ".join(map(str, pairs)) or "nothing"
            raise ShapeError(f"accept_updates: factor is {factor}, then {shown}; wanted a scalar, then equal pairs")
        return old
