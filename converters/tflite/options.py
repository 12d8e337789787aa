"""Options of the builtin operators, table by table of schema.fbs. Names and defaults are the schema's."""

# ruff: noqa: RUF009 - slot() is dataclasses.field with the slot as its metadata
from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.converters.tflite.schema import FusedActivation, Options, Padding, TensorType, slot


@dataclass(frozen=True)
class Conv2DOptions(Options, union_type=1):
    """CONV_2D."""

    padding: Padding = slot(0, "int8", Padding.SAME)
    stride_w: int = slot(1, "int32", 0)
    stride_h: int = slot(2, "int32", 0)
    fused_activation_function: FusedActivation = slot(3, "int8", FusedActivation.NONE)
    dilation_w_factor: int = slot(4, "int32", 1)
    dilation_h_factor: int = slot(5, "int32", 1)


@dataclass(frozen=True)
class DepthwiseConv2DOptions(Options, union_type=2):
    """DEPTHWISE_CONV_2D."""

    padding: Padding = slot(0, "int8", Padding.SAME)
    stride_w: int = slot(1, "int32", 0)
    stride_h: int = slot(2, "int32", 0)
    depth_multiplier: int = slot(3, "int32", 0)
    fused_activation_function: FusedActivation = slot(4, "int8", FusedActivation.NONE)
    dilation_w_factor: int = slot(5, "int32", 1)
    dilation_h_factor: int = slot(6, "int32", 1)


