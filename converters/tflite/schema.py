"""The part of TFLite's file schema that is written here: enumerations, and the slots of operator options.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3. A table's fields are numbered slots; a field that is
left out has the schema's default. The numbers are fixed forever, so they stand here and no generated module is needed:
neither runtime has to be loaded to write a file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3


class TensorType(IntEnum):
    """Element types, named as NumPy names them."""

    float32 = 0
    float16 = 1
    int32 = 2
    uint8 = 3
    int64 = 4
    bool = 6
    int16 = 7
    int8 = 9
    float64 = 10


class Padding(IntEnum):
    """Padding rules of windows."""

    SAME = 0
    VALID = 1


class FusedActivation(IntEnum):
    """What an operator applies to its result."""

    NONE = 0
    RELU = 1
    RELU6 = 3


class Builtin(IntEnum):
    """Codes of the builtin operators."""

    ADD = 0
    AVERAGE_POOL_2D = 1
    CONCATENATION = 2
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    FULLY_CONNECTED = 9
    LOCAL_RESPONSE_NORMALIZATION = 13
    LOGISTIC = 14
    MAX_POOL_2D = 17
    MUL = 18
    RELU = 19
    RELU6 = 21
    RESHAPE = 22
    RESIZE_BILINEAR = 23
    SOFTMAX = 25
    TANH = 28
    PAD = 34
    GATHER = 36
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    DIV = 42
    SQUEEZE = 43
    STRIDED_SLICE = 45
    EXP = 47
    SPLIT = 49
    LOG_SOFTMAX = 50
    CAST = 53
    PRELU = 54
    MAXIMUM = 55
    MINIMUM = 57
    NEG = 59
    PADV2 = 60
    SLICE = 65
    EXPAND_DIMS = 70
    LOG = 73
    SUM = 74
    SQRT = 75
    RSQRT = 76
    SHAPE = 77
    REDUCE_MAX = 82
    ONE_HOT = 85
    SQUARE = 92
    FILL = 94
    RESIZE_NEAREST_NEIGHBOR = 97
    LEAKY_RELU = 98
    SQUARED_DIFFERENCE = 99
    ABS = 101
    SPLIT_V = 102
    QUANTIZE = 114
    HARD_SWISH = 117
    BATCH_MATMUL = 126
    BROADCAST_TO = 130
    GELU = 150


Kind = Literal["int8", "int32", "float32", "bool", "int32 vector"]


@dataclass(frozen=True)
class Slot:
    """Where and how an option is stored; a value equal to the schema's default is left out of the file."""

    index: int
    kind: Kind
    default: Any


def _slot(index: int, kind: Kind, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"slot": Slot(index, kind, default)})


@dataclass(frozen=True)
class Options:
    """Attributes of one use of an operator. A subclass's fields are the slots of the table of the same name."""

    union_type: ClassVar[int] = 0
    """Its number in the schema's union BuiltinOptions."""

    def __init_subclass__(cls, union_type: int) -> None:
        cls.union_type = union_type

    def slots(self) -> list[tuple[Slot, Any]]:
        """Return the fields with their values, in slot order."""
        found = [(field.metadata["slot"], getattr(self, field.name)) for field in dataclasses.fields(self)]
        return sorted(found, key=lambda pair: pair[0].index)


@dataclass(frozen=True)
class Conv2DOptions(Options, union_type=1):
    """CONV_2D."""

    padding: Padding = _slot(0, "int8", Padding.SAME)
    stride_w: int = _slot(1, "int32", 0)
    stride_h: int = _slot(2, "int32", 0)
    fused_activation_function: FusedActivation = _slot(3, "int8", FusedActivation.NONE)
    dilation_w_factor: int = _slot(4, "int32", 1)
    dilation_h_factor: int = _slot(5, "int32", 1)


