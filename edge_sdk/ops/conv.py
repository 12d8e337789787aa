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
from edge_sdk.ops.shape import Reshape, Transpose
from edge_sdk.spec import Spec, Value, check_floats


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
        _check_weights("conv2d", w)
        outputs, channels = w.shape[0], x.shape[3]
        if self.groups < 1 or channels % self.groups or outputs % self.groups:
            raise ShapeError(f"conv2d: {self.groups} groups do not divide {channels} inputs and {outputs} outputs")
        if channels != w.shape[3] * self.groups:
            raise ShapeError(
                f"conv2d: x has {channels} channels but w expects {w.shape[3] * self.groups} (x {x}, w {w}, "
                f"groups {self.groups})"
            )
        check_bias("conv2d", b, outputs)
        check_floats("conv2d", x=x, w=w, b=b, residual=residual)
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
        image_size(self.name, dy)
        _check_weights(self.name, w)
        x = dy.with_shape((dy.shape[0], *self.input_size, w.shape[3] * self.groups))
        _check_gradient(Conv2D(self.stride, self.padding, self.dilation, self.groups), x, w, dy)
        return x


@dataclass(frozen=True)
class Conv2DGradInputAdded(Op, name="conv2d_grad_input_added"):
    """conv2d_grad_input, of the same attributes, plus `other` (n, h, w, c): what else the gradient of x is made of."""

    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int
    input_size: Pair
    precision: Precision = "float32"

    @property
    def gradient(self) -> Conv2DGradInput:
        """What makes the first term."""
        return Conv2DGradInput(**self.attributes())

    def infer(self, dy: Spec, w: Spec, other: Spec) -> Spec:
        dx = self.gradient.infer(dy, w)
        if other != dx:
            raise ShapeError(f"conv2d_grad_input_added: the gradient is {dx}, but {other} is to be added")
        return dx


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
        image_size(self.name, x)
        image_size(self.name, dy)
        w = dy.with_shape((dy.shape[3], *self.kernel_size, x.shape[3] // max(self.groups, 1)))
        _check_gradient(Conv2D(self.stride, self.padding, self.dilation, self.groups), x, w, dy)
        return w


@dataclass(frozen=True)
class ConvTranspose2D(Op, name="conv_transpose2d"):
    """Transposed convolution of x (n, h, w, c) with w (k, r, s, c / groups) into (n, p, q, k), plus b (k).

    Every pixel of x adds its multiple of the kernel to y, `stride` pixels apart; then `padding` is cut off the result,
    and `output_padding` more rows and columns are kept at the far end:
    p = (h - 1) · stride + (r - 1) · dilation + 1 - top - bottom + output_padding. It is the input gradient of a
    convolution of that stride, padding and dilation (Dumoulin and Visin, "A guide to convolution arithmetic", 4).
    Output channel k belongs to group k // (outputs / groups). The weights lie as TFLite's TRANSPOSE_CONV wants them.
    """

    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    output_padding: Pair = (0, 0)
    activation: Activation = None

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> Spec:
        size = image_size("conv_transpose2d", x)
        _check_weights("conv_transpose2d", w)
        outputs, channels = w.shape[0], x.shape[3]
        if self.groups < 1 or channels % self.groups or outputs % self.groups:
            raise ShapeError(
                f"conv_transpose2d: {self.groups} groups do not divide {channels} inputs and {outputs} outputs"
            )
        if channels != w.shape[3] * self.groups:
            raise ShapeError(
                f"conv_transpose2d: x has {channels} channels but w expects {w.shape[3] * self.groups} (x {x}, w {w}, "
                f"groups {self.groups})"
            )
        check_bias("conv_transpose2d", b, outputs)
        check_floats("conv_transpose2d", x=x, w=w, b=b)
        p, q = self._output_size(size, (w.shape[1], w.shape[2]))
        return x.with_shape((x.shape[0], p, q, outputs))

    def _output_size(self, size: Pair, kernel: Pair) -> Pair:
        geometry = (*kernel, *self.stride, *self.dilation)
        if min(geometry) < 1 or min(map(min, self.padding)) < 0 or min(self.output_padding) < 0:
            raise ShapeError(
                f"conv_transpose2d: kernel {kernel}, stride {self.stride} and dilation {self.dilation} must be 1 or "
                f"more, padding {self.padding} and output padding {self.output_padding} 0 or more"
            )
        if any(more >= stride for more, stride in zip(self.output_padding, self.stride, strict=True)):
            raise ShapeError(
                f"conv_transpose2d: output padding {self.output_padding} must be smaller than the stride {self.stride}"
            )
        result = []
        for axis in (0, 1):
            whole = (size[axis] - 1) * self.stride[axis] + (kernel[axis] - 1) * self.dilation[axis] + 1
            result.append(whole - sum(self.padding[axis]) + self.output_padding[axis])
        if min(result) < 1 or 0 in size:
            raise ShapeError(
                f"conv_transpose2d: of images {size[0]}×{size[1]} with kernel {kernel} and stride {self.stride} the "
                f"padding {self.padding} leaves nothing"
            )
        return result[0], result[1]

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        x, w = node.inputs[:2]
        dy = before_activation(g, self.activation, node.output, dy)
        kernel = (g.spec(w).shape[1], g.spec(w).shape[2])
        # What output padding keeps is not cut off; the convolution leaves over what the kernel does not reach of it.
        (top, bottom), (left, right) = self.padding
        kept = (max(bottom - self.output_padding[0], 0), max(right - self.output_padding[1], 0))
        geometry = (self.stride, ((top, kept[0]), (left, kept[1])), self.dilation, self.groups)
        dw = g.add(Conv2DGradWeight(*geometry, kernel_size=kernel), x, dy)
        dx = g.add(Conv2D(*geometry), dy, _ends_swapped(g, w, self.groups))
        bias = [g.add(ReduceSum(axes=(0, 1, 2)), dy)] if len(node.inputs) == 3 else []
        return [dx, _ends_swapped(g, dw, self.groups), *bias]


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
        check_floats("depthwise_conv2d", x=x, w=w, b=b)
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
        image_size(self.name, dy)
        x = dy.with_shape((dy.shape[0], *self.input_size, self.channels))
        _check_gradient(DepthwiseConv2D(self.stride, self.padding, self.dilation), x, w, dy)
        return x


@dataclass(frozen=True)
class DepthwiseConv2DGradWeight(Op, name="depthwise_conv2d_grad_weight"):
    """dw (1, r, s, c · m) of depthwise_conv2d from dy (n, p, q, c · m) and x (n, h, w, c)."""

    stride: Pair
    padding: Padding
    dilation: Pair
    kernel_size: Pair

    def infer(self, dy: Spec, x: Spec) -> Spec:
        image_size(self.name, x)
        image_size(self.name, dy)
        w = dy.with_shape((1, *self.kernel_size, dy.shape[3]))
        _check_gradient(DepthwiseConv2D(self.stride, self.padding, self.dilation), x, w, dy)
        return w


def _check_weights(name: str, w: Spec) -> None:
    if w.rank != 4:
        raise ShapeError(f"{name}: w is {w}, wanted (k, r, s, c / groups)")


def _check_gradient(forward: Conv2D | DepthwiseConv2D, x: Spec, w: Spec, dy: Spec) -> None:
    """Raise ShapeError unless dy is that of a convolution of x with w."""
    y = forward.infer(x, w)
    if (y.shape, y.dtype) != (dy.shape, dy.dtype):
        raise ShapeError(f"gradient of {forward.name}: dy is {dy}, but x {x} and w {w} make {y}")


def _ends_swapped(g: Builder, w: Value, groups: int) -> Value:
    """Weights (k, r, s, c / groups) as those of the way back, (c, r, s, k / groups)."""
    k, r, s, c = g.spec(w).shape
    by_group = g.add(Reshape((groups, k // groups, r, s, c)), w)
    return g.add(Reshape((groups * c, r, s, k // groups)), g.add(Transpose((0, 4, 2, 3, 1)), by_group))


def check_bias(name: str, b: Spec | None, outputs: int) -> None:
    """Raise ShapeError unless the bias, when there is one, has one number per output channel."""
    if b is not None and b.shape != (outputs,):
        raise ShapeError(f"{name}: b is {b}, wanted one number for each of the {outputs} outputs")
