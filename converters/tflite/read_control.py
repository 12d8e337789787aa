"""Constants, casts, and the borders of quantization."""

from __future__ import annotations

from edge_sdk.converters.tflite.file_graph import FileOperator
from edge_sdk.converters.tflite.reading import Reading, reads
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.ops.control import FullLike, Identity
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.shape import Cast
from edge_sdk.spec import FLOATS

STORED = ("int8", "uint8", "int16")
"""Types in which numbers with one scale are stored."""


@reads(Builtin.QUANTIZE)
def quantize(r: Reading, operator: FileOperator) -> None:
    """Quantize from floats or from other parameters; nothing where everything is read as floats."""
    x, made = r.value(operator, 0), r.file.tensors[operator.outputs[0]]
    if not r.quantized:
        r.alias(operator, x)
        return
    if made.quant is None or made.quant.axis is not None or made.dtype not in STORED:
        raise FormatError(f"it makes {made.dtype} numbers without one scale and zero point; wanted {', '.join(STORED)}")
    r.emit(operator, Quantize(made.quant.scale[0], made.quant.zero_point[0], made.dtype), x)


@reads(Builtin.DEQUANTIZE)
def dequantize(r: Reading, operator: FileOperator) -> None:
    """Dequantize; nothing where everything is read as floats."""
    x = r.value(operator, 0)
    quant = r.spec(x).quant
    if quant is None:
        r.alias(operator, x)
        return
    if quant.axis is not None:
        raise FormatError("it reads numbers with a scale a channel")
    r.emit(operator, Dequantize(quant.scale[0], quant.zero_point[0]), x)


@reads(Builtin.CAST)
def cast(r: Reading, operator: FileOperator) -> None:
    """cast; nothing between floats, all of which are float32 here."""
    x, wanted = r.value(operator, 0), r.file.tensors[operator.outputs[0]].dtype or ""
    source = r.spec(x)
    if source.quant is not None:
        raise FormatError("it reads quantized numbers as whole ones")
    if source.dtype == wanted or {source.dtype, wanted} <= FLOATS:
        r.emit(operator, Identity(), x)
    else:
        r.emit(operator, Cast("float32" if wanted in FLOATS else wanted), x)


@reads(Builtin.FILL)
def fill(r: Reading, operator: FileOperator) -> None:
    """full_like of the value whose shape is asked for; a shape that is known is folded."""
    value = r.known(operator, 1)
    like = r.shape_source(operator, 0)
    if value is None or value.size != 1 or like is None:
        raise FormatError("it fills a shape that is computed, or with a number that is")
    r.emit(operator, FullLike(float(value.reshape(-1)[0])), like)
