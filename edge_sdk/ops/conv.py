"""Convolutions (cross-correlations) on NHWC images and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import before_activation
from edge_sdk.ops.geometry import Activation, Padding, Pair, Precision, image_size, output_size
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.spec import Spec, Value


@dataclass(frozen=True)
class Conv2D(Op, name="conv2d"):
    """Cross-correlation of x (n, h, w, c) with w (k, r, s, c / groups) into (n, p, q, k), plus b (k).

    With a residual (n, p, q, k), the other term of a sum that followed, that is added before the activation.

    y[n, p, q, k] = b[k] + Σ w[k, i, j, c] · x[n, p · stride + i · dilation - pad, …, group(k) · c/groups + c]
    """

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Activation = None
    precision: Precision = "float32"

    def infer(self, x: Spec, w: Spec, b: Spec | None = None, residual: Spec | None = None) -> Spec:
        size = image_size("conv2d", x)
        if w.rank != 4:
            raise ShapeError(f"conv2d: w is {w}, wanted (k, r, s, c / groups)")
        outputs, channels = w.shape[0], x.shape[3]
        if self.groups < 1 or channels % self.groups or outputs % self.groups:
            raise ShapeError(f"conv2d: {self.groups} groups do not divide {channels} inputs and {outputs} outputs")
        if channels != w.shape[3] * self.groups:
            raise ShapeError(
                f"conv2d: x has {channels} channels but w expects {w.shape[3] * self.groups} (x {x}, w {w}, "
                f"groups {self.groups})"
            )
        check_bias("conv2d", b, outputs)
        p, q = output_size("conv2d", self.padding, size, (w.shape[1], w.shape[2]), self.stride, self.dilation)
        y = x.with_shape((x.shape[0], p, q, outputs))
        if residual is not None and residual.shape != y.shape:
            raise ShapeError(f"conv2d: the result is {y}, but the residual to add {residual}")
        return y

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        x, w = node.inputs[:2]
        dy = before_activation(g, self.activation, node.output, dy)
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        size, kernel = image_size("conv2d", g.spec(x)), (g.spec(w).shape[1], g.spec(w).shape[2])
        # The weight gradient needs more scratch, and dx is not there yet to lie beside it.
        dw = g.add(Conv2DGradWeight(*geometry, kernel_size=kernel, precision=self.precision), dy, x)
        dx = g.add(Conv2DGradInput(*geometry, input_size=size, precision=self.precision), dy, w)
        rest = [g.add(ReduceSum(axes=(0, 1, 2)), dy), dy]
        return [dx, dw, *rest[: len(node.inputs) - 2]]


@dataclass(frozen=True)
class Conv2DGradInput(Op, name="conv2d_grad_input"):
    """dx (n, h, w, c) of conv2d from dy (n, p, q, k) and w (k, r, s, c / groups)."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    input_size: Pair
    precision: Precision = "float32"

    def infer(self, dy: Spec, w: Spec) -> Spec:
        return dy.with_shape((dy.shape[0], *self.input_size, w.shape[3] * self.groups))


@dataclass(frozen=True)
class Conv2DGradWeight(Op, name="conv2d_grad_weight"):
    """dw (k, r, s, c / groups) of conv2d from dy (n, p, q, k) and x (n, h, w, c), summed over images and pixels."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    kernel_size: Pair
    precision: Precision = "float32"

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return dy.with_shape((dy.shape[3], *self.kernel_size, x.shape[3] // self.groups))


@dataclass(frozen=True)
class DepthwiseConv2D(Op, name="depthwise_conv2d"):
    """Each channel of x (n, h, w, c) with its own m filters w (1, r, s, c · m), into (n, p, q, c · m), plus b (c · m).

    Output channel c · m + j reads input channel c, as in TFLite.
    """

    stride: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    activation: Activation = None

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> Spec:
        size = image_size("depthwise_conv2d", x)
        channels = x.shape[3]
        if w.rank != 4 or w.shape[0] != 1 or channels == 0 or w.shape[3] % channels:
            raise ShapeError(f"depthwise_conv2d: w is {w}, wanted (1, r, s, c · multiplier) for x {x}")
        check_bias("depthwise_conv2d", b, w.shape[3])
        kernel = (w.shape[1], w.shape[2])
        p, q = output_size("depthwise_conv2d", self.padding, size, kernel, self.stride, self.dilation)
        return x.with_shape((x.shape[0], p, q, w.shape[3]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        x, w = node.inputs[:2]
        dy = before_activation(g, self.activation, node.output, dy)
        geometry = (self.stride, self.padding, self.dilation)
        _, h, wide, c = g.spec(x).shape
        dx = g.add(DepthwiseConv2DGradInput(*geometry, input_size=(h, wide), channels=c), dy, w)
        dw = g.add(DepthwiseConv2DGradWeight(*geometry, kernel_size=(g.spec(w).shape[1], g.spec(w).shape[2])), dy, x)
        return [dx, dw, *([g.add(ReduceSum(axes=(0, 1, 2)), dy)] if len(node.inputs) == 3 else [])]


@dataclass(frozen=True)
class DepthwiseConv2DGradInput(Op, name="depthwise_conv2d_grad_input"):
    """dx (n, h, w, c) of depthwise_conv2d from dy (n, p, q, c · m) and w (1, r, s, c · m)."""

    stride: Pair
    padding: Padding
    dilation: Pair
    input_size: Pair
    channels: int

    def infer(self, dy: Spec, w: Spec) -> Spec:
        return dy.with_shape((dy.shape[0], *self.input_size, self.channels))


@dataclass(frozen=True)
class DepthwiseConv2DGradWeight(Op, name="depthwise_conv2d_grad_weight"):
    """dw (1, r, s, c · m) of depthwise_conv2d from dy (n, p, q, c · m) and x (n, h, w, c)."""

    stride: Pair
    padding: Padding
    dilation: Pair
    kernel_size: Pair

    def infer(self, dy: Spec, x: Spec) -> Spec:
        return dy.with_shape((1, *self.kernel_size, dy.shape[3]))


def check_bias(name: str, b: Spec | None, outputs: int) -> None:
    """Raise ShapeError unless the bias, when there is one, has one number per output channel."""
    if b is not None and b.shape != (outputs,):
        raise ShapeError(f"{name}: b is {b}, wanted one number for each of the {outputs} outputs")
