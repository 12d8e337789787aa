"""Convolutions: matrix products that read their patches from the image; depthwise ones as direct loops."""

from __future__ import annotations

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.gemm import ACTIVATIONS, RELU, RELU6, flipped, matrix, multiply, multiply_scratch, patches
from edge_sdk.kernels.cpu.jit import parallel_jit, prange
from edge_sdk.ops.conv import (
    Conv2D,
    Conv2DGradInput,
    Conv2DGradWeight,
    DepthwiseConv2D,
    DepthwiseConv2DGradInput,
    DepthwiseConv2DGradWeight,
)
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.spec import Array, Spec

PARTS = 16  # of a sum over images and rows; fixed, so that the bytes do not depend on the number of threads


def _is_pointwise(op: Conv2D | Conv2DGradInput | Conv2DGradWeight, kernel_size: tuple[int, int]) -> bool:
    """Whether the convolution is a plain matrix product on the rows of pixels."""
    padding = op.padding if isinstance(op.padding, str) else sum(map(sum, op.padding))
    return kernel_size == (1, 1) and op.stride == (1, 1) and padding in ("same", "valid", 0)


def _forward_scratch(op: Conv2D, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    n, p, q, k = op.infer_outputs((x, w))[0].shape
    return multiply_scratch(n * p * q, k // op.groups, w.elements // k)


@kernel(Conv2D, "cpu", algorithm="gemm 1x1", when=lambda op, x, w, b=None: _is_pointwise(op, w.shape[1:3]) and op.groups == 1,
        scratch=_forward_scratch)  # fmt: skip
def conv2d_pointwise(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> None:
    k, c = w.shape[0], w.shape[3]
    multiply(x, matrix(c, 1), w, matrix(1, c), out, x.size // c, k, c, scratch, b, op.activation)


@kernel(Conv2D, "cpu", algorithm="gemm patches", scratch=_forward_scratch)
def conv2d(op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> None:
    n, p, q, k = out.shape
    kernel_size, size = w.shape[1:3], x.shape[1:3]
    (top, _), (left, _) = resolve_padding(op.padding, size, kernel_size, op.stride, op.dilation)
    outputs, channels, depth = k // op.groups, w.shape[3], w.size // k
    for group in range(op.groups):
        seen = patches(
            x.shape[1:], (p, q), kernel_size, op.stride, (top, left), op.dilation, channels=(group * channels, channels)
        )
        bias = None if b is None else b[group * outputs : (group + 1) * outputs]
        weights = matrix(1, depth, group * outputs * depth)
        multiply(x, seen, w, weights, out, n * p * q, outputs, depth, scratch, bias, op.activation, group * outputs, k)


def _grad_input_scratch(op: Conv2DGradInput, dy: Spec, w: Spec) -> tuple[Spec, ...]:
    pixels = dy.shape[0] * op.input_size[0] * op.input_size[1]
    return multiply_scratch(pixels, w.shape[3], w.elements // w.shape[3] // op.groups)


@kernel(Conv2DGradInput, "cpu", scratch=_grad_input_scratch)
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...]) -> None:
    """A convolution of dy, spread apart by the stride, with the reversed weights."""
    n, h, wide, c = out.shape
    k, r, s, channels = w.shape
    outputs, taps = k // op.groups, r * s
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, (r, s), op.stride, op.dilation)
    before = ((r - 1) * op.dilation[0] - top, (s - 1) * op.dilation[1] - left)
    for group in range(op.groups):
        seen = patches(
            dy.shape[1:], (h, wide), (r, s), (1, 1), before, op.dilation, op.stride, (group * outputs, outputs)
        )
        if taps == 1 and op.stride == (1, 1) and before == (0, 0) and op.groups == 1:
            seen = matrix(k, 1)
        weights = flipped(outputs, taps, channels, group * outputs * taps * channels)
        multiply(
            dy, seen, w, weights, out, n * h * wide, channels, taps * outputs, scratch, start=group * channels, stride=c
        )


def _grad_weight_scratch(op: Conv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    n, p, q, k = dy.shape
    columns = op.kernel_size[0] * op.kernel_size[1] * x.shape[3] // op.groups
    return multiply_scratch(k // op.groups, columns, n * p * q)


@kernel(Conv2DGradWeight, "cpu", scratch=_grad_weight_scratch)
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]) -> None:
    """dyᵀ times the patches."""
    n, p, q, k = dy.shape
    outputs, channels = k // op.groups, out.shape[3]
    columns = out.size // k
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], op.kernel_size, op.stride, op.dilation)
    for group in range(op.groups):
        seen = patches(
            x.shape[1:], (p, q), op.kernel_size, op.stride, (top, left), op.dilation, channels=(group * channels, channels)
        )
        if _is_pointwise(op, op.kernel_size) and op.groups == 1:
            seen = matrix(channels, 1)
        slopes = matrix(1, k, group * outputs)
        multiply(dy, slopes, x, seen, out, outputs, columns, n * p * q, scratch, start=group * outputs * columns)


@parallel_jit
def _depthwise(x, w, b, y, stride, before, dilation, activation):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, h, wide, c = x.shape
    _, p, q, k = y.shape
    r, s = w.shape[1], w.shape[2]
    m = k // c
    for task in prange(n * p):
        image, row = task // p, task % p
        for column in range(q):
            out = y[image, row, column]
            if b.size:
                for e in range(k):
                    out[e] = b[e]
            else:
                for e in range(k):
                    out[e] = 0.0
            for i in range(r):
                yy = row * stride[0] - before[0] + i * dilation[0]
                if yy < 0 or yy >= h:
                    continue
                for j in range(s):
                    xx = column * stride[1] - before[1] + j * dilation[1]
                    if xx < 0 or xx >= wide:
                        continue
                    seen, weight = x[image, yy, xx], w[0, i, j]
                    if m == 1:
                        for e in range(k):
                            out[e] += seen[e] * weight[e]
                    else:
                        for e in range(k):
                            out[e] += seen[e // m] * weight[e]
            if activation == RELU:
                for e in range(k):
                    out[e] = max(out[e], 0.0)
            elif activation == RELU6:
                for e in range(k):
                    out[e] = min(max(out[e], 0.0), 6.0)


@kernel(DepthwiseConv2D, "cpu")
def depthwise_conv2d(op: DepthwiseConv2D, out: Array, x: Array, w: Array, b: Array | None = None) -> None:
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], w.shape[1:3], op.stride, op.dilation)
    bias = w.reshape(-1)[:0] if b is None else b
    _depthwise(x, w, bias, out, op.stride, (top, left), op.dilation, ACTIVATIONS[op.activation])


