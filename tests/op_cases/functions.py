"""Rows of the functions family; the oracles are Python's math and SciPy's erf, element by element."""

from __future__ import annotations

import math

import numpy as np
import scipy.special

from edge_sdk.ops.functions import Apply, Power, Remainder
from op_cases.case import Case, away_from, normal

X = normal(3, 4, 5, seed=31)
INSIDE = np.clip(normal(3, 7, seed=32, scale=0.4), -0.9, 0.9)
ABOVE_ONE = (1.2 + np.abs(normal(3, 7, seed=33))).astype(np.float32)
POSITIVE = (0.5 + np.abs(normal(3, 4, 5, seed=34))).astype(np.float32)
DIVISORS = away_from(normal(4, 5, seed=35), 0.0, margin=0.3)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.0, 3.2], np.float32)


def by_element(function):
    """Apply a function of Python floats to every element."""
    return np.vectorize(function, otypes=[np.float64])


def smooth(name, function, x):
    """A row whose gradient is checked."""
    return Case(name, Apply(name), (x,), by_element(function), (0,))


CASES = [
    Case("floor", Apply("floor"), (X,), by_element(math.floor), symbolic_batch=True),
    Case("ceil", Apply("ceil"), (X,), by_element(math.ceil)),
    Case("round-halves-to-even", Apply("round"), (HALVES,), by_element(round), symbolic_batch=True),
    Case("sign", Apply("sign"), (HALVES,), by_element(lambda v: (v > 0) - (v < 0))),
    Case("erf", Apply("erf"), (X,), scipy.special.erf, (0,)),
    smooth("sin", math.sin, X),
    smooth("cos", math.cos, X),
    smooth("tan", math.tan, INSIDE),
    smooth("arcsin", math.asin, INSIDE),
    smooth("arccos", math.acos, INSIDE),
    smooth("arctan", math.atan, X),
    smooth("sinh", math.sinh, X),
    smooth("cosh", math.cosh, X),
    smooth("arcsinh", math.asinh, X),
    smooth("arccosh", math.acosh, ABOVE_ONE),
    smooth("arctanh", math.atanh, INSIDE),
    Case("power", Power(), (POSITIVE, normal(3, 4, 5, seed=36)), by_element(math.pow), (0, 1)),
    Case("power-row", Power(), (POSITIVE, normal(5, seed=37)), by_element(math.pow), (0, 1)),
    Case("remainder", Remainder(), (X, DIVISORS), by_element(lambda a, b: a % b)),
    Case("remainder-truncated", Remainder(truncated=True), (X, DIVISORS), by_element(math.fmod)),
]
