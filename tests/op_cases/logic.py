"""Rows of the logic family; the oracles are Python's operators, element by element."""

from __future__ import annotations

import operator

import numpy as np

from edge_sdk.ops.logic import Bitwise, Compare, Where
from op_cases.case import Case, normal

A = np.round(normal(2, 3, 4, seed=41) * 2).astype(np.float32)
B = np.round(normal(3, 4, seed=42) * 2).astype(np.float32)
BITS = np.array([[0, 1, 5], [127, -128, -1]], np.int8)
PLACES = np.array([1, 2, 3], np.int8)
TRUTHS = A > 0
RELATIONS = {
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip


def by_element(function, kind):
    """Apply a function of Python numbers to every element."""
    return np.vectorize(function, otypes=[kind])


CASES = [
    *(Case(f"compare-{name}", Compare(name), (A, B), by_element(f, bool)) for name, f in RELATIONS.items()),
    Case("bitwise-and", Bitwise("and"), (BITS, PLACES), by_element(operator.and_, np.int8)),
    Case("bitwise-or", Bitwise("or"), (BITS, PLACES), by_element(operator.or_, np.int8)),
    Case("bitwise-xor-of-truths", Bitwise("xor"), (TRUTHS, B > 0), by_element(operator.xor, bool)),
    Case("bitwise-shift-left", Bitwise("shift_left"), (BITS // 8, PLACES), by_element(operator.lshift, np.int8)),
    Case("bitwise-shift-right", Bitwise("shift_right"), (BITS, PLACES), by_element(operator.rshift, np.int8)),
    Case(
        "where", Where(), (TRUTHS, A, normal(3, 4, seed=43)), by_element(lambda c, a, b: a if c else b, float), (1, 2)
    ),
]
