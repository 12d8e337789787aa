"""Rows of the updates of dense layers: the optimizer's rule, one number after the other, on the gradient dyᵀ · x."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.update import LinearAdamUpdate, LinearRMSPropUpdate, LinearSGDUpdate
from op_cases.case import Case, normal
from op_cases.small_families import RATE, STEP, adam, by_parameter, plain_sgd, rmsprop, sgd


def of_dense_layer(rule):
    """The rule for one number, on all of them: the weight (out, in), dy (n, out), x (n, in) and the rest."""

    def oracle(weight, dy, x, *rest):
        gradient = sum(np.outer(slopes, seen) for slopes, seen in zip(dy, x, strict=True))
        return tuple(array.reshape(weight.shape) for array in by_parameter(rule)(weight, gradient, *rest))

    return oracle


def layer(rows, outputs, inputs):
    """Weight, dy and x; then a first moment and a second one."""
    shape = (outputs, inputs)
    factors = (normal(*shape, seed=51), normal(rows, outputs, seed=52), normal(rows, inputs, seed=53))
    return factors, (normal(*shape, seed=54), np.abs(normal(*shape, seed=55)))


SMALL, (M, V) = layer(3, 5, 7)
# Tiles are 8 × 32, made 16 panels at a time; both factors end in the middle of one, and rows are many.
LARGE, (LARGE_M, LARGE_V) = layer(140, 21, 601)

CASES = [
    Case(
        "linear-sgd",
        LinearSGDUpdate(0.9, nesterov=True, weight_decay=0.01),
        (*SMALL, RATE, M),
        of_dense_layer(sgd),
    ),
    Case("linear-sgd-large", LinearSGDUpdate(), (*LARGE, RATE, LARGE_M), of_dense_layer(plain_sgd)),
    Case(
        "linear-adam",
        LinearAdamUpdate(weight_decay=0.1),
        (*SMALL, RATE, M, V, STEP),
        of_dense_layer(lambda *a: adam(*a, decay=0.1)),
    ),
    Case(
        "linear-adamw-large",
        LinearAdamUpdate(weight_decay=0.1, decoupled=True),
        (*LARGE, RATE, LARGE_M, LARGE_V, STEP),
        of_dense_layer(lambda *a: adam(*a, decoupled=0.1)),
    ),
    Case(
        "linear-rmsprop",
        LinearRMSPropUpdate(decay=0.9, momentum=0.5),
        (*SMALL, RATE, V, M),
        of_dense_layer(rmsprop),
    ),
]
