"""Two runs of the same launches: threads and blocks in both orders where a processor runs them one by one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver


@contextmanager
def other_order() -> Generator[None, None, None]:
    """Let blocks and threads run from the last to the first; a GPU has them in an order of its own each time."""
    driver = current_driver()
    if not isinstance(driver, EmulatedDriver):
        yield
        return
    driver.reversed = True
    try:
        yield
    finally:
        driver.reversed = False
