"""The numbers of optimizers' formulas that stay the same from step to step: the structs of rules.cuh."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.kernels.gpu.launch import number
from edge_sdk.kernels.gpu.structs import structure
from edge_sdk.ops.update import (
    AdamUpdate,
    GroupedAdamUpdate,
    GroupedRMSPropUpdate,
    GroupedSGDUpdate,
    LinearAdamUpdate,
    LinearRMSPropUpdate,
    LinearSGDUpdate,
    RMSPropUpdate,
    SGDUpdate,
)

SGD = SGDUpdate | LinearSGDUpdate | GroupedSGDUpdate
Adam = AdamUpdate | LinearAdamUpdate | GroupedAdamUpdate
RMSProp = RMSPropUpdate | LinearRMSPropUpdate | GroupedRMSPropUpdate


def sgd_numbers(op: SGD, dtype: str) -> np.void:
    """Return the struct SgdNumbers for weights of a dtype."""
    return _struct(dtype, op.momentum, op.weight_decay, op.nesterov)


def adam_numbers(op: Adam, dtype: str) -> np.void:
    """Return the struct AdamNumbers: 1 - β and ln β are rounded once, not made of rounded numbers."""
    decay, decoupled = (0.0, op.weight_decay) if op.decoupled else (op.weight_decay, 0.0)
    averages = [each for beta in (op.beta1, op.beta2) for each in (beta, 1 - beta, _logarithm(beta))]
    return _struct(dtype, *averages, op.epsilon, decay, decoupled)


def rmsprop_numbers(op: RMSProp, dtype: str) -> np.void:
    """Return the struct RmspropNumbers."""
    return _struct(dtype, op.decay, 1 - op.decay, op.epsilon, op.momentum, op.weight_decay)


def _logarithm(beta: float) -> float:
    return math.log(beta) if beta > 0 else -math.inf


def _struct(dtype: str, *numbers: float) -> np.void:
    kind = number(0, dtype).dtype
    return structure(np.dtype([(f"n{index}", kind) for index in range(len(numbers))]), *numbers)
