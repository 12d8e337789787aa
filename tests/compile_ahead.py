"""Compiles kernels of the rows in op_cases/ and int8_cases.py into the user's cache, from the last one back.

The whole suite is a minute's work for every two that the compiler takes, on one core. conftest.py starts this program
beside it: tests begin with what is compiled last here, and find the rest in the cache when they come to it. Nothing
depends on it: what is not there yet, a test compiles itself.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import numpy as np
from int8_cases import CASES as INT8_CASES
from int8_cases import WIDE_CASES, Int8Case
from kernel_calls import call_kernel
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.kernel import applicable_kernels, load_device
from edge_sdk.quantization.profile import PROFILES
from edge_sdk.session import Session
from edge_sdk.spec import Spec


def stored_integers(case: Int8Case) -> None:
    """Run a row on integers by every arithmetic."""
    graph, weights, feeds = case.program()
    for profile in PROFILES:
        Session(graph, weights, "cpu", profile=profile).run(feeds)


def real_numbers(case: Case) -> None:
    """Run a row by every kernel that can."""
    inputs = [np.array(x, np.float32 if x.dtype.kind == "f" else x.dtype, order="C") for x in case.inputs]
    for kernel in applicable_kernels(case.op, "cpu", [Spec(x.shape, x.dtype.name) for x in inputs]):
        call_kernel(kernel, case.op, inputs)


def work() -> Iterator[Callable[[], None]]:
    """All rows: those on 16 bits, on 8 bits and on real numbers."""
    for row in reversed([*INT8_CASES, *WIDE_CASES]):
        yield lambda row=row: stored_integers(row)
    for row in reversed(CASES):
        yield lambda row=row: real_numbers(row)


def main() -> None:
    """Compile; what goes wrong with a row is for its test to say."""
    load_device("cpu")
    for compile_row in work():
        with contextlib.suppress(Exception):
            compile_row()


if __name__ == "__main__":
    sys.exit(main())
