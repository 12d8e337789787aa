"""Activation functions, element by element, and softmax along the last axis."""

from __future__ import annotations

import numpy as np

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu.launch import THREADS, for_each, launch, nothing
from edge_sdk.kernels.gpu.loops import map_elements
from edge_sdk.kernels.gpu.sums import parts, reduction
from edge_sdk.ops.activation import (
    ActivationGrad,
    Gelu,
    GeluGrad,
    HardSigmoid,
    HardSigmoidGrad,
    HardSwish,
    HardSwishGrad,
    LeakyRelu,
    LeakyReluGrad,
    LogSoftmax,
    LogSoftmaxGrad,
    PRelu,
    PReluGrad,
    Relu,
    Relu6,
    Sigmoid,
    SigmoidGrad,
    Silu,
    SiluGrad,
    Softmax,
    SoftmaxGrad,
    Tanh,
    TanhGrad,
)
from edge_sdk.spec import Array, Spec

LONG_ROW = 1024
"""Numbers of a row that a block of threads shares; shorter ones are left to a warp each."""


@kernel(ActivationGrad, "gpu", binds=True)
def activation_grad(op: ActivationGrad, out: Array, dy: Array, y: Array) -> Call:
    return map_elements("activation", f"{op.activation}_grad", out, dy, y)


@kernel(Relu, "gpu", binds=True)
def relu(op: Relu, out: Array, x: Array) -> Call:
    return map_elements("activation", "relu", out, x)


@kernel(Relu6, "gpu", binds=True)
def relu6(op: Relu6, out: Array, x: Array) -> Call:
    return map_elements("activation", "relu6", out, x)


@kernel(LeakyRelu, "gpu", binds=True)
def leaky_relu(op: LeakyRelu, out: Array, x: Array) -> Call:
    return map_elements("activation", "leaky_relu", out, x, p=op.slope)


@kernel(LeakyReluGrad, "gpu", binds=True)
def leaky_relu_grad(op: LeakyReluGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("activation", "leaky_relu_grad", out, dy, x, p=op.slope)


@kernel(PRelu, "gpu", binds=True)
def prelu(op: PRelu, out: Array, x: Array, slope: Array) -> Call:
    return for_each("prelu", "prelu", x.size, out, x, slope, np.int32(x.shape[-1]), dtype=x.dtype.name)


def _parts(op: PReluGrad, dy: Spec, x: Spec, slope: Spec) -> tuple[Spec, ...]:
    return (parts((x.elements // max(x.shape[-1], 1), x.shape[-1]), (0,), x.dtype),)


@kernel(PReluGrad, "gpu", scratch=_parts, binds=True)
def prelu_grad(
    op: PReluGrad, out: tuple[Array, Array], dy: Array, x: Array, slope: Array, scratch: tuple[Array]
) -> Call:
    channels = x.shape[-1]
    planned = reduction((x.size // max(channels, 1), channels), (0,))
    given = (out[0], dy, x, slope)
    return planned.launches("prelu", "prelu_grad", scratch[0], given, "slope_grad", out[1], dtype=x.dtype.name)


@kernel(Sigmoid, "gpu", binds=True)
def sigmoid(op: Sigmoid, out: Array, x: Array) -> Call:
    return map_elements("activation", "sigmoid", out, x)


@kernel(SigmoidGrad, "gpu", binds=True)
def sigmoid_grad(op: SigmoidGrad, out: Array, dy: Array, y: Array) -> Call:
    return map_elements("activation", "sigmoid_grad", out, dy, y)


@kernel(HardSigmoid, "gpu", binds=True)
def hard_sigmoid(op: HardSigmoid, out: Array, x: Array) -> Call:
    return map_elements("activation", "hard_sigmoid", out, x)


@kernel(HardSigmoidGrad, "gpu", binds=True)
def hard_sigmoid_grad(op: HardSigmoidGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("activation", "hard_sigmoid_grad", out, dy, x)


@kernel(Tanh, "gpu", binds=True)
def tanh(op: Tanh, out: Array, x: Array) -> Call:
    return map_elements("activation", "hyperbolic_tangent", out, x)


@kernel(TanhGrad, "gpu", binds=True)
def tanh_grad(op: TanhGrad, out: Array, dy: Array, y: Array) -> Call:
    return map_elements("activation", "hyperbolic_tangent_grad", out, dy, y)


@kernel(HardSwish, "gpu", binds=True)
def hard_swish(op: HardSwish, out: Array, x: Array) -> Call:
    return map_elements("activation", "hard_swish", out, x)


@kernel(HardSwishGrad, "gpu", binds=True)
def hard_swish_grad(op: HardSwishGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("activation", "hard_swish_grad", out, dy, x)


@kernel(Silu, "gpu", binds=True)
def silu(op: Silu, out: Array, x: Array) -> Call:
    return map_elements("activation", "silu", out, x)


@kernel(SiluGrad, "gpu", binds=True)
def silu_grad(op: SiluGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("activation", "silu_grad", out, dy, x)


@kernel(Gelu, "gpu", binds=True)
def gelu(op: Gelu, out: Array, x: Array) -> Call:
    return map_elements("activation", "gelu_tanh" if op.approximate else "gelu", out, x)


@kernel(GeluGrad, "gpu", binds=True)
def gelu_grad(op: GeluGrad, out: Array, dy: Array, x: Array) -> Call:
    return map_elements("activation", "gelu_tanh_grad" if op.approximate else "gelu_grad", out, dy, x)


def _by_rows(kernel: str, out: Array, *arrays: Array, logarithm: bool) -> Call:
    """The launch of a kernel of softmax.cu."""
    if out.size == 0:
        return nothing()
    columns = out.shape[-1]
    rows, long = out.size // columns, columns > LONG_ROW
    blocks = rows if long else -(-rows // (THREADS // 32))
    values = (out, *arrays, np.int32(logarithm), np.int32(columns), np.int64(rows))
    name = f"{kernel}_{'blocks' if long else 'warps'}"
    return launch("softmax", name, (blocks, 1, 1), (THREADS, 1, 1), *values, dtype=out.dtype.name)


@kernel(Softmax, "gpu", binds=True)
def softmax(op: Softmax, out: Array, x: Array) -> Call:
    return _by_rows("softmax", out, x, logarithm=False)


@kernel(SoftmaxGrad, "gpu", binds=True)
def softmax_grad(op: SoftmaxGrad, out: Array, dy: Array, y: Array) -> Call:
    return _by_rows("softmax_grad", out, dy, y, logarithm=False)


@kernel(LogSoftmax, "gpu", binds=True)
def log_softmax(op: LogSoftmax, out: Array, x: Array) -> Call:
    return _by_rows("softmax", out, x, logarithm=True)


@kernel(LogSoftmaxGrad, "gpu", binds=True)
def log_softmax_grad(op: LogSoftmaxGrad, out: Array, dy: Array, y: Array) -> Call:
    return _by_rows("softmax_grad", out, dy, y, logarithm=True)
