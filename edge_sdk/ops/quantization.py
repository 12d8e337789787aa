"""The borders between real numbers and their stored integers."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.errors import ShapeError
from edge_sdk.op import Op
from edge_sdk.spec import QuantParams, Spec


@dataclass(frozen=True)
class Quantize(Op, name="quantize"):
    """stored = clamp(round(x / scale) + zero_point), halves away from zero, as TFLite's QUANTIZE."""

    scale: float
    zero_point: int
    dtype: str = "int8"

    def infer(self, x: Spec) -> Spec:
        if self.dtype not in ("int8", "uint8", "int16"):
            raise ShapeError(f"quantize: dtype {self.dtype!r} is not int8, uint8 or int16")
        return Spec(x.shape, self.dtype, QuantParams((self.scale,), (self.zero_point,)))


@dataclass(frozen=True)
class Dequantize(Op, name="dequantize"):
    """y = scale · (x - zero_point), float32; the numbers repeat those of x's quantization."""

    scale: float
    zero_point: int

    def infer(self, x: Spec) -> Spec:
        return Spec(x.shape, "float32")