@dataclass(frozen=True)
class Pool2DOptions(Options, union_type=5):
    """MAX_POOL_2D and AVERAGE_POOL_2D."""

    padding: Padding = slot(0, "int8", Padding.SAME)
    stride_w: int = slot(1, "int32", 0)
    stride_h: int = slot(2, "int32", 0)
    filter_width: int = slot(3, "int32", 0)
    filter_height: int = slot(4, "int32", 0)
    fused_activation_function: FusedActivation = slot(5, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class FullyConnectedOptions(Options, union_type=8):
    """FULLY_CONNECTED."""

    fused_activation_function: FusedActivation = slot(0, "int8", FusedActivation.NONE)
    weights_format: int = slot(1, "int8", 0)
    keep_num_dims: bool = slot(2, "bool", default=False)
    asymmetric_quantize_inputs: bool = slot(3, "bool", default=False)


@dataclass(frozen=True)
class SoftmaxOptions(Options, union_type=9):
    """SOFTMAX along the last axis."""

    beta: float = slot(0, "float32", 0.0)


@dataclass(frozen=True)
class ConcatenationOptions(Options, union_type=10):
    """CONCATENATION."""

    axis: int = slot(0, "int32", 0)
    fused_activation_function: FusedActivation = slot(1, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class AddOptions(Options, union_type=11):
    """ADD; of int16, whether scales that are powers of two are summed by shifts alone."""

    fused_activation_function: FusedActivation = slot(0, "int8", FusedActivation.NONE)
    pot_scale_int16: bool = slot(1, "bool", default=True)


@dataclass(frozen=True)
class LocalResponseNormalizationOptions(Options, union_type=13):
    """LOCAL_RESPONSE_NORMALIZATION: x / (bias + alpha · Σ x²)^beta over 2 · radius + 1 channels."""

    radius: int = slot(0, "int32", 0)
    bias: float = slot(1, "float32", 0.0)
    alpha: float = slot(2, "float32", 0.0)
    beta: float = slot(3, "float32", 0.0)


@dataclass(frozen=True)
class ResizeBilinearOptions(Options, union_type=15):
    """RESIZE_BILINEAR; slots 0 and 1 are long out of use."""

    align_corners: bool = slot(2, "bool", default=False)
    half_pixel_centers: bool = slot(3, "bool", default=False)


@dataclass(frozen=True)
class ReshapeOptions(Options, union_type=17):
    """RESHAPE."""

    new_shape: tuple[int, ...] = slot(0, "int32 vector", ())


@dataclass(frozen=True)
class SpaceToDepthOptions(Options, union_type=19):
    """SPACE_TO_DEPTH."""

    block_size: int = slot(0, "int32", 0)


@dataclass(frozen=True)
class MulOptions(Options, union_type=21):
    """MUL."""

    fused_activation_function: FusedActivation = slot(0, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class PadOptions(Options, union_type=22):
    """PAD."""


@dataclass(frozen=True)
class GatherOptions(Options, union_type=23):
    """GATHER."""

    axis: int = slot(0, "int32", 0)
    batch_dims: int = slot(1, "int32", 0)


@dataclass(frozen=True)
class TransposeOptions(Options, union_type=26):
    """TRANSPOSE."""


@dataclass(frozen=True)
class ReducerOptions(Options, union_type=27):
    """MEAN, SUM and REDUCE_MAX."""

    keep_dims: bool = slot(0, "bool", default=False)


@dataclass(frozen=True)
class SubOptions(Options, union_type=28):
    """SUB; as in ADD."""

    fused_activation_function: FusedActivation = slot(0, "int8", FusedActivation.NONE)
    pot_scale_int16: bool = slot(1, "bool", default=True)


@dataclass(frozen=True)
class DivOptions(Options, union_type=29):
    """DIV."""

    fused_activation_function: FusedActivation = slot(0, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class SqueezeOptions(Options, union_type=30):
    """SQUEEZE."""

    squeeze_dims: tuple[int, ...] = slot(0, "int32 vector", ())


@dataclass(frozen=True)
class StridedSliceOptions(Options, union_type=32):
    """STRIDED_SLICE; each mask has one bit an axis."""

    begin_mask: int = slot(0, "int32", 0)
    end_mask: int = slot(1, "int32", 0)
    ellipsis_mask: int = slot(2, "int32", 0)
    new_axis_mask: int = slot(3, "int32", 0)
    shrink_axis_mask: int = slot(4, "int32", 0)


@dataclass(frozen=True)
class ExpOptions(Options, union_type=33):
    """EXP."""


@dataclass(frozen=True)
class SplitOptions(Options, union_type=35):
    """SPLIT into equal parts."""

    num_splits: int = slot(0, "int32", 0)


@dataclass(frozen=True)
class LogSoftmaxOptions(Options, union_type=36):
    """LOG_SOFTMAX along the last axis."""


@dataclass(frozen=True)
class CastOptions(Options, union_type=37):
    """CAST."""

    in_data_type: TensorType = slot(0, "int8", TensorType.float32)
    out_data_type: TensorType = slot(1, "int8", TensorType.float32)


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
class TransposeConvOptions(Options, union_type=49):
    """TRANSPOSE_CONV."""

    padding: Padding = slot(0, "int8", Padding.SAME)
    stride_w: int = slot(1, "int32", 0)
    stride_h: int = slot(2, "int32", 0)
    fused_activation_function: FusedActivation = slot(3, "int8", FusedActivation.NONE)


@dataclass(frozen=True)
class ExpandDimsOptions(Options, union_type=52):
    """EXPAND_DIMS."""


@dataclass(frozen=True)
class ShapeOptions(Options, union_type=55):
    """SHAPE."""

    out_type: TensorType = slot(0, "int8", TensorType.float32)


@dataclass(frozen=True)
class PackOptions(Options, union_type=59):
    """PACK along a new axis."""

    values_count: int = slot(0, "int32", 0)
    axis: int = slot(1, "int32", 0)


@dataclass(frozen=True)
class OneHotOptions(Options, union_type=61):
    """ONE_HOT."""

    axis: int = slot(0, "int32", 0)


@dataclass(frozen=True)
class UnpackOptions(Options, union_type=64):
    """UNPACK along an axis that goes."""

    num: int = slot(0, "int32", 0)
    axis: int = slot(1, "int32", 0)


@dataclass(frozen=True)
class SquareOptions(Options, union_type=66):
    """SQUARE."""


@dataclass(frozen=True)
class FillOptions(Options, union_type=68):
    """FILL."""


@dataclass(frozen=True)
class ResizeNearestNeighborOptions(Options, union_type=74):
    """RESIZE_NEAREST_NEIGHBOR."""

    align_corners: bool = slot(0, "bool", default=False)
    half_pixel_centers: bool = slot(1, "bool", default=False)


@dataclass(frozen=True)
class LeakyReluOptions(Options, union_type=75):
    """LEAKY_RELU."""

    alpha: float = slot(0, "float32", 0.0)


@dataclass(frozen=True)
class SquaredDifferenceOptions(Options, union_type=76):
    """SQUARED_DIFFERENCE."""


@dataclass(frozen=True)
class MirrorPadOptions(Options, union_type=77):
    """MIRROR_PAD: 0 leaves the border itself out (REFLECT), 1 repeats it (SYMMETRIC)."""

    mode: int = slot(0, "int8", 0)


@dataclass(frozen=True)
class AbsOptions(Options, union_type=78):
    """ABS."""


@dataclass(frozen=True)
class SplitVOptions(Options, union_type=79):
    """SPLIT_V into parts of given sizes."""

    num_splits: int = slot(0, "int32", 0)


@dataclass(frozen=True)
class QuantizeOptions(Options, union_type=89):
    """QUANTIZE."""


@dataclass(frozen=True)
class HardSwishOptions(Options, union_type=91):
    """HARD_SWISH."""


@dataclass(frozen=True)
class DepthToSpaceOptions(Options, union_type=94):
    """DEPTH_TO_SPACE."""

    block_size: int = slot(0, "int32", 0)


@dataclass(frozen=True)
class BatchMatMulOptions(Options, union_type=101):
    """BATCH_MATMUL; adj_x and adj_y transpose the last two axes."""

    adj_x: bool = slot(0, "bool", default=False)
    adj_y: bool = slot(1, "bool", default=False)
    asymmetric_quantize_inputs: bool = slot(2, "bool", default=False)


@dataclass(frozen=True)
class BroadcastToOptions(Options, union_type=104):
    """BROADCAST_TO."""


@dataclass(frozen=True)
class GeluOptions(Options, union_type=116):
    """GELU."""

    approximate: bool = slot(0, "bool", default=False)
