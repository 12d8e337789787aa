"""The registry that binds kernels to operator classes, per device."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.halves import on_real_numbers
from edge_sdk.op import Op
from edge_sdk.quantization.profile import Profile
from edge_sdk.spec import FLOATS, Array, Spec

Function = TypeVar("Function", bound=Callable[..., Any])

DEVICES = ("cpu", "gpu", "reference")
FOR_FLOAT32 = frozenset({"cpu"})
"""Devices whose kernels on plain numbers read float32 alone; what is of another type the naive kernels compute."""
PRECISE = "EDGE_PRECISE"
"""The environment variable that makes every Session precise where its caller does not say."""


@dataclass(frozen=True)
class Packing:
    """The form in which a kernel reads one of its inputs, its weights: other order, other numbers.

    Where that input is constant for the graph, a Session makes the form once, when it binds; else before each run.
    """

    input: int
    """Which input of the operator it is made of."""
    specs: Callable[..., tuple[Spec, ...]]
    """`specs(op, *input specs)`: the arrays of the form."""
    pack: Callable[..., None]
    """`pack(op, packed, input specs, array)` fills them."""


@dataclass(frozen=True)
class Call:
    """A function and all that it takes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        """Call it."""
        self.function(*self.arguments)


@dataclass(frozen=True)
class Kernel:
    """One algorithm of one operator on one device.

    `function(op, out, *inputs)` writes into `out` (a tuple of arrays for an operator with several outputs) and
    allocates nothing of the size of the data. With `scratch` it also gets `scratch=(array, …)` of those specs, with
    `packing` also `packed=(array, …)`. `cost(op, packed once, *input specs)` estimates its seconds. One that is
    `approximate` rounds more than a direct sum of products does; a precise Session leaves it out.

    A kernel of quantized values needs their scales and zero points, outputs' included: `constants(op, input specs,
    output specs, profile)` works out what it needs of them, once, when it is bound, by the arithmetic of a profile
    (edge_sdk/quantization/profile.py); the function gets that as `constants=`.

    One that `binds` computes nothing when its function is called with all that, but returns the `Call` that does: what
    depends on shapes and on where arrays lie is worked out once, not at every run. It is asked anew whenever other
    arrays are bound.
    """

    function: Callable[..., Any]
    algorithm: str
    scratch: Callable[..., tuple[Spec, ...]] | None = None
    when: Callable[..., bool] | None = None
    packing: Packing | None = None
    cost: Callable[..., float] | None = None
    approximate: bool = False
    constants: Callable[..., Any] | None = None
    binds: bool = False

    def scratch_specs(self, op: Op, inputs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Return what the kernel needs beside its outputs for inputs of these specs."""
        return self.scratch(op, *inputs) if self.scratch else ()

    def packed_specs(self, op: Op, inputs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Return the form it reads its weights in."""
        return self.packing.specs(op, *inputs) if self.packing else ()

    def keywords(self, scratch: Sequence[Array], packed: Sequence[Array]) -> dict[str, tuple[Array, ...]]:
        """Return what the function takes beside the operator and its values."""
        given = {"scratch": tuple(scratch)} if self.scratch else {}
        return given | ({"packed": tuple(packed)} if self.packing else {})

    def constant_keywords(
        self, op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec], profile: Profile
    ) -> dict[str, Any]:
        """Return what a kernel of quantized values takes beside that."""
        return {"constants": self.constants(op, inputs, outputs, profile)} if self.constants else {}

    def bind(
        self, op: Op, out: Any, inputs: Sequence[Array], keywords: Mapping[str, Any] = MappingProxyType({})
    ) -> Call:
        """Return the call that computes `out` from these arrays, with the keywords that the methods above give."""
        if not self.binds:
            return Call(partial(self.function, **keywords) if keywords else self.function, (op, out, *inputs))
        call: Call = self.function(op, out, *inputs, **keywords)
        return call


Stored = Literal["int8", "int16"]
"""Which stored integers a kernel computes on: those of a byte, signed or not, or those of two."""

_KERNELS: dict[tuple[type[Op], str, Stored | None], list[Kernel]] = {}


def kernel(
    op: type[Op],
    device: str,
    *,
    algorithm: str = "",
    scratch: Callable[..., tuple[Spec, ...]] | None = None,
    when: Callable[..., bool] | None = None,
    packing: Packing | None = None,
    cost: Callable[..., float] | None = None,
    approximate: bool = False,
    quantized: bool | Stored = False,
    constants: Callable[..., Any] | None = None,
    binds: bool = False,
) -> Callable[[Function], Function]:
    """Register the decorated function as a kernel of `op` on `device`.

    Stored integers mean nothing without their QuantParams, so a kernel is either for plain numbers or, when
    `quantized`, for inputs of which at least one carries QuantParams: bytes (True), or "int16"; none is ever bound to
    the numbers of another.

    Of several whose `when(op, *input specs)` holds, a Session takes the one of least `cost`, or the first registered
    where not all have one. A kernel without `when` always applies: there can be one, and it is asked last.

    A kernel on plain numbers for "cpu" may read its first input, and all real numbers, as float32. An operator on any
    other type is computed there by its naive kernel, or by this one where it has none.
    """

    def bind(function: Function) -> Function:
        stored: Stored | None = "int8" if quantized is True else quantized or None
        known = _KERNELS.setdefault((op, device, stored), [])
        last = bool(known) and known[-1].when is None
        if last and when is None:
            raise TypeError(
                f"{op.name} already has an unconditional {device} kernel; give {function.__name__} a `when`"
            )
        computed = on_real_numbers(function) if device == "reference" and stored is None else function
        new = Kernel(
            computed, algorithm or function.__name__, scratch, when, packing, cost, approximate, constants, binds
        )
        known.insert(len(known) - last, new)
        return function

    return bind


