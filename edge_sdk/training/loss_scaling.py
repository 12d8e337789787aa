"""Gradients in 16 bits: how the loss is scaled for them, and what of a step is kept where they are no numbers.

All of it is part of the step's graph, and its state is made of parameters: the host decides nothing, and a checkpoint
has all that the next step needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.ops.loss_scaling import AcceptUpdates, GradientFactor, LossScaleUpdate
from edge_sdk.ops.shape import Cast
from edge_sdk.ops.update import GlobalNorm
from edge_sdk.spec import HALVES, Spec, Value
from edge_sdk.workspace import Workspace

LOSS_SCALE = "loss_scale"
"""The parameter that the loss is multiplied by (float32 scalar)."""
GOOD_STEPS = "good_steps"
"""The parameter that counts steps since the scale last changed (int64 scalar)."""
FIRST_SCALE = 2.0**16
"""Larger than most networks bear: it is halved until gradients are finite, which takes a few steps."""


def add_loss_scale(g: Builder, workspace: Workspace) -> Value:
    """Return the scale, a new parameter: the seed of the gradients."""
    workspace[LOSS_SCALE] = np.asarray(FIRST_SCALE, np.float32)
    return g.param(LOSS_SCALE, Spec((), "float32"))


def as_stored(g: Builder, gradients: Sequence[Value]) -> list[Value]:
    """Return gradients of parameters in the 16 bits that they are computed in: optimizers widen them as they read.

    The casts that a gradient went back through are dropped, where nothing is in the way.
    """
    casts = {node.output: node for node in g.nodes if isinstance(node.op, Cast)}
    dropped = {
        value for value in gradients if value in casts and g.spec(casts[value].inputs[0]).dtype in HALVES
    }  # fmt: skip
    g.nodes[:] = [node for node in g.nodes if node.outputs[0] not in dropped]
    for value in dropped:
        del g.specs[value]
    return [casts[value].inputs[0] if value in dropped else value for value in gradients]


def add_factor(
    g: Builder, workspace: Workspace, gradients: Sequence[Value], scale: Value | None, max_norm: float | None
) -> Value:
    """Return what gradients are multiplied by, 0 where one of them is no number, and update the scale if there is one.

    `max_norm` clips the true gradients: those of the loss itself.
    """
    norm = g.add(GlobalNorm(), *gradients, name="gradient_norm")
    if scale is None:
        return g.add(GradientFactor(max_norm), norm)
    good = g.param(GOOD_STEPS, Spec((), "int64"))
    workspace[good] = np.asarray(0, np.int64)
    new_scale, new_good = g.add_multi(LossScaleUpdate(), norm, scale, good, name=f"{LOSS_SCALE}:updated")
    g.update(scale, new_scale)
    g.update(good, new_good)
    return g.add(GradientFactor(max_norm), norm, scale)


def keep_where_skipped(g: Builder, factor: Value, states: Sequence[Value]) -> None:
    """Let these states, which the graph updates, stay as they are where the factor is 0.

    They are the count of steps, and running statistics, into which the infinite activations of a single batch would
    otherwise go for good.
    """
    by_dtype: dict[str, list[Value]] = defaultdict(list)
    for state in states:
        by_dtype[g.spec(state).dtype].append(state)
    for alike in by_dtype.values():
        pairs = [value for state in alike for value in (state, g.updates[state])]
        accepted = g.add_multi(AcceptUpdates(), factor, *pairs, name="accepted")
        g.updates.update(zip(alike, accepted, strict=True))
