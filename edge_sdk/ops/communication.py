"""Means over the processes of a run (edge_sdk/parallel), in two halves, so that other nodes can run between them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.errors import ShapeError
from edge_sdk.op import Members, Op
from edge_sdk.spec import FLOATS, HALVES, Spec


@dataclass(frozen=True)
class StartMean(Op, name="start_mean"):
    """Begin to replace each array by its mean over all processes; only `finish_mean` may read the results.

    Every process must run the same graph: they meet here.
    """

    in_place = {0: 0}
    pure = False

    @property
    def members(self) -> Members:
        return Members(shared=0, inputs=1, outputs=1)

    def infer(self, *arrays: Spec) -> tuple[Spec, ...]:
        return _checked("start_mean", arrays)


@dataclass(frozen=True)
class FinishMean(Op, name="finish_mean"):
    """The means that `start_mean` began with, once they are there."""

    in_place = {0: 0}
    pure = False

    @property
    def members(self) -> Members:
        return Members(shared=0, inputs=1, outputs=1)

    def infer(self, *arrays: Spec) -> tuple[Spec, ...]:
        return _checked("finish_mean", arrays)


def _checked(name: str, arrays: tuple[Spec, ...]) -> tuple[Spec, ...]:
    unfit = [spec for spec in arrays if spec.dtype not in FLOATS | HALVES]
    if unfit or not arrays:
        raise ShapeError(f"{name}: {unfit[0] if unfit else 'no array'}; wanted arrays of floating-point numbers")
    return arrays
