"""The version of an operator that a use of it needs, the oldest runtime that has it, and the runtimes asked for.

Source: tflite/converter/tools/versioning/op_version.cc of google-ai-edge/LiteRT. A runtime refuses a file with a
version above what it knows, so each use states the lowest that covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edge_sdk.converters.tflite.options import (
    FullyConnectedOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    TransposeConvOptions,
)
from edge_sdk.converters.tflite.runtime_table import NEWEST, SINCE, Runtime, parse, show
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options
from edge_sdk.errors import UsageError, suggestion
from edge_sdk.spec import HALF_A_BYTE, Spec

OLDEST: Runtime = (2, 3, 0)
"""No file is said to run in an older one: none was tried there."""
LATEST = "latest"
"""The name of a target that has every version."""

_INT8_AND_INT16 = {"int8": 2, "int16": 3}
_INT8 = {"int8": 2}
_EITHER = {"int8": 2, "int16": 2}
_INT16_LAST = {"int8": 2, "int16": 4}
_BY_TYPE: Mapping[Builtin, Mapping[str, int]] = {
    **dict.fromkeys(
        (
            Builtin.AVERAGE_POOL_2D, Builtin.BATCH_MATMUL, Builtin.CONCATENATION, Builtin.LOGISTIC, Builtin.MAX_POOL_2D,
            Builtin.MEAN, Builtin.PAD, Builtin.PADV2, Builtin.REDUCE_MAX, Builtin.REDUCE_MIN, Builtin.RELU6,
            Builtin.SOFTMAX, Builtin.TANH,
        ),
        _INT8_AND_INT16,
    ),
    **dict.fromkeys((Builtin.LOG_SOFTMAX, Builtin.SPLIT_V, Builtin.SUM), _INT8),
    **dict.fromkeys((Builtin.EXP, Builtin.LOG, Builtin.SQRT), _EITHER),
    **dict.fromkeys((Builtin.MAXIMUM, Builtin.MINIMUM), _INT16_LAST),
    **dict.fromkeys((Builtin.RESIZE_BILINEAR, Builtin.RESIZE_NEAREST_NEIGHBOR), _INT16_LAST),
    Builtin.ABS: {"int8": 2, "uint8": 2, "int16": 4, "int32": 5},
    Builtin.ADD: {"int8": 2, "int16": 5, "int64": 4},
    Builtin.BROADCAST_TO: {"int8": 3, "int16": 3},
    Builtin.DEQUANTIZE: {"int8": 2, "int16": 3, "float16": 3},
    Builtin.FILL: {"bool": 2, "int8": 3, "int16": 3, "float16": 4},
    Builtin.GATHER: {"int8": 2, "bool": 3, "int16": 4},
    Builtin.GELU: {"int8": 2, "uint8": 2},
    Builtin.LEAKY_RELU: {"int16": 2},
    Builtin.MUL: {"int8": 2, "int16": 7, "int64": 5},
    Builtin.RELU: {"int8": 2, "uint8": 2, "int16": 3},
    Builtin.SLICE: {"int8": 2, "int16": 4},
    Builtin.SPLIT: {"int8": 2, "int32": 3, "int16": 4},
    Builtin.SUB: {"int8": 2, "int64": 4, "int16": 5},
    Builtin.TRANSPOSE: {"int8": 2, "bool": 3, "int16": 5},
}  # fmt: skip
"""By the type of the numbers; version 1 computes those that are not named. int16 of ADD and MUL are whole numbers."""
_QUANTIZED_INT16 = {Builtin.ABS: 3, Builtin.ADD: 3, Builtin.MUL: 4}
_DATA_INPUT = {Builtin.FILL: 1, Builtin.SPLIT: 1, Builtin.TRANSPOSE_CONV: 2}
"""The input whose type decides, where it is not the first."""

_BY_RANK: Mapping[Builtin, Sequence[tuple[int, int]]] = {
    Builtin.PAD: ((5, 4),), Builtin.PADV2: ((5, 4),), Builtin.SLICE: ((5, 5),),
    Builtin.TRANSPOSE: ((5, 4), (6, 6), (7, 8)),
}  # fmt: skip
"""Rank from which on a version is needed."""
_BROADCAST_OF_FIVE_AXES = {Builtin.DIV: 2, Builtin.MAXIMUM: 3, Builtin.MINIMUM: 3, Builtin.SUB: 3}

# What computes int16 activations with int8 weights came with these versions; op_version.cc asks for them where both are
# int16, which no kernel computes.
_INT16_WEIGHTED = {Builtin.CONV_2D: 4, Builtin.DEPTHWISE_CONV_2D: 5, Builtin.FULLY_CONNECTED: 7}
_INT16_SINCE: Mapping[Builtin, Runtime] = {Builtin.TRANSPOSE_CONV: (2, 4, 0)}
"""Where 16 bits came without a version of their own: a 2.3 that takes the version may lack the kernel."""
SCALE_AN_OUTPUT = 12
"""The version of FULLY_CONNECTED whose weights may have a scale for each output."""


def operator_version(code: Builtin, inputs: Sequence[Spec], outputs: Sequence[Spec], options: Options | None) -> int:
    """Return the lowest version of an operator that computes these types."""
    data = inputs[_DATA_INPUT.get(code, 0)] if inputs else outputs[0]
    if code in _INT16_WEIGHTED:
        if data.dtype == "int16":
            scaled = code is Builtin.FULLY_CONNECTED and _is_per_channel(inputs[1])
            return SCALE_AN_OUTPUT if scaled else _INT16_WEIGHTED[code]
        if code is Builtin.FULLY_CONNECTED:
            return _dense_version(inputs, options)
        return _convolution_version(code, data, inputs[1], options)
    if code is Builtin.QUANTIZE:
        return 2 if outputs[0].dtype == "int16" else 1
    if code is Builtin.TRANSPOSE_CONV:
        return _transposed_version(inputs, options)
    if code is Builtin.CAST:
        return _cast_version({data.dtype, outputs[0].dtype})
    quantized_int16 = data.dtype == "int16" and data.quant is not None and code in _QUANTIZED_INT16
    by_type = _QUANTIZED_INT16[code] if quantized_int16 else _BY_TYPE.get(code, {}).get(data.dtype, 1)
    return max(by_type, _by_shape(code, inputs), _by_attribute(code, inputs, outputs, options))


def first_runtime(code: Builtin, version: int, inputs: Sequence[Spec]) -> Runtime:
    """Return the oldest runtime that has a version of an operator for inputs of these types."""
    data = inputs[_DATA_INPUT.get(code, 0)].dtype if inputs else None
    return max(SINCE[code, version], _INT16_SINCE.get(code, OLDEST) if data == "int16" else OLDEST)


def minimum_runtime(runtimes: Iterable[Runtime]) -> str:
    """Return the oldest runtime that is none before these, with three numbers."""
    return ".".join(map(str, max([OLDEST, *runtimes])))


def target_runtime(name: str | None) -> Runtime | None:
    """Return the runtime called "2.14", "2.14.0" or "latest"; None is none in particular.

    Raises:
        UsageError: no such runtime, or one before the oldest that files are written for.
    """
    if name is None:
        return None
    if name == LATEST:
        return NEWEST
    try:
        runtime = parse(name)
    except ValueError:
        known = [LATEST, *sorted({show(runtime) for runtime in SINCE.values() if runtime >= OLDEST})]
        raise UsageError(
            f"runtime {name!r} is not a release such as 2.14, nor {LATEST!r}{suggestion(name, known)}"
        ) from None
    if not OLDEST <= runtime <= NEWEST:
        raise UsageError(
            f"runtime {name!r} is not between {show(OLDEST)} and {show(NEWEST)}, the TensorFlow Lite releases that are "
            f"known here; newer ones, among them all of LiteRT 2, are {LATEST!r}"
        )
    return runtime


def has_version(runtime: Runtime | None, code: Builtin, version: int) -> bool:
    """Tell whether a runtime was asked for, and has this version."""
    return runtime is not None and SINCE[code, version] <= runtime


def _by_shape(code: Builtin, inputs: Sequence[Spec]) -> int:
    rank = max((spec.rank for spec in inputs), default=0)
    needed = [version for least, version in _BY_RANK.get(code, ()) if rank >= least]
    if rank > 4 and len({spec.shape for spec in inputs}) > 1:
        needed.append(_BROADCAST_OF_FIVE_AXES.get(code, 1))
    return max(needed, default=1)


def _by_attribute(code: Builtin, inputs: Sequence[Spec], outputs: Sequence[Spec], options: Options | None) -> int:
    if isinstance(options, ResizeBilinearOptions | ResizeNearestNeighborOptions) and (
        options.half_pixel_centers or (options.align_corners and code is Builtin.RESIZE_NEAREST_NEIGHBOR)
    ):
        return 3
    if code is Builtin.BROADCAST_TO:
        return 2
    if code is Builtin.MUL and _product_grows(inputs, outputs):
        return 3
    return 5 if code is Builtin.DEQUANTIZE and _is_per_channel(inputs[0]) else 1


def _convolution_version(code: Builtin, x: Spec, w: Spec, options: Options | None) -> int:
    dense = code is Builtin.CONV_2D
    if w.dtype == "int8" and x.dtype == "float32":
        per_channel = _is_per_channel(w)
        return (5 if per_channel else 2) if dense else (6 if per_channel else 4)
    if x.dtype == "int8":
        return 7 if _is_narrow(w) else 3
    dilated = max(getattr(options, "dilation_w_factor", 1), getattr(options, "dilation_h_factor", 1)) > 1
    return 2 if dilated and not dense else 1


def _dense_version(inputs: Sequence[Spec], options: Options | None) -> int:
    x, w = inputs[:2]
    hybrid = w.dtype == "int8" and x.dtype == "float32"
    if hybrid and _is_per_channel(w):
        return 12
    if x.dtype == "int8" and _is_narrow(w):
        return 10
    if len(inputs) < 3:  # no bias
        return 6
    if hybrid:
        asymmetric = isinstance(options, FullyConnectedOptions) and options.asymmetric_quantize_inputs
        return 9 if asymmetric else 3
    if x.dtype == "int8":  # a scale an output is promised from version 12 on alone
        return 12 if w.quant is not None and w.quant.axis is not None else 4
    return 1


def _is_narrow(w: Spec) -> bool:
    """Tell whether weights have 4 bits."""
    return w.quant is not None and w.quant.bits == HALF_A_BYTE


def _transposed_version(inputs: Sequence[Spec], options: Options | None) -> int:
    fused = getattr(options, "fused_activation_function", FusedActivation.NONE)
    if isinstance(options, TransposeConvOptions) and fused is not FusedActivation.NONE:
        return 4
    if len(inputs) > 3:  # with a bias
        return 3
    return 2 if inputs[1].dtype == "int8" else 1


def _cast_version(types: set[str]) -> int:
    if types & {"float16", "float64"}:
        return 5
    return 3 if "int8" in types else 1


def _is_per_channel(spec: Spec) -> bool:
    return spec.quant is not None and len(spec.quant.scale) > 1


def _product_grows(inputs: Sequence[Spec], outputs: Sequence[Spec]) -> bool:
    """Tell whether a quantized product is rescaled by 1 or more."""
    quants = [spec.quant for spec in (*inputs, *outputs)]
    if any(quant is None for quant in quants):
        return False
    a, b, y = (quant.scale[0] for quant in quants if quant is not None)
    return a * b / y >= 1
