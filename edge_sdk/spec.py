"""What is known about a value before the program runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NewType

import numpy as np
import numpy.typing as npt

from edge_sdk.errors import ShapeError

Array = npt.NDArray[Any]

Value = NewType("Value", str)
"""The name of a value in a graph: assigned once, never reused."""

BATCH = -1
"""The symbolic batch: a first dimension whose size is chosen when a Session binds the graph."""

_SHORT_NAMES = {
    "float32": "f32", "float64": "f64", "float16": "f16", "int8": "i8", "uint8": "u8",
    "int16": "i16", "int32": "i32", "int64": "i64", "bool": "bool", "bfloat16": "bf16",
}  # fmt: skip
DTYPES = frozenset(_SHORT_NAMES)
STORED = frozenset({"int8", "uint8", "int16", "int32", "int64"})
"""Whole numbers that can stand for real ones."""
HALVES = frozenset({"float16", "bfloat16"})
"""Floats of 16 bits, which are stored so and computed with in float32."""
FLOATS = frozenset({"float32", "float64"}) | HALVES
BFLOAT16_BITS = "uint16"
"""How NumPy and CuPy hold bfloat16, a type they lack: as its bits. No spec has whole numbers of that type."""


BYTE, HALF_A_BYTE = 8, 4
"""Bits of stored numbers."""


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Affine quantization: real = scale · (stored - zero_point), per tensor or along one axis.

    `scale` and `zero_point` hold one number for the tensor (axis None) or one per index along `axis`. `bits` is how
    many bits of the stored type are used: 4 for weights in [-7, 7], of which a file packs two into a byte.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None
    bits: int = BYTE

    def __post_init__(self) -> None:
        if self.bits not in (BYTE, HALF_A_BYTE):
            raise ShapeError(f"quantization: {self.bits} bits; wanted 4 or 8")
        if len(self.scale) != len(self.zero_point) or (self.axis is None and len(self.scale) != 1):
            raise ShapeError(
                f"quantization: {len(self.scale)} scales and {len(self.zero_point)} zero points for axis {self.axis}; "
                "wanted one of each for a tensor, or one of each per channel"
            )
        if not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise ShapeError("quantization: every scale must be a finite number above 0")


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape, element type and quantization of a value. Images are (n, h, w, c)."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    quant: QuantParams | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ShapeError(f"dtype {self.dtype!r} is not one of {', '.join(sorted(DTYPES))}")
        if any(size < 0 for size in self.shape[1:]) or (self.shape and self.shape[0] < BATCH):
            raise ShapeError(f"shape {self.shape}: sizes must be 0 or more; only the first may be the symbolic batch")
        if self.quant is not None:
            self._check_quantization(self.quant)

    def _check_quantization(self, quant: QuantParams) -> None:
        if self.dtype not in STORED:
            raise ShapeError(f"quantization: {self} holds no stored integers, which are {', '.join(sorted(STORED))}")
        axis, wanted = quant.axis, 1
        if axis is not None:
            wanted = self.shape[axis] if 0 <= axis < self.rank else -1
        if len(quant.scale) != wanted:
            raise ShapeError(f"quantization: {len(quant.scale)} scales along axis {axis} do not fit {self}")
        limits = np.iinfo(self.dtype)
        if not all(limits.min <= zero <= limits.max for zero in quant.zero_point):
            raise ShapeError(f"quantization: zero points must be {self.dtype}, as {self} is")

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def symbolic(self) -> bool:
        """Whether the batch size is still open."""
        return bool(self.shape) and self.shape[0] == BATCH

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the stored elements; of bfloat16 that of its bits."""
        return np.dtype(BFLOAT16_BITS if self.dtype == "bfloat16" else self.dtype)

    @property
    def elements(self) -> int:
        """Number of elements; raises ShapeError while the batch is symbolic."""
        if self.symbolic:
            raise ShapeError(f"{self} has no size before a batch is bound")
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory; raises ShapeError while the batch is symbolic."""
        return self.elements * self.numpy_dtype.itemsize

    def bind(self, batch: int) -> Spec:
        """Return this spec with the symbolic batch replaced by `batch`."""
        return replace(self, shape=(batch, *self.shape[1:])) if self.symbolic else self

    def with_shape(self, shape: tuple[int, ...]) -> Spec:
        """Return a spec of the same dtype and another shape, without quantization."""
        return Spec(shape, self.dtype)

    def __str__(self) -> str:
        sizes = ",".join("n" if size == BATCH else str(size) for size in self.shape)
        return f"{_SHORT_NAMES[self.dtype]}[{sizes}]"


def spec_of(array: Array) -> Spec:
    """Return what an array of the host or a device holds."""
    return Spec(array.shape, dtype_of(array))


def dtype_of(array: Array) -> str:
    """Return the dtype of an array as specs name it."""
    name: str = array.dtype.name
    return "bfloat16" if name == BFLOAT16_BITS else name


def accumulated(dtype: str) -> str:
    """Return the dtype in which sums of numbers of `dtype` are kept: float32 for those of 16 bits."""
    return "float32" if dtype in HALVES else dtype


def check_floats(name: str, **specs: Spec | None) -> None:
    """Raise ShapeError where some of an operator's inputs are floats and not all of one type; stored integers may be
    of several, and so may whole numbers among themselves.
    """
    plain = {role: spec for role, spec in specs.items() if spec is not None and spec.quant is None}
    types = {spec.dtype for spec in plain.values()}
    if len(types) > 1 and not types.isdisjoint(FLOATS):
        shown = ", ".join(f"{role} is {spec}" for role, spec in plain.items())
        raise ShapeError(f"{name}: {shown}; cast them to one type")


def alike(name: str, **specs: Spec | None) -> Spec:
    """Return the first of an operator's inputs; raises ShapeError unless those that are given have its shape and type.

    Gradients go through this: their kernels walk over all inputs at once.
    """
    given = {role: spec for role, spec in specs.items() if spec is not None}
    first = next(iter(given.values()))
    if any((spec.shape, spec.dtype) != (first.shape, first.dtype) for spec in given.values()):
        shown = ", ".join(f"{role} is {spec}" for role, spec in given.items())
        raise ShapeError(f"{name}: {shown}; wanted equal shapes and types")
    return first
