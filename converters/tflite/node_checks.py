"""What must hold of a node made from an operator of a file: its shapes, and its stored numbers."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.converters.tflite.file_graph import FileTensor
from edge_sdk.errors import FormatError
from edge_sdk.op import Op
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.quantization.parameters import bias_type
from edge_sdk.quantization.rules import FIXED, NARROW, RESCALING, SAME_PARAMETERS, WEIGHT_AXIS
from edge_sdk.spec import Spec


def check_shape(made: Spec, tensor: FileTensor) -> None:
    """Refuse a node whose output is not what the file says, but for the batch and what the file leaves open."""
    stated = tensor.shape
    differ = [a != b and not is_open for a, b, is_open in zip(made.shape, stated, tensor.open_sizes, strict=False)]
    if made.symbolic:
        differ[:1] = [False]
    if (stated or not made.rank) and (len(stated) != made.rank or any(differ)):
        raise FormatError(f"it makes {made}, but the file says {list(stated)}")


def has_stored_form(op: Op, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> bool:
    """Tell whether an operator computes such stored numbers, or real ones.

    Raises:
        FormatError: it would compute them, but not as the file means them.
    """
    if isinstance(op, Quantize | Dequantize):
        return True
    weights = 1 if type(op) in WEIGHT_AXIS else len(inputs)
    data = [*inputs[:weights], *outputs]
    if all(spec.quant is None for spec in data):
        return True
    if not isinstance(op, (*WEIGHT_AXIS, *SAME_PARAMETERS, *RESCALING, *FIXED)):
        return False
    stored = "int16" if data[0].dtype == "int16" else "int8"
    if any(spec.dtype != stored or spec.quant is None or spec.quant.axis is not None for spec in data):
        raise FormatError(
            f"it goes from {', '.join(map(str, inputs))} to {', '.join(map(str, outputs))}; wanted {stored}"
        )
    if stored == "int16" and any(spec.quant is not None and spec.quant.zero_point != (0,) for spec in data):
        raise FormatError("its int16 numbers have a zero point other than 0, which no runtime computes")
    if stored == "int16" and isinstance(op, NARROW):
        return False
    if isinstance(op, SAME_PARAMETERS) and any(spec.quant != data[0].quant for spec in data):
        raise FormatError("it moves stored numbers between tensors in which they mean different real numbers")
    if type(op) in WEIGHT_AXIS:
        _check_weights(inputs, WEIGHT_AXIS[type(op)] or 0)
    return True


def _check_weights(inputs: Sequence[Spec], axis: int) -> None:
    weight = inputs[1]
    quant = weight.quant
    if weight.dtype != "int8" or quant is None or any(quant.zero_point) or quant.axis not in (None, axis):
        raise FormatError(f"its weights are {weight}; wanted int8 with the zero point 0, one scale or one an output")
    wanted = bias_type(inputs[0].dtype).name
    if len(inputs) > 2 and inputs[2].dtype != wanted:
        raise FormatError(f"its bias is {inputs[2]}; wanted {wanted} under {inputs[0].dtype}")
