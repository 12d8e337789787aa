"""Rows of the activation family; the oracles are scipy.special and the definitions in Python's math."""

from __future__ import annotations

import math

import numpy as np
import scipy.special

from edge_sdk.ops.activation import (
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    LogSoftmax,
    PRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)
from op_cases.case import Case, away_from, normal
from op_cases.elementwise import by_element

X = away_from(normal(2, 3, 4, 5, seed=11, scale=3), 0.0, 6.0, -3.0, 3.0)
LARGE = np.array([[-1000, -30, -1, 0, 1, 30, 1000]], np.float32)
SLOPES = normal(5, seed=12)
ROWS = normal(4, 9, seed=13, scale=3)


def tanh_gelu(x):
    """The tanh form of the paper, section 2."""
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def log_softmax(x):
    """Scipy's."""
    return scipy.special.log_softmax(x, axis=-1)


def softmax(x):
    """Scipy's."""
    return scipy.special.softmax(x, axis=-1)


CASES = [
    Case("relu", Relu(), (X,), by_element(lambda x: max(0, x)), (0,), symbolic_batch=True),
    Case("relu6", Relu6(), (X,), by_element(lambda x: 0 if x < 0 else min(x, 6)), (0,), symbolic_batch=True),
    Case("leaky-relu", LeakyRelu(0.1), (X,), by_element(lambda x: x if x > 0 else 0.1 * x), (0,)),
    Case("prelu", PRelu(), (X, SLOPES), by_element(lambda x, s: x if x > 0 else s * x), (0, 1)),
    Case("sigmoid", Sigmoid(), (X,), scipy.special.expit, (0,), symbolic_batch=True),
    Case("sigmoid-large", Sigmoid(), (LARGE,), scipy.special.expit),
    Case("hard-sigmoid", HardSigmoid(), (X,), by_element(lambda x: min(max((x + 3) / 6, 0), 1)), (0,)),
    Case("tanh", Tanh(), (X,), by_element(math.tanh), (0,), symbolic_batch=True),
    Case("hard-swish", HardSwish(), (X,), by_element(lambda x: x * min(max((x + 3) / 6, 0), 1)), (0,)),
    Case("silu", Silu(), (X,), lambda x: x * scipy.special.expit(x), (0,), symbolic_batch=True),
    Case("silu-large", Silu(), (LARGE,), lambda x: x * scipy.special.expit(x)),
    Case("gelu", Gelu(), (X,), lambda x: x * scipy.special.ndtr(x), (0,), symbolic_batch=True),
    Case("gelu-tanh", Gelu(approximate=True), (X,), by_element(tanh_gelu), (0,)),
    Case("softmax", Softmax(), (ROWS,), softmax, (0,), symbolic_batch=True),
    Case("softmax-rank-3", Softmax(), (normal(2, 3, 4, seed=14),), softmax, (0,)),
    Case("softmax-large", Softmax(), (LARGE,), softmax),
    Case("log-softmax", LogSoftmax(), (ROWS,), log_softmax, (0,), symbolic_batch=True),
    Case("log-softmax-large", LogSoftmax(), (LARGE,), log_softmax),
]