@dataclass(frozen=True)
class DepthwiseConv2DOptions(Options, union_type=2):
    """DEPTHWISE_CONV_2D."""

    padding: Padding = _slot(0, "int8", Padding.SAME)
    stride_w: int = _slot(1, "int32", 0)
    stride_h: int = _slot(2, "int32", 0)
    depth_multiplier: int = _slot(3, "int32", 0)
    fused_activation_function: FusedActivation = _slot(4, "int8", FusedActivation.NONE)
    dilation_w_factor: int = _slot(5, "int32", 1)
    dilation_h_factor: int = _slot(6, "int32", 1)


@dataclass(frozen=True)
class Pool2DOptions(Options, union_type=5):
    """MAX_POOL_2D and AVERAGE_POOL_2D."""

    padding: Padding = _slot(0, "int8", Padding.SAME)
    stride_w: int = _slot(1, "int32", 0)
    stride_h: int = _slot(2, "int32", 0)
    filter_width: int = _slot(3, "int32", 0)
    filter_height: int = _slot(4, "int32", 0)
    fused_activation_function: FusedActivation = _slot(5, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class FullyConnectedOptions(Options, union_type=8):
    """FULLY_CONNECTED."""

    fused_activation_function: FusedActivation = _slot(0, "int8", FusedActivation.NONE)
    keep_num_dims: bool = _slot(2, "bool", default=False)
    asymmetric_quantize_inputs: bool = _slot(3, "bool", default=False)


@dataclass(frozen=True)
class SoftmaxOptions(Options, union_type=9):
    """SOFTMAX along the last axis."""

    beta: float = _slot(0, "float32", 0.0)


@dataclass(frozen=True)
class ConcatenationOptions(Options, union_type=10):
    """CONCATENATION."""

    axis: int = _slot(0, "int32", 0)
    fused_activation_function: FusedActivation = _slot(1, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class AddOptions(Options, union_type=11):
    """ADD."""

    fused_activation_function: FusedActivation = _slot(0, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class LocalResponseNormalizationOptions(Options, union_type=13):
    """LOCAL_RESPONSE_NORMALIZATION: x / (bias + alpha · Σ x²)^beta over 2 · radius + 1 channels."""

    radius: int = _slot(0, "int32", 0)
    bias: float = _slot(1, "float32", 0.0)
    alpha: float = _slot(2, "float32", 0.0)
    beta: float = _slot(3, "float32", 0.0)


@dataclass(frozen=True)
class ResizeBilinearOptions(Options, union_type=15):
    """RESIZE_BILINEAR; slots 0 and 1 are long out of use."""

    align_corners: bool = _slot(2, "bool", default=False)
    half_pixel_centers: bool = _slot(3, "bool", default=False)


@dataclass(frozen=True)
class ReshapeOptions(Options, union_type=17):
    """RESHAPE."""

    new_shape: tuple[int, ...] = _slot(0, "int32 vector", ())


@dataclass(frozen=True)
class MulOptions(Options, union_type=21):
    """MUL."""

    fused_activation_function: FusedActivation = _slot(0, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class PadOptions(Options, union_type=22):
    """PAD."""


@dataclass(frozen=True)
class GatherOptions(Options, union_type=23):
    """GATHER."""

    axis: int = _slot(0, "int32", 0)
    batch_dims: int = _slot(1, "int32", 0)


@dataclass(frozen=True)
class TransposeOptions(Options, union_type=26):
    """TRANSPOSE."""


@dataclass(frozen=True)
class ReducerOptions(Options, union_type=27):
    """MEAN, SUM and REDUCE_MAX."""

    keep_dims: bool = _slot(0, "bool", default=False)


@dataclass(frozen=True)
class SubOptions(Options, union_type=28):
    """SUB."""

    fused_activation_function: FusedActivation = _slot(0, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class DivOptions(Options, union_type=29):
    """DIV."""

    fused_activation_function: FusedActivation = _slot(0, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class SqueezeOptions(Options, union_type=30):
    """SQUEEZE."""

    squeeze_dims: tuple[int, ...] = _slot(0, "int32 vector", ())


@dataclass(frozen=True)
class StridedSliceOptions(Options, union_type=32):
    """STRIDED_SLICE; each mask has one bit an axis."""

    begin_mask: int = _slot(0, "int32", 0)
    end_mask: int = _slot(1, "int32", 0)
    ellipsis_mask: int = _slot(2, "int32", 0)
    new_axis_mask: int = _slot(3, "int32", 0)
    shrink_axis_mask: int = _slot(4, "int32", 0)


@dataclass(frozen=True)
class ExpOptions(Options, union_type=33):
    """EXP."""


@dataclass(frozen=True)
class SplitOptions(Options, union_type=35):
    """SPLIT into equal parts."""

    num_splits: int = _slot(0, "int32", 0)


@dataclass(frozen=True)
class LogSoftmaxOptions(Options, union_type=36):
    """LOG_SOFTMAX along the last axis."""


@dataclass(frozen=True)
class CastOptions(Options, union_type=37):
    """CAST."""

    in_data_type: TensorType = _slot(0, "int8", TensorType.float32)
    out_data_type: TensorType = _slot(1, "int8", TensorType.float32)


@dataclass(frozen=True)
class DequantizeOptions(Options, union_type=38):
    """DEQUANTIZE."""


@dataclass(frozen=True)
class MaximumMinimumOptions(Options, union_type=39):
    """MAXIMUM and MINIMUM."""


@dataclass(frozen=True)
class NegOptions(Options, union_type=42):
    """NEG."""


@dataclass(frozen=True)
class PadV2Options(Options, union_type=43):
    """PADV2."""


@dataclass(frozen=True)
class SliceOptions(Options, union_type=48):
    """SLICE."""


@dataclass(frozen=True)
class ExpandDimsOptions(Options, union_type=52):
    """EXPAND_DIMS."""


@dataclass(frozen=True)
class ShapeOptions(Options, union_type=55):
    """SHAPE."""

    out_type: TensorType = _slot(0, "int8", TensorType.float32)


@dataclass(frozen=True)
class OneHotOptions(Options, union_type=61):
    """ONE_HOT."""

    axis: int = _slot(0, "int32", 0)


@dataclass(frozen=True)
class SquareOptions(Options, union_type=66):
    """SQUARE."""


@dataclass(frozen=True)
class FillOptions(Options, union_type=68):
    """FILL."""


@dataclass(frozen=True)
class ResizeNearestNeighborOptions(Options, union_type=74):
    """RESIZE_NEAREST_NEIGHBOR."""

    align_corners: bool = _slot(0, "bool", default=False)
    half_pixel_centers: bool = _slot(1, "bool", default=False)


@dataclass(frozen=True)
class LeakyReluOptions(Options, union_type=75):
    """LEAKY_RELU."""

    alpha: float = _slot(0, "float32", 0.0)


@dataclass(frozen=True)
class SquaredDifferenceOptions(Options, union_type=76):
    """SQUARED_DIFFERENCE."""


@dataclass(frozen=True)
class AbsOptions(Options, union_type=78):
    """ABS."""


@dataclass(frozen=True)
class SplitVOptions(Options, union_type=79):
    """SPLIT_V into parts of given sizes."""

    num_splits: int = _slot(0, "int32", 0)


@dataclass(frozen=True)
class QuantizeOptions(Options, union_type=89):
    """QUANTIZE."""


@dataclass(frozen=True)
class HardSwishOptions(Options, union_type=91):
    """HARD_SWISH."""


@dataclass(frozen=True)
class BatchMatMulOptions(Options, union_type=101):
    """BATCH_MATMUL; adj_x and adj_y transpose the last two axes."""

    adj_x: bool = _slot(0, "bool", default=False)
    adj_y: bool = _slot(1, "bool", default=False)
    asymmetric_quantize_inputs: bool = _slot(2, "bool", default=False)


@dataclass(frozen=True)
class BroadcastToOptions(Options, union_type=104):
    """BROADCAST_TO."""


@dataclass(frozen=True)
class GeluOptions(Options, union_type=116):
    """GELU."""

    approximate: bool = _slot(0, "bool", default=False)