@parallel_jit
def _depthwise_grad_input(dy, w, dx, stride, before, dilation):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, h, wide, c = dx.shape
    _, p, q, k = dy.shape
    r, s = w.shape[1], w.shape[2]
    m = k // c
    for task in prange(n * h):
        image, row = task // h, task % h
        for column in range(wide):
            out = dx[image, row, column]
            for e in range(c):
                out[e] = 0.0
            for i in range(r):
                yy = row + before[0] - i * dilation[0]
                if yy < 0 or yy % stride[0] or yy // stride[0] >= p:
                    continue
                for j in range(s):
                    xx = column + before[1] - j * dilation[1]
                    if xx < 0 or xx % stride[1] or xx // stride[1] >= q:
                        continue
                    slope, weight = dy[image, yy // stride[0], xx // stride[1]], w[0, i, j]
                    if m == 1:
                        for e in range(c):
                            out[e] += slope[e] * weight[e]
                    else:
                        for e in range(k):
                            out[e // m] += slope[e] * weight[e]


@kernel(DepthwiseConv2DGradInput, "cpu")
def depthwise_conv2d_grad_input(op: DepthwiseConv2DGradInput, out: Array, dy: Array, w: Array) -> None:
    (top, _), (left, _) = resolve_padding(op.padding, op.input_size, w.shape[1:3], op.stride, op.dilation)
    _depthwise_grad_input(dy, w, out, op.stride, (top, left), op.dilation)


@parallel_jit
def _depthwise_grad_weight(dy, x, dw, parts, stride, before, dilation):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, h, wide, c = x.shape
    _, p, q, k = dy.shape
    r, s = dw.shape[1], dw.shape[2]
    m = k // c
    count = parts.shape[0]
    for part in prange(count):
        mine = parts[part]
        mine[:] = 0.0
        for task in range(n * p * part // count, n * p * (part + 1) // count):
            image, row = task // p, task % p
            for i in range(r):
                yy = row * stride[0] - before[0] + i * dilation[0]
                if yy < 0 or yy >= h:
                    continue
                for j in range(s):
                    out = mine[i, j]
                    for column in range(q):
                        xx = column * stride[1] - before[1] + j * dilation[1]
                        if xx < 0 or xx >= wide:
                            continue
                        slope, seen = dy[image, row, column], x[image, yy, xx]
                        if m == 1:
                            for e in range(k):
                                out[e] += slope[e] * seen[e]
                        else:
                            for e in range(k):
                                out[e] += slope[e] * seen[e // m]
    dw[0] = parts[0]
    for part in range(1, count):
        dw[0] += parts[part]


def _parts(op: DepthwiseConv2DGradWeight, dy: Spec, x: Spec) -> tuple[Spec, ...]:
    return (Spec((PARTS, *op.kernel_size, dy.shape[3])),)


@kernel(DepthwiseConv2DGradWeight, "cpu", scratch=_parts)
def depthwise_conv2d_grad_weight(
    op: DepthwiseConv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]
) -> None:
    (top, _), (left, _) = resolve_padding(op.padding, x.shape[1:3], op.kernel_size, op.stride, op.dilation)
    _depthwise_grad_weight(dy, x, out, scratch[0], op.stride, (top, left), op.dilation)
