"""8-bit numbers: what they stand for is computed in float32, or exactly in int32 where ONNX says so."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.proto import dtype_name
from edge_sdk.converters.onnx.read_conv import convolution
from edge_sdk.converters.onnx.read_linear import product
from edge_sdk.converters.onnx.read_reduce import largest, smallest
from edge_sdk.converters.onnx.reshaping import expanded, reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.converters.onnx.windows import windows
from edge_sdk.ops.elementwise import Add, Div, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.functions import Apply
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.spec import FLOATS


@reads("QuantizeLinear")
def quantize_linear(c: Call) -> Tensor:
    """clamp(round(x / scale) + zero point), halves to even."""
    x, scale, zero = c.input(0), c.input(1), c.optional(2)
    code = c.integer("output_dtype", 0)
    dtype = zero.dtype if zero is not None else dtype_name(code, "the result") if code else "uint8"
    known = _known(scale, zero)
    if known is not None and dtype in ("int8", "uint8") and x.dtype == "float32" and c.only_read_by("DequantizeLinear"):
        return c.tensor(c.apply(Quantize(*known, dtype), x.held), x.layout)
    return quantized(c, x, _spread(c, x, scale), None if zero is None else _spread(c, x, zero), dtype)


@reads("DequantizeLinear")
def dequantize_linear(c: Call) -> Tensor:
    """(x - zero point) · scale."""
    x, scale, zero = c.input(0), c.input(1), c.optional(2)
    known = _known(scale, zero)
    if x.held_spec.quant is not None:
        stated = x.held_spec.quant
        if known is None or (known[0], known[1]) != (stated.scale[0], stated.zero_point[0]):
            raise c.unsupported("another scale or zero point than what made its input")
        return c.tensor(c.apply(Dequantize(*known), x.held), x.layout)
    return dequantized(c, x, _spread(c, x, scale), None if zero is None else _spread(c, x, zero))


def _known(scale: Tensor, zero: Tensor | None) -> tuple[float, int] | None:
    """Scale and zero point of a whole tensor, where they are constants."""
    factor, start = scale.array, None if zero is None else zero.array
    if factor is None or factor.size != 1 or factor.dtype != np.float32 or (zero is not None and start is None):
        return None
    number = float(factor.reshape(()))
    return (number, 0 if start is None else int(start.reshape(-1)[0])) if 0 < number < np.inf else None


def quantized(c: Call, x: Tensor, scale: Tensor, zero: Tensor | None, dtype: str) -> Tensor:
    """Whole numbers for real ones."""
    if dtype in FLOATS or dtype == "bool":
        raise c.unsupported(f"results of type {dtype}")
    real = "float32" if scale.dtype == "float16" else scale.dtype
    held, layout = c.aligned([x, scale])
    ratio = c.apply(Div(), *(c.cast(each, real) for each in held))
    rounded = c.tensor(c.apply(Apply("round"), ratio), layout)
    if zero is not None:
        (rounded_held, zero_held), layout = c.aligned([rounded, zero])
        rounded = c.tensor(c.apply(Add(), rounded_held, c.cast(zero_held, real)), layout)
    limits = np.iinfo(dtype)
    low = c.apply(Maximum(), rounded.held, c.number(limits.min, rounded))
    return c.tensor(c.cast(c.apply(Minimum(), low, c.number(limits.max, rounded)), dtype), layout)


def dequantized(c: Call, x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Real numbers for whole ones; of constants at once, for weights of 8 bits are most of a file."""
    if x.array is not None and scale.array is not None and (zero is None or zero.array is not None):
        c.translation.budget.take(x.array.size * scale.array.itemsize, described(c.node))
        real = x.array.astype(scale.array.dtype)
        if zero is not None and zero.array is not None:
            real -= zero.array.astype(real.dtype)
        real *= scale.array
        return c.result(Constant(real, x.held.name if isinstance(x.held, Constant) else ""))
    result = c.tensor(c.cast(x.held, scale.dtype), x.layout)
    if zero is not None:
        held, layout = c.aligned([result, c.tensor(c.cast(zero.held, scale.dtype), zero.layout)])
        result = c.tensor(c.apply(Sub(), *held), layout)
    held, layout = c.aligned([result, scale])
    return c.tensor(c.apply(Mul(), *held), layout)


def _spread(c: Call, x: Tensor, parameter: Tensor) -> Tensor:
    """One number for the tensor, for each index along an axis, or for each block along it."""
    if parameter.rank == 0 or parameter.shape == (1,):
        return reshaped(c, parameter, ())
    axis = c.axis(c.integer("axis", 1), x.rank)
    if parameter.rank == 1:
        shape = tuple(parameter.shape[0] if each == axis else 1 for each in range(x.rank))
        return reshaped(c, parameter, shape)
    block = c.integer("block_size", 0)
    if parameter.rank != x.rank or block < 1 or x.shape[axis] < 1:
        raise c.unsupported(f"scales of shape {parameter.shape} in blocks of {block} for x of shape {x.shape}")
    places = c.translation.count(x.shape[axis]) // block
    return c.result(c.apply(Gather(axis), c.plain(parameter), Constant(places)))


