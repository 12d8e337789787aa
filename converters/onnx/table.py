"""The reader's table: which function reads which ONNX operator."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from edge_sdk.errors import FormatError

if TYPE_CHECKING:
    from edge_sdk.converters.onnx.call import Call
    from edge_sdk.converters.onnx.tensor import Tensor

Reader = Callable[["Call"], "Tensor | tuple[Tensor | None, ...]"]
Function = TypeVar("Function", bound=Callable[..., Any])

_FAMILIES = (
    "activation", "constant", "conv", "elementwise", "indexing", "linear", "loss", "norm", "pool", "quantization",
    "recurrent", "reduce", "resize", "sample", "scan", "sequence", "shape",
)  # fmt: skip
READERS: dict[str, Reader] = {}
"""Every operator that is read, by its ONNX name."""


class UnsupportedError(FormatError):
    """A form of a supported operator that is not read. `needs` is the tensor that should have been a constant."""

    def __init__(self, message: str, needs: str | None = None) -> None:
        super().__init__(message)
        self.needs = needs


def reads(*names: str) -> Callable[[Function], Function]:
    """Let the decorated function read the ONNX operators of these names, in all of their versions."""

    def register(function: Function) -> Function:
        for name in names:
            if name in READERS:
                raise TypeError(f"ONNX {name} is read twice")
            READERS[name] = function
        return function

    return register


def readers() -> Mapping[str, Reader]:
    """The whole table, from every family's file."""
    for family in _FAMILIES:
        importlib.import_module(f"edge_sdk.converters.onnx.read_{family}")
    return READERS