def load_device(device: str) -> None:
    """Import the kernels of `device`, the core's only import by name; raises UsageError for an unknown one."""
    if device not in DEVICES:
        raise UsageError(f"device {device!r} is not one of {', '.join(DEVICES)}{suggestion(device, DEVICES)}")
    importlib.import_module(f"edge_sdk.kernels.{device}")


def device_module(device: str, name: str) -> Any:
    """Return a module beside the kernels of `device`, such as "machine", which tells what it is and can do."""
    load_device(device)
    return importlib.import_module(f"edge_sdk.kernels.{device}.{name}")


def device_precisions(device: str) -> tuple[str, ...]:
    """Return to what the kernels of `device` can round factors of products here: `precision` of an operator."""
    load_device(device)
    precisions: tuple[str, ...] = importlib.import_module(f"edge_sdk.kernels.{device}").PRECISIONS
    return precisions


def precise_by_default() -> bool:
    """Whether Sessions leave approximate kernels out where their caller does not say; raises UsageError."""
    return switched_on(PRECISE)


def switched_on(variable: str) -> bool:
    """Whether an environment variable is 1; raises UsageError where it is anything but that, 0 or absent."""
    asked = os.environ.get(variable, "0")
    if asked not in ("0", "1"):
        raise UsageError(f"{variable} is 0 or 1, not {asked!r}")
    return asked == "1"


def stored_type(inputs: Sequence[Spec]) -> Stored | None:
    """Return on which stored integers an operator computes: its first quantized input's; None for plain numbers."""
    first = next((spec for spec in inputs if spec.quant is not None), None)
    if first is None:
        return None
    return "int16" if first.dtype == "int16" else "int8"


def registered_kernels(op: type[Op], device: str) -> tuple[Kernel, ...]:
    """Return all kernels of `op` on plain numbers so far registered for `device`."""
    return tuple(_KERNELS.get((op, device, None), ()))


def applicable_kernels(op: Op, device: str, inputs: Sequence[Spec], precise: bool = False) -> list[Kernel]:
    """Return the kernels that can compute `op` on inputs of these specs, in the order of their registration."""
    stored = stored_type(inputs)
    registered = _KERNELS.get((type(op), device, stored), [])
    if stored is None and device in FOR_FLOAT32 and not _read_as_float32(inputs):
        load_device("reference")
        registered = _KERNELS.get((type(op), "reference", None), registered)
    known = [one for one in registered if not (precise and one.approximate)]
    return [candidate for candidate in known if candidate.when is None or candidate.when(op, *inputs)]


def _read_as_float32(inputs: Sequence[Spec]) -> bool:
    """Whether the first input, and every other of real numbers, is float32; labels, indices and counts come later."""
    return all(spec.dtype == "float32" for place, spec in enumerate(inputs) if place == 0 or spec.dtype in FLOATS)


def find_kernel(
    op: Op, device: str, inputs: Sequence[Spec], constant: Collection[int] = (), precise: bool = False
) -> Kernel | None:
    """Return the kernel that a Session uses for `op` on inputs of these specs, or None when there is none.

    `constant` are the places of inputs that stay the same from run to run; `precise` leaves approximate kernels out.
    """
    candidates = applicable_kernels(op, device, inputs, precise)
    return choose_by_cost(candidates, op, inputs, constant).kernel if candidates else None


@dataclass(frozen=True)
class Choice:
    """The kernel taken for a node, and why: the seconds of every candidate, None where it has no cost model."""

    kernel: Kernel
    candidates: tuple[tuple[Kernel, float | None], ...]
    measured: bool = False
    """Whether the seconds were measured on this machine or estimated by the cost models."""


def choose_by_cost(
    candidates: Sequence[Kernel], op: Op, inputs: Sequence[Spec], constant: Collection[int] = ()
) -> Choice:
    """Choose the candidate of least estimated cost; where one has no estimate, the first."""
    known = [(candidate, estimated_seconds(candidate, op, inputs, constant)) for candidate in candidates]
    costs = [cost for _, cost in known if cost is not None]
    first = costs.index(min(costs)) if len(costs) == len(known) else 0
    return Choice(candidates[first], tuple(known))


def estimated_seconds(candidate: Kernel, op: Op, inputs: Sequence[Spec], constant: Collection[int]) -> float | None:
    """Return what a kernel's cost model expects, or None when it has none."""
    if candidate.cost is None:
        return None
    return candidate.cost(op, candidate.packing is not None and candidate.packing.input in constant, *inputs)


def has_kernel(op: type[Op], device: str, stored: Stored | None = None) -> bool:
    """Tell whether any kernel of `op`, on plain numbers or on stored ones, is registered for `device`."""
    return bool(_KERNELS.get((op, device, stored)))


def call_arguments(outputs: Sequence[Any]) -> Any:
    """Return `out` as a kernel expects it: the array itself, or a tuple of several."""
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
