"""Resizing of NHWC images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.geometry import Pair, image_size
from edge_sdk.spec import Spec, Value

Method = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class Resize(Op, name="resize"):
    """x (n, h, w, c) at another size (height, width), without antialiasing, as TFLite's RESIZE_* operators.

    Output pixel i reads position i · h / height (h - 1 over height - 1 with `align_corners`), moved by half a pixel at
    both ends with `half_pixel_centers`; "nearest" takes the floor of it, or the nearest with either option.
    """

    size: Pair
    method: Method = "bilinear"
    align_corners: bool = False
    half_pixel_centers: bool = True

    def infer(self, x: Spec) -> Spec:
        image_size("resize", x)
        if min(self.size) < 1 or 0 in x.shape[1:3]:
            raise ShapeError(f"resize: from x {x} to {self.size}; wanted 1 pixel or more")
        if self.align_corners and self.half_pixel_centers:
            raise ShapeError("resize: align_corners and half_pixel_centers exclude each other")
        return x.with_shape((x.shape[0], *self.size, x.shape[3]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        size = image_size("resize", g.spec(node.inputs[0]))
        return [g.add(ResizeGrad(size, self.method, self.align_corners, self.half_pixel_centers), dy)]


@dataclass(frozen=True)
class ResizeGrad(Op, name="resize_grad"):
    """dx of resize: each dy goes back to the pixels it was mixed from, with the same weights."""

    input_size: Pair
    method: Method
    align_corners: bool
    half_pixel_centers: bool

    def infer(self, dy: Spec) -> Spec:
        if min(self.input_size) < 1 or 0 in image_size("resize_grad", dy):
            raise ShapeError(f"resize_grad: from dy {dy} to {self.input_size}; wanted 1 pixel or more")
        return dy.with_shape((dy.shape[0], *self.input_size, dy.shape[3]))
