"""Rows of the elementwise family; the oracles are Python's math and scipy, element by element."""

from __future__ import annotations

import math

import numpy as np

from edge_sdk.ops.elementwise import (
    Abs,
    Add,
    Clip,
    Div,
    Exp,
    Log,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Sqrt,
    Square,
    Sub,
    SumLike,
)
from op_cases.case import Case, away_from, normal

A, B = normal(2, 3, 4, 5, seed=1), normal(2, 3, 4, 5, seed=2)
ROW, COLUMN, NUMBER = normal(5, seed=3), normal(4, 1, seed=4), normal(seed=5)
POSITIVE = np.abs(normal(3, 7, seed=6)) + np.float32(0.5)
APART = away_from(A, 0.0)


def by_element(function):
    """Apply a function of Python floats to every element, by its own broadcasting loop."""
    return np.vectorize(function, otypes=[np.float64])


def pairs(name, op, function, b=B, *, both=(0, 1)):
    """Rows of equal shapes and of each way to broadcast."""
    oracle = by_element(function)
    return [
        Case(name, op, (A, b), oracle, both, symbolic_batch=False),
        Case(f"{name}-row", op, (A, away_from(ROW, 0.0)), oracle, both),
        Case(f"{name}-column", op, (A, away_from(COLUMN, 0.0)), oracle, both),
        Case(f"{name}-number", op, (A, away_from(NUMBER, 0.0)), oracle, both),
        Case(f"{name}-broadcast-first", op, (away_from(ROW, 0.0), APART), oracle, both),
    ]


CASES = [
    *pairs("add", Add(), lambda a, b: a + b),
    *pairs("sub", Sub(), lambda a, b: a - b),
    *pairs("mul", Mul(), lambda a, b: a * b),
    *pairs("div", Div(), lambda a, b: a / b, away_from(B, 0.0, margin=0.3)),
    *pairs("maximum", Maximum(), max),
    *pairs("minimum", Minimum(), min),
    Case("maximum-equal", Maximum(), (A, A.copy()), lambda a, b: a),
    Case("add-integers", Add(), (np.arange(6), np.array(3)), lambda a, b: [3, 4, 5, 6, 7, 8]),
    Case("add-relu", Add("relu"), (APART, np.zeros_like(A)), by_element(lambda a, b: max(a + b, 0)), (0,)),
    Case("add-relu6", Add("relu6"), (APART * 5, np.zeros_like(A)), by_element(lambda a, b: min(max(a, 0), 6)), (0,)),
    Case("add-relu-row", Add("relu"), (APART, np.zeros(5, np.float32)), by_element(lambda a, b: max(a + b, 0)), (0,)),
    Case("neg", Neg(), (A,), by_element(lambda x: -x), (0,), symbolic_batch=True),
    Case("exp", Exp(), (A,), by_element(math.exp), (0,), symbolic_batch=True),
    Case("log", Log(), (POSITIVE,), by_element(math.log), (0,), symbolic_batch=True),
    Case("sqrt", Sqrt(), (POSITIVE,), by_element(math.sqrt), (0,), symbolic_batch=True),
    Case("square", Square(), (A,), by_element(lambda x: x**2), (0,), symbolic_batch=True),
    Case("abs", Abs(), (APART,), by_element(math.fabs), (0,), symbolic_batch=True),
    Case("abs-zero", Abs(), (np.zeros(3, np.float32),), lambda x: [0, 0, 0]),
    Case("clip", Clip(-0.5, 1.0), (away_from(A, -0.5, 1.0),), by_element(lambda x: min(max(x, -0.5), 1)), (0,)),
    Case("sum-like-row", SumLike(), (A, ROW), lambda x, like: np.einsum("abcd->d", x), (0,)),
    Case("sum-like-column", SumLike(), (A, COLUMN), lambda x, like: np.einsum("abcd->c", x)[:, None], (0,)),
    Case("sum-like-number", SumLike(), (A, NUMBER), lambda x, like: math.fsum(x.ravel()), (0,)),
]
