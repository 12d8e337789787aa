"""Arithmetic, activation functions, reductions, and the borders of quantization."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.coreml.translation import MILNode, Result, translates

_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "real_div", "Max": "maximum", "Min": "minimum", "Pow": "pow",
    "Equal": "equal", "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip
_UNARY = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Abs": "abs",
    "Erf": "erf", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sign": "sign", "Sin": "sin", "Cos": "cos",
    "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Atanh": "atanh",
    "Not": "logical_not", "Identity": "identity",
}  # fmt: skip
_REDUCTIONS = {"ReduceSum": "reduce_sum", "ReduceMean": "reduce_mean", "ReduceMax": "reduce_max"}


@translates(*_BINARY)
def binary(c: MILNode) -> Result:
    """The same of MIL."""
    return getattr(c.mb, _BINARY[c.operator])(x=c.input(0), y=c.input(1), name=c.name)


@translates(*_UNARY)
def unary(c: MILNode) -> Result:
    """The same of MIL."""
    return getattr(c.mb, _UNARY[c.operator])(x=c.input(0), name=c.name)


@translates("Neg")
def negative(c: MILNode) -> Result:
    """A product with -1."""
    return c.mb.mul(x=c.input(0), y=np.float32(-1), name=c.name)


@translates("Clip")
def clip(c: MILNode) -> Result:
    """relu6, or clip."""
    low, high = float(c.array(1)), float(c.array(2))
    if (low, high) == (0.0, 6.0):
        return c.mb.relu6(x=c.input(0), name=c.name)
    return c.mb.clip(x=c.input(0), alpha=low, beta=high, name=c.name)


@translates("LeakyRelu")
def leaky_relu(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.leaky_relu(x=c.input(0), alpha=c.attribute("alpha", 0.01), name=c.name)


@translates("PRelu")
def prelu(c: MILNode) -> Result:
    """max(x, 0) + slope · min(x, 0): MIL's own takes a slope a channel of images alone."""
    negative_part = c.mb.mul(x=c.mb.minimum(x=c.input(0), y=np.float32(0)), y=c.input(1))
    return c.mb.add(x=c.mb.relu(x=c.input(0)), y=negative_part, name=c.name)


@translates("HardSigmoid")
def hard_sigmoid(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.sigmoid_hard(x=c.input(0), alpha=c.attribute("alpha"), beta=c.attribute("beta"), name=c.name)


@translates("HardSwish")
def hard_swish(c: MILNode) -> Result:
    """X · hard sigmoid."""
    gate = c.mb.sigmoid_hard(x=c.input(0), alpha=1 / 6, beta=0.5)
    return c.mb.mul(x=c.input(0), y=gate, name=c.name)


@translates("Softmax")
def softmax(c: MILNode) -> Result:
    """The same of MIL."""
    return c.mb.softmax(x=c.input(0), axis=c.attribute("axis", -1), name=c.name)


@translates("LogSoftmax")
def log_softmax(c: MILNode) -> Result:
    """X less the logarithm of the sum of eˣ."""
    total = c.mb.reduce_log_sum_exp(x=c.input(0), axes=[c.attribute("axis", -1)], keep_dims=True)
    return c.mb.sub(x=c.input(0), y=total, name=c.name)


@translates(*_REDUCTIONS)
def reduction(c: MILNode) -> Result:
    """The same of MIL."""
    axes = c.integers(1) if c.has(1) else list(c.attribute("axes"))
    keep = bool(c.attribute("keepdims", 1))
    return getattr(c.mb, _REDUCTIONS[c.operator])(x=c.input(0), axes=axes, keep_dims=keep, name=c.name)


@translates("QuantizeLinear")
def quantize_linear(c: MILNode) -> Result:
    """Quantize."""
    zero = c.array(2)
    if zero.dtype not in (np.int8, np.uint8):
        raise c.no_form(f"to {zero.dtype}")
    return c.mb.quantize(
        input=c.input(0), scale=c.array(1)[()], zero_point=zero[()], output_dtype=zero.dtype.name, name=c.name
    )


@translates("DequantizeLinear")
def dequantize_linear(c: MILNode) -> Result:
    """Dequantize; of stored weights constexpr_affine_dequantize, and biases of 32 bits are stored as they stand for."""
    scale, axis = c.array(1), c.attribute("axis", 0)
    stored = c.input(0)
    if not isinstance(stored, np.ndarray):
        return c.mb.dequantize(input=stored, scale=scale[()], zero_point=c.array(2)[()], name=c.name)
    if stored.dtype == np.int32:
        return (stored * scale.astype(np.float64)).astype(np.float32)
    zero = c.array(2)
    return c.mb.constexpr_affine_dequantize(
        quantized_data=stored, zero_point=zero[()], scale=scale[()], axis=axis, name=c.name
    )
