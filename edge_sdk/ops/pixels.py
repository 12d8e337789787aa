"""Photos as they are stored, on their way into a network."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.errors import ShapeError
from edge_sdk.op import Op
from edge_sdk.spec import Spec


@dataclass(frozen=True)
class NormalisePixels(Op, name="normalise_pixels"):
    """y = (pixels - mean) / std in float32, rounded to `dtype`: pixels uint8 (n, h, w, c), mean and std float32 (c)."""

    dtype: str = "float32"

    def infer(self, pixels: Spec, mean: Spec, std: Spec) -> Spec:
        if pixels.dtype != "uint8" or not pixels.rank or {mean.shape, std.shape} != {pixels.shape[-1:]}:
            raise ShapeError(
                f"normalise_pixels: pixels are {pixels}, mean {mean}, std {std}; wanted bytes, and one number a channel"
            )
        return Spec(pixels.shape, self.dtype)
