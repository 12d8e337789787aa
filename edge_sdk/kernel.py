"""The registry that binds kernels to operator classes, per device."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.op import Op
from edge_sdk.spec import Spec

Function = TypeVar("Function", bound=Callable[..., None])

DEVICES = ("cpu", "reference")


@dataclass(frozen=True)
class Kernel:
    """One algorithm of one operator on one device.

    `function(op, out, *inputs)` writes into `out` (a tuple of arrays for an operator with several outputs) and
    allocates nothing of the size of the data; with `scratch` it also gets `scratch=(array, …)` of those specs.
    """

    function: Callable[..., None]
    algorithm: str
    scratch: Callable[..., tuple[Spec, ...]] | None
    when: Callable[..., bool] | None

    def scratch_specs(self, op: Op, inputs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Return what the kernel needs beside its outputs for inputs of these specs."""
        return self.scratch(op, *inputs) if self.scratch else ()


_KERNELS: dict[tuple[type[Op], str], list[Kernel]] = {}


def kernel(
    op: type[Op],
    device: str,
    *,
    algorithm: str = "",
    scratch: Callable[..., tuple[Spec, ...]] | None = None,
    when: Callable[..., bool] | None = None,
) -> Callable[[Function], Function]:
    """Register the decorated function as a kernel of `op` on `device`.

    Of several, a Session takes the first registered whose `when(op, *input specs)` holds; one without `when`
    always does, and so must come last.
    """

    def bind(function: Function) -> Function:
        known = _KERNELS.setdefault((op, device), [])
        if any(other.when is None for other in known):
            raise TypeError(
                f"{op.name} already has an unconditional {device} kernel; register {function.__name__} first"
            )
        known.append(Kernel(function, algorithm or function.__name__, scratch, when))
        return function

    return bind


def load_device(device: str) -> None:
    """Import the kernels of `device`, the core's only import by name; raises UsageError for an unknown one."""
    if device not in DEVICES:
        raise UsageError(f"device {device!r} is not one of {', '.join(DEVICES)}{suggestion(device, DEVICES)}")
    importlib.import_module(f"edge_sdk.kernels.{device}")


def find_kernel(op: Op, device: str, inputs: Sequence[Spec]) -> Kernel | None:
    """Return the kernel that a Session uses for `op` on inputs of these specs, or None when there is none."""
    for candidate in _KERNELS.get((type(op), device), ()):
        if candidate.when is None or candidate.when(op, *inputs):
            return candidate
    return None


def has_kernel(op: type[Op], device: str) -> bool:
    """Tell whether any kernel of `op` is registered for `device`."""
    return bool(_KERNELS.get((op, device)))


def call_arguments(outputs: Sequence[Any]) -> Any:
    """Return `out` as a kernel expects it: the array itself, or a tuple of several."""
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
