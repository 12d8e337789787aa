"""Rows of the communication family: what a process without others makes of its arrays. Several: tests/parallel."""

from __future__ import annotations

from edge_sdk.ops.communication import FinishMean, StartMean
from op_cases.case import Case, normal

ARRAYS = (normal(3, 5, seed=1), normal(9001, seed=2))

CASES = [
    Case("start-mean", StartMean(), ARRAYS, lambda *arrays: arrays),
    Case("start-mean-one", StartMean(), ARRAYS[:1], lambda array: array),
    Case("finish-mean", FinishMean(), ARRAYS, lambda *arrays: arrays),
]
