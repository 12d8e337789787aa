"""Which device the tests run on, and how much its sums may err."""

from __future__ import annotations

from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver

IEEE, CUT_OFF = 2.0**-24, 2.0**-23


def is_emulated() -> bool:
    """Whether the device in use is a processor."""
    return isinstance(current_driver(), EmulatedDriver)


def error_of_addition() -> float:
    """Return the relative error of one addition of float32 in a long sum.

    Real tensor cores cut sums off where the emulation rounds them, so that each may err twice as much (Fasi et al.
    2021, "Numerical behavior of NVIDIA tensor cores").
    """
    return IEEE if is_emulated() else CUT_OFF
