"""Rows of the updates of many parameters: the optimizer's rule, one number of one parameter after the other."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.update import GroupedAdamUpdate, GroupedRMSPropUpdate, GroupedSGDUpdate
from op_cases.case import Case, normal
from op_cases.small_families import RATE, STEP, adam, by_parameter, plain_sgd, rmsprop, sgd

# Scalars, vectors that are no whole registers, nothing at all, and more than one piece (4096 numbers).
SHAPES = ((), (7,), (2, 3, 5), (0,), (1,), (64, 3, 3, 11), (16,), (9001,))


def of_each(rule, shared, width):
    """The rule for one number, on all numbers of each member of `width` inputs behind the `shared` ones."""

    def oracle(*inputs):
        rate, *step = inputs[:shared]
        results = []
        for first in range(shared, len(inputs), width):
            weight, gradient, *state = inputs[first : first + width]
            new = by_parameter(rule)(weight, gradient, rate, *state, *step) if weight.size else (weight, *state)
            results += [result.reshape(weight.shape) for result in new]
        return tuple(results)

    return oracle


def parameters(signed, positive):
    """For each shape weight, gradient and other `signed` numbers, then `positive` ones."""
    return tuple(
        array if kind < signed else np.abs(array)
        for number, shape in enumerate(SHAPES)
        for kind in range(signed + positive)
        for array in (normal(*shape, seed=100 * number + kind).reshape(shape),)
    )


CASES = [
    Case(
        "grouped-sgd",
        GroupedSGDUpdate(0.9, nesterov=True, weight_decay=0.01),
        (RATE, *parameters(3, 0)),
        of_each(sgd, 1, 3),
    ),
    Case("grouped-sgd-plain", GroupedSGDUpdate(), (RATE, *parameters(3, 0)), of_each(plain_sgd, 1, 3)),
    Case(
        "grouped-adam",
        GroupedAdamUpdate(weight_decay=0.1),
        (RATE, STEP, *parameters(3, 1)),
        of_each(lambda *a: adam(*a, decay=0.1), 2, 4),
    ),
    Case(
        "grouped-adamw",
        GroupedAdamUpdate(weight_decay=0.1, decoupled=True),
        (RATE, STEP, *parameters(3, 1)),
        of_each(lambda *a: adam(*a, decoupled=0.1), 2, 4),
    ),
    Case(
        "grouped-rmsprop",
        GroupedRMSPropUpdate(decay=0.9, momentum=0.5),
        (RATE, *parameters(2, 2)),
        of_each(rmsprop, 1, 4),
    ),
]
