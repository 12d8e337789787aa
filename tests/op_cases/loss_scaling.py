"""Rows of the loss scaling family, and of optimizers whose gradients are multiplied by a factor, or ignored."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.loss_scaling import AcceptUpdates, GradientFactor, LossScaleUpdate
from edge_sdk.ops.update import (
    AdamUpdate,
    GroupedAdamUpdate,
    GroupedRMSPropUpdate,
    GroupedSGDUpdate,
    RMSPropUpdate,
    SGDUpdate,
)
from op_cases.case import Case, normal
from op_cases.small_families import RATE, STEP, G, M, V, W, adam, by_parameter, rmsprop, sgd

NORM, SCALE, HALF, SKIP = (np.array(value, np.float32) for value in (6.0, 4.0, 0.5, 0.0))
INFINITE, NO_NUMBER = np.array(np.inf, np.float32), np.array(np.nan, np.float32)
GOOD = np.array(41, np.int64)
BROKEN = np.array([1, np.inf, np.nan, -np.inf, 2, 3, 4], np.float32)
PAIRS = (normal(3, 5, seed=1), normal(3, 5, seed=2), normal(9001, seed=3), normal(9001, seed=4), W, G)
SKIPS = "-skipped"


def with_factor(rule):
    """The rule for one number, its gradient (the second) multiplied by the factor (the last)."""
    return by_parameter(lambda w, g, *rest: rule(w, g * rest[-1], *rest[:-1]))


def of_two(rule, shared, width):
    """The rule on each of two parameters, behind what is shared, of which the factor is the last."""

    def oracle(*inputs):
        rate, *step, factor = inputs[:shared]
        results = []
        for first in (shared, shared + width):
            weight, gradient, *state = inputs[first : first + width]
            results += with_factor(rule)(weight, gradient, rate, *state, *step, factor)
        return tuple(results)

    return oracle


def weight_and_state(*places):
    """A step that is skipped gives back what came in at these places."""
    return lambda *inputs: tuple(inputs[place] for place in places)


NESTEROV = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
RMS = {"decay": 0.9, "momentum": 0.5}
CASES = [
    Case("gradient-factor", GradientFactor(), (NORM, SCALE), lambda norm, scale: 0.25),
    Case("gradient-factor-clipped", GradientFactor(1.0), (NORM, SCALE), lambda norm, scale: 1 / (6 / 4) / 4),
    Case("gradient-factor-below-the-limit", GradientFactor(2.0), (NORM, SCALE), lambda norm, scale: 0.25),
    Case("gradient-factor-unscaled", GradientFactor(2.0), (NORM,), lambda norm: 1 / 3),
    Case("gradient-factor-of-nothing", GradientFactor(2.0), (SKIP, SCALE), lambda norm, scale: 0.25),
    Case("gradient-factor-infinite", GradientFactor(2.0), (INFINITE, SCALE), lambda norm, scale: 0),
    Case("gradient-factor-no-number", GradientFactor(), (NO_NUMBER, SCALE), lambda norm, scale: 0),
    Case("loss-scale-kept", LossScaleUpdate(interval=43), (NORM, SCALE, GOOD), lambda n, scale, good: (4, 42)),
    Case("loss-scale-grows", LossScaleUpdate(interval=42), (NORM, SCALE, GOOD), lambda n, scale, good: (8, 0)),
    Case("loss-scale-shrinks", LossScaleUpdate(), (INFINITE, SCALE, GOOD), lambda n, scale, good: (2, 0)),
    Case("loss-scale-no-number", LossScaleUpdate(), (NO_NUMBER, SCALE, GOOD), lambda n, scale, good: (2, 0)),
    Case(
        "loss-scale-largest",
        LossScaleUpdate(interval=1),
        (NORM, np.array(2.0**24, np.float32), GOOD),
        lambda n, scale, good: (2**24, 0),
    ),
    Case(
        "loss-scale-least",
        LossScaleUpdate(),
        (NO_NUMBER, np.array(2.0**-24, np.float32), GOOD),
        lambda n, scale, good: (2**-24, 0),
    ),
    Case("accept-updates", AcceptUpdates(), (HALF, *PAIRS), lambda factor, *pairs: pairs[1::2]),
    Case("accept-updates-not", AcceptUpdates(), (SKIP, *PAIRS), lambda factor, *pairs: pairs[::2]),
    Case("accept-updates-steps", AcceptUpdates(), (HALF, GOOD, GOOD + 1), lambda factor, old, new: 42),
    Case("sgd-factor", SGDUpdate(**NESTEROV), (W, G, RATE, M, HALF), with_factor(sgd)),
    Case("adam-factor", AdamUpdate(), (W, G, RATE, M, V, STEP, HALF), with_factor(adam)),
    Case("rmsprop-factor", RMSPropUpdate(**RMS), (W, G, RATE, V, M, HALF), with_factor(rmsprop)),
    Case(f"sgd{SKIPS}", SGDUpdate(0.9, weight_decay=0.1), (W, BROKEN, RATE, M, SKIP), weight_and_state(0, 3)),
    Case(f"adam{SKIPS}", AdamUpdate(), (W, BROKEN, RATE, M, V, STEP, SKIP), weight_and_state(0, 3, 4)),
    Case(f"rmsprop{SKIPS}", RMSPropUpdate(), (W, BROKEN, RATE, V, M, SKIP), weight_and_state(0, 3, 4)),
    Case(
        "grouped-sgd-factor",
        GroupedSGDUpdate(**NESTEROV, factored=True),
        (RATE, HALF, W, G, M, M, W, G),
        of_two(sgd, 2, 3),
    ),
    Case(
        "grouped-adam-factor",
        GroupedAdamUpdate(factored=True),
        (RATE, STEP, HALF, W, G, M, V, G, W, M, V),
        of_two(adam, 3, 4),
    ),
    Case(
        "grouped-rmsprop-factor",
        GroupedRMSPropUpdate(**RMS, factored=True),
        (RATE, HALF, W, G, V, M, G, W, V, M),
        of_two(rmsprop, 2, 4),
    ),
    Case(
        f"grouped-sgd{SKIPS}",
        GroupedSGDUpdate(factored=True),
        (RATE, SKIP, W, BROKEN, M, M, G, W),
        weight_and_state(2, 4, 5, 7),
    ),
    Case(
        f"grouped-adam{SKIPS}",
        GroupedAdamUpdate(factored=True),
        (RATE, STEP, SKIP, W, BROKEN, M, V, G, W, M, V),
        weight_and_state(3, 5, 6, 7, 9, 10),
    ),
    Case(
        f"grouped-rmsprop{SKIPS}",
        GroupedRMSPropUpdate(factored=True),
        (RATE, SKIP, W, BROKEN, V, M, G, W, V, M),
        weight_and_state(2, 4, 5, 6, 8, 9),
    ),
]