@reads("DynamicQuantizeLinear")
def dynamic_quantize_linear(c: Call) -> tuple[Tensor | None, ...]:
    """uint8 with a scale and zero point from the range of x."""
    x = c.input(0)
    held, axes = c.plain(x), tuple(range(x.rank))
    zero = c.number(0.0, held)
    high = c.translation.reshape(c.apply(Maximum(), largest(c, held, axes), zero), ())
    low = c.translation.reshape(c.apply(Minimum(), smallest(c, held, axes), zero), ())
    scale = c.apply(Div(), c.apply(Sub(), high, low), c.number(255.0, held))
    start = c.apply(Apply("round"), c.apply(Div(), c.apply(Sub(), zero, low), scale))
    point = c.apply(Minimum(), c.apply(Maximum(), start, zero), c.number(255.0, held))
    whole = c.result(c.cast(point, "uint8"))
    return quantized(c, c.result(held), c.result(scale), whole, "uint8"), c.result(scale), whole


def _centred(c: Call, x: Tensor, zero: Tensor | None, dtype: str) -> Tensor:
    """Y = x - zero point in a type that holds all products exactly."""
    result = c.tensor(c.cast(x.held, dtype), x.layout)
    if zero is None:
        return result
    held, layout = c.aligned([result, c.tensor(c.cast(zero.held, dtype), zero.layout)])
    return c.tensor(c.apply(Sub(), *held), layout)


def _by_row(c: Call, x: Tensor, parameter: Tensor | None) -> Tensor | None:
    """A number for each row of matrices."""
    if parameter is None or parameter.rank != 1 or parameter.shape[0] == 1:
        return parameter if parameter is None or parameter.rank != 1 else reshaped(c, parameter, ())
    return expanded(c, parameter, (1,))


@reads("MatMulInteger")
def matmul_integer(c: Call) -> Tensor:
    """The exact product of whole numbers, int32."""
    a, b = c.input(0), c.input(1)
    y = product(c, _centred(c, a, _by_row(c, a, c.optional(2)), "int32"), _centred(c, b, c.optional(3), "int32"))
    return c.tensor(c.cast(y.held, "int32"), y.layout)


@reads("QLinearMatMul")
def quantized_matmul(c: Call) -> Tensor:
    """The product of what 8-bit numbers stand for, as 8-bit numbers."""
    a, b, zero = c.input(0), c.input(3), c.input(7)
    a_zero, a_scale = _by_row(c, a, c.input(2)), _by_row(c, a, c.input(1))
    exact = product(c, _centred(c, a, a_zero, "int32"), _centred(c, b, c.input(5), "int32"))
    real: Held = c.cast(exact.held, "float32")
    y = c.tensor(real, exact.layout)
    for scale in (a_scale, c.input(4)):
        if scale is not None:
            held, layout = c.aligned([y, c.tensor(c.cast(scale.held, "float32"), scale.layout)])
            y = c.tensor(c.apply(Mul(), *held), layout)
    out_scale = reshaped(c, c.input(6), ()) if c.input(6).shape == (1,) else c.input(6)
    return quantized(c, y, c.tensor(c.cast(out_scale.held, "float32"), out_scale.layout), zero, zero.dtype)


@reads("ConvInteger")
def convolution_of_integers(c: Call) -> Tensor:
    """The exact convolution of whole numbers, int32."""
    x, w = _centred(c, c.input(0), c.optional(2), "float64"), c.input(1)
    zero = c.optional(3)
    if zero is not None and zero.rank == 1 and zero.shape[0] > 1:
        zero = expanded(c, zero, tuple(range(1, w.rank)))
    w = _centred(c, w, zero, "float64")
    found = windows(c, x.shape[2:], c.integers("kernel_shape", w.shape[2:]))
    y = convolution(c, x, w, (), found, c.integer("group", 1))
    return c.tensor(c.cast(y.held, "int32"), y.layout)


@reads("QLinearConv")
def quantized_convolution(c: Call) -> Tensor:
    """The convolution of what 8-bit numbers stand for, as 8-bit numbers."""
    x, w, zero = _centred(c, c.input(0), c.input(2), "float64"), c.input(3), c.input(7)
    w_zero, w_scale = c.input(5), c.input(4)
    if w_zero.rank == 1 and w_zero.shape[0] > 1:
        w_zero = expanded(c, w_zero, tuple(range(1, w.rank)))
    w = _centred(c, w, w_zero, "float64")
    bias = (c.cast(c.plain(c.input(8)), "float64"),) if c.has(8) else ()
    found = windows(c, x.shape[2:], c.integers("kernel_shape", w.shape[2:]))
    y = convolution(c, x, w, bias, found, c.integer("group", 1))
    factor = c.apply(Mul(), c.cast(c.plain(c.input(1)), "float64"), c.cast(c.plain(w_scale), "float64"))
    if c.shape(factor) not in ((), (1,)):
        factor = c.translation.reshape(factor, (w.shape[0], *(1,) * (w.rank - 2)))
    held, layout = c.aligned([y, c.result(factor)])
    y = c.tensor(c.apply(Mul(), *held), layout)
    scale = c.result(c.cast(c.plain(c.input(6)), "float64"))
    return quantized(c, y, reshaped(c, scale, ()), zero, zero.dtype)
