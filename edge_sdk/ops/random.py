"""Randomness that depends on a seed, a step and a position, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.spec import Spec, Value


@dataclass(frozen=True)
class Dropout(Op, name="dropout"):
    """Inverted dropout (Srivastava et al. 2014): each element of x is 0 with probability `rate`, else x / (1 - rate).

    Without `step` (int64 scalar) it is the identity, the form for inference. With it, element i is dropped where
    splitmix64(seed · 2⁴⁸ + step, i) falls below rate: the same mask for any number of threads, and for the gradient,
    which is this operator applied to dy.
    """

    rate: float
    seed: int = 0
    in_place = {0: 0}

    def infer(self, x: Spec, step: Spec | None = None) -> Spec:
        if not 0 <= self.rate < 1:
            raise ShapeError(f"dropout: rate {self.rate} is not in [0, 1)")
        if step is not None and (step.shape != () or step.dtype != "int64"):
            raise ShapeError(f"dropout: step is {step}, wanted i64[]")
        return x

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        if len(node.inputs) == 1:
            return [dy]
        return [g.add(self, dy, node.inputs[1]), None]
