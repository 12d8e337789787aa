"""Rows of the control, indexing, random, quantization and update families."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.ops.control import Full, FullLike, Identity, StopGradient
from edge_sdk.ops.indexing import Gather, OneHot
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.update import AdamUpdate, ClipByNorm, GlobalNorm, RMSPropUpdate, SGDUpdate
from op_cases.case import Case, normal

X = normal(3, 5, seed=41)
INDICES = np.array([[2, 0], [1, 2]], np.int32)
W, G, M, V = normal(7, seed=42), normal(7, seed=43), normal(7, seed=44), np.abs(normal(7, seed=45))
RATE, STEP = np.array(0.1, np.float32), np.array(3, np.int64)
MASK64 = 2**64 - 1


def splitmix64(state):
    """SplitMix64 with Python's whole numbers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def dropped(x, step):
    """Dropout of rate 0.4 and seed 7, element by element."""
    state = splitmix64((7 << 48) + int(step))
    kept = [(splitmix64((state + i) & MASK64) >> 40) / 2**24 >= 0.4 for i in range(x.size)]
    return np.where(np.reshape(kept, x.shape), x / 0.6, 0)


def by_parameter(function):
    """Apply an optimizer's rule for one number to each; returns a tuple of arrays."""
    return lambda *arrays: tuple(
        np.array(column) for column in zip(*(function(*numbers) for numbers in np.broadcast(*arrays)), strict=True)
    )


def sgd(w, g, rate, v):
    """torch.optim.SGD's documented rule, momentum 0.9, Nesterov, weight decay 0.01."""
    d = g + 0.01 * w
    v = 0.9 * v + d
    return w - rate * (d + 0.9 * v), v


def plain_sgd(w, g, rate, v):
    """Without momentum."""
    return w - rate * g, g


def adam(w, g, rate, m, v, step, *, decay=0.0, decoupled=0.0):
    """Algorithm 1 of Kingma and Ba, and algorithm 2 of Loshchilov and Hutter."""
    g = g + decay * w
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    step_size = rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    # epsilon of the corrected form
    change = step_size * m / (math.sqrt(v) + 1e-8 * math.sqrt(1 - 0.999**step))
    return w - rate * decoupled * w - change, m, v


def rmsprop(w, g, rate, s, v):
    """torch.optim.RMSprop's documented rule, momentum 0.5."""
    s = 0.9 * s + 0.1 * g * g
    v = 0.5 * v + g / (math.sqrt(s) + 1e-8)
    return w - rate * v, s, v


CASES = [
    Case("stop-gradient", StopGradient(), (X,), lambda x: x, symbolic_batch=True),
    Case("identity", Identity(), (X,), lambda x: x, (0,), symbolic_batch=True),
    Case("full", Full((2, 2), 1.5), (), lambda: [[1.5, 1.5], [1.5, 1.5]]),
    Case("full-like", FullLike(2.0), (X,), lambda x: [[2.0] * 5] * 3),
    Case("gather", Gather(), (X, INDICES), lambda x, i: [[x[2], x[0]], [x[1], x[2]]], (0,)),
    Case("gather-axis-1", Gather(axis=1), (X, np.array([4, 4, 0])), lambda x, i: x[:, [4, 4, 0]], (0,)),
    Case("one-hot", OneHot(3), (INDICES,), lambda i: [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 0, 1]]]),
    Case("one-hot-outside", OneHot(2), (np.array([5, -1, 1]),), lambda i: [[0, 0], [0, 0], [0, 1]]),
    Case("dropout-inference", Dropout(0.4, 7), (X,), lambda x: x, (0,), symbolic_batch=True),
    Case("dropout", Dropout(0.4, 7), (X, STEP), dropped, (0,)),
    Case(
        "quantize",
        Quantize(0.5, 3),
        (np.array([-100, -0.75, -0.25, 0.0, 0.25, 0.74, 100], np.float32),),
        lambda x: [-128, 1, 3, 3, 3, 4, 127],  # halves to even, as XNNPACK rounds
    ),
    Case("dequantize", Dequantize(0.5, 3), (np.array([-128, 3, 127], np.int8),), lambda x: [-65.5, 0, 62]),
    Case("sgd", SGDUpdate(0.9, nesterov=True, weight_decay=0.01), (W, G, RATE, M), by_parameter(sgd)),
    Case("sgd-plain", SGDUpdate(), (W, G, RATE, M), by_parameter(plain_sgd)),
    Case("adam", AdamUpdate(weight_decay=0.1), (W, G, RATE, M, V, STEP), by_parameter(lambda *a: adam(*a, decay=0.1))),
    Case(
        "adamw",
        AdamUpdate(weight_decay=0.1, decoupled=True),
        (W, G, RATE, M, V, STEP),
        by_parameter(lambda *a: adam(*a, decoupled=0.1)),
    ),
    Case("rmsprop", RMSPropUpdate(decay=0.9, momentum=0.5), (W, G, RATE, V, M), by_parameter(rmsprop)),
    Case(
        "global-norm", GlobalNorm(), (np.array([3.0], np.float32), np.array([0.0, 4.0], np.float32)), lambda a, b: 5.0
    ),
    Case("clip-by-norm", ClipByNorm(2.0), (W, np.array(4.0, np.float32)), lambda g, n: g / 2),
    Case("clip-by-norm-small", ClipByNorm(2.0), (W, np.array(1.0, np.float32)), lambda g, n: g),
]
