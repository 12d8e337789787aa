"""What the reader knows of an ONNX tensor: its type, and the value or the constant that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from edge_sdk.converters.onnx.layout import Layout, plain
from edge_sdk.spec import Array, Spec, Value


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that is known while reading, under the name that it is to have as a parameter."""

    array: Array
    name: str = ""


Held: TypeAlias = Value | Constant
"""What an operator of the engine takes: a value of the graph, or a constant."""


@dataclass(frozen=True)
class Tensor:
    """An ONNX tensor: what holds it, in which layout, and its spec as held."""

    held: Held
    layout: Layout
    held_spec: Spec
    name: str = field(default="", compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in ONNX's order."""
        return self.layout.onnx_shape(self.held_spec.shape)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.held_spec.rank

    @property
    def dtype(self) -> str:
        """Element type."""
        return self.held_spec.dtype

    @property
    def array(self) -> Array | None:
        """The constant in ONNX's order, or None for what only a run computes."""
        return self.layout.release(self.held.array) if isinstance(self.held, Constant) else None


@dataclass(frozen=True)
class TensorList(Tensor):
    """A sequence of tensors. It is nothing that an operator of the engine takes."""

    parts: tuple[Tensor, ...] = ()


def tensor_list(parts: tuple[Tensor, ...]) -> TensorList:
    """A sequence of tensors."""
    nothing = Constant(np.zeros(0, np.int8))
    return TensorList(nothing, plain(1), Spec((0,), "int8"), parts=parts)


def constant(array: Array, name: str = "") -> Tensor:
    """A tensor that is known while reading."""
    return Tensor(Constant(array, name), plain(array.ndim), Spec(array.shape, array.dtype.name), name)
