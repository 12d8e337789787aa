"""What a Session asks of the device's memory."""

from __future__ import annotations

from edge_sdk.kernels.gpu.driver import Driver, current_driver


def device_memory() -> Driver:
    """Return the memory of the device in use; raises DeviceError where there is none."""
    return current_driver()
