"""Pooling of NHWC images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.geometry import Padding, Pair, image_size, output_size
from edge_sdk.spec import Spec, Value


@dataclass(frozen=True)
class MaxPool2D(Op, name="max_pool2d"):
    """Largest value of each window of x (n, h, w, c); padding never wins. With `ceil` partial windows count too."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    ceil: bool = False

    def infer(self, x: Spec) -> Spec:
        size = image_size("max_pool2d", x)
        p, q = output_size("max_pool2d", self.padding, size, self.kernel, self.stride, (1, 1), ceil=self.ceil)
        return x.with_shape((x.shape[0], p, q, x.shape[3]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        (x,) = node.inputs
        return [g.add(MaxPool2DGrad(self.kernel, self.stride, self.padding), dy, x)]


@dataclass(frozen=True)
class MaxPool2DGrad(Op, name="max_pool2d_grad"):
    """dx of max_pool2d: each dy goes to the first largest value of its window, rows before columns."""

    kernel: Pair
    stride: Pair
    padding: Padding

    def infer(self, dy: Spec, x: Spec) -> Spec:
        _check_gradient("max_pool2d_grad", self, dy, image_size("max_pool2d_grad", x))
        if (dy.shape[0], dy.shape[3], dy.dtype) != (x.shape[0], x.shape[3], x.dtype):
            raise ShapeError(f"max_pool2d_grad: dy is {dy}, x {x}; wanted as many images and channels, of one type")
        return x


@dataclass(frozen=True)
class AvgPool2D(Op, name="avg_pool2d"):
    """Mean of each window of x (n, h, w, c) over the pixels inside the image.

    With `count_padding` the padding counts too. What `ceil` adds beyond the padding is never counted, as in PyTorch.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    ceil: bool = False
    count_padding: bool = False

    def infer(self, x: Spec) -> Spec:
        size = image_size("avg_pool2d", x)
        p, q = output_size("avg_pool2d", self.padding, size, self.kernel, self.stride, (1, 1), ceil=self.ceil)
        return x.with_shape((x.shape[0], p, q, x.shape[3]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        size = image_size("avg_pool2d", g.spec(node.inputs[0]))
        return [g.add(AvgPool2DGrad(self.kernel, self.stride, self.padding, self.count_padding, size), dy)]


@dataclass(frozen=True)
class AvgPool2DGrad(Op, name="avg_pool2d_grad"):
    """dx of avg_pool2d: each dy is shared equally by the pixels that were counted."""

    kernel: Pair
    stride: Pair
    padding: Padding
    count_padding: bool
    input_size: Pair

    def infer(self, dy: Spec) -> Spec:
        _check_gradient("avg_pool2d_grad", self, dy, self.input_size)
        return dy.with_shape((dy.shape[0], *self.input_size, dy.shape[3]))


def _check_gradient(name: str, op: MaxPool2DGrad | AvgPool2DGrad, dy: Spec, size: Pair) -> None:
    """Raise ShapeError unless dy has a pixel for each window on images of `size`, partial ones counted or not."""
    wanted = [
        output_size(name, op.padding, size, op.kernel, op.stride, (1, 1), ceil=partial) for partial in (False, True)
    ]
    if image_size(name, dy) not in wanted:
        raise ShapeError(f"{name}: dy is {dy}; windows of {op.kernel} on images of {size} make {wanted[0]} pixels")


@dataclass(frozen=True)
class AdaptiveAvgPool2D(Op, name="adaptive_avg_pool2d"):
    """Mean over a grid of `size` (rows, columns) windows.

    Row i spans floor(i · h / rows) to ceil((i + 1) · h / rows).
    """

    size: Pair

    def infer(self, x: Spec) -> Spec:
        image_size("adaptive_avg_pool2d", x)
        if min(self.size) < 1:
            raise ShapeError(f"adaptive_avg_pool2d: size {self.size} must be 1 or more")
        return x.with_shape((x.shape[0], *self.size, x.shape[3]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        size = image_size("adaptive_avg_pool2d", g.spec(node.inputs[0]))
        return [g.add(AdaptiveAvgPool2DGrad(input_size=size), dy)]


@dataclass(frozen=True)
class AdaptiveAvgPool2DGrad(Op, name="adaptive_avg_pool2d_grad"):
    """dx of adaptive_avg_pool2d."""

    input_size: Pair

    def infer(self, dy: Spec) -> Spec:
        image_size("adaptive_avg_pool2d_grad", dy)
        return dy.with_shape((dy.shape[0], *self.input_size, dy.shape[3]))


@dataclass(frozen=True)
class GlobalAvgPool(Op, name="global_avg_pool"):
    """Mean over the pixels of x (n, h, w, c), into (n, c)."""

    def infer(self, x: Spec) -> Spec:
        image_size("global_avg_pool", x)
        return x.with_shape((x.shape[0], x.shape[3]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        return [g.add(GlobalAvgPoolGrad(input_size=image_size("global_avg_pool", g.spec(node.inputs[0]))), dy)]


@dataclass(frozen=True)
class GlobalAvgPoolGrad(Op, name="global_avg_pool_grad"):
    """dx (n, h, w, c) of global_avg_pool from dy (n, c)."""

    input_size: Pair

    def infer(self, dy: Spec) -> Spec:
        if dy.rank != 2:
            raise ShapeError(f"global_avg_pool_grad: dy is {dy}, wanted (n, c)")
        return dy.with_shape((dy.shape[0], *self.input_size, dy.shape[1]))
