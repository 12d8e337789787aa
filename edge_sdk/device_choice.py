"""Which device computes: the one that was asked for, or the best that is here."""

from __future__ import annotations

from collections.abc import Callable

from edge_sdk.device_memory import ON_HOST, memory_of
from edge_sdk.errors import DeviceError, UsageError, suggestion
from edge_sdk.kernel import DEVICES

AUTO = "auto"
"""The GPU where CuPy, a driver and a GPU are here, else the CPU."""


def chosen_device(wanted: str, say: Callable[[str], None] = lambda _: None) -> str:
    """Return the device that `wanted` names, which is here; of "auto", `say` is told what it is and why.

    Raises:
        DeviceError: it is not here; the message says in one line what is missing and what to do.
        UsageError: there is no such device.
    """
    if wanted not in (*DEVICES, AUTO):
        known = (*DEVICES, AUTO)
        raise UsageError(f"device {wanted!r} is not one of {', '.join(known)}{suggestion(wanted, known)}")
    if wanted != AUTO:
        memory_of(wanted)
        return wanted
    try:
        found = memory_of("gpu").description
    except DeviceError as error:
        say(f"device auto is the CPU: {error}")
        return "cpu"
    say(f"device auto is the GPU: {found}")
    return "gpu"


def described(device: str) -> str:
    """Return a device's name, and for a GPU which one: "cpu", or "gpu (NVIDIA H100 PCIe, 80 GiB, sm_90)"."""
    return device if device in ON_HOST else f"{device} ({memory_of(device).description})"
