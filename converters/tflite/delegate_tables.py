"""Which operators the delegates of phones take: their published rules, as tables.

Each delegate names where its rules come from. They are those of August 2026; a vendor's driver may take less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_sdk.converters.tflite.delegate_rules import (
    EIGHT_BITS,
    FLOAT,
    FLOAT_OR_EIGHT_BITS,
    Rule,
    constant,
    eight_bit_result,
    inputs_between,
    joins_channels,
    keeps_axes,
    not_the_batch,
    one_example,
    outputs_between,
    over_pixels,
    pads_pixels,
    plain,
    plain_softmax,
    positive_sizes,
    product_ratio,
    rank_among,
    rank_up_to,
    same_eight_bits,
    same_inputs,
    same_parameters,
    scale_ratio,
    to_axes,
    version_up_to,
    weights_like_data,
    window_covers_stride,
    with_bias,
)
from edge_sdk.converters.tflite.options import ConcatenationOptions, Pool2DOptions
from edge_sdk.converters.tflite.schema import Builtin


@dataclass(frozen=True)
class Delegate:
    """What computes part of a file in place of the runtime's own kernels.

    Attributes:
        rules: The operators that it has.
        source: Where the rules are published.
        remark: What a reader of the report should know.
        widens: Whether weights stored as float16, or as int8 with a DEQUANTIZE, go into the operators that read them.
        stops: Whether everything after the first operator that is not taken stays on the processor too.
    """

    name: str
    rules: Mapping[Builtin, Rule]
    source: str
    remark: str
    widens: bool = True
    stops: bool = False


def _all(codes: Iterable[Builtin], rule: Rule) -> dict[Builtin, Rule]:
    return dict.fromkeys(codes, rule)


_SIX = rank_up_to(6)

XNNPACK = Delegate(
    "XNNPACK",
    {
        **_all(
            (
                Builtin.ABS, Builtin.EXP, Builtin.GELU, Builtin.HARD_SWISH, Builtin.LOG, Builtin.NEG, Builtin.RELU,
                Builtin.RELU6, Builtin.RELU_N1_TO_1, Builtin.RSQRT, Builtin.SQRT, Builtin.SQUARE,
            ),
            Rule(FLOAT, (_SIX,)),
        ),
        **_all((Builtin.LOGISTIC, Builtin.TANH), Rule(FLOAT_OR_EIGHT_BITS, (_SIX,))),
        **_all((Builtin.DIV, Builtin.MAXIMUM, Builtin.MINIMUM, Builtin.SQUARED_DIFFERENCE), Rule(FLOAT, (_SIX,))),
        **_all(
            (Builtin.ADD, Builtin.SUB), Rule(FLOAT_OR_EIGHT_BITS, (_SIX, same_inputs, scale_ratio(2**-10, 2**8)))
        ),
        Builtin.MUL: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, same_inputs, product_ratio(2**-16, 2**8))),
        Builtin.PRELU: Rule(FLOAT, (_SIX, constant(1))),
        Builtin.LEAKY_RELU: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, scale_ratio(2**-8, 2**7))),
        Builtin.QUANTIZE: Rule(
            FLOAT_OR_EIGHT_BITS, (eight_bit_result, same_eight_bits, scale_ratio(2**-8, 2**7)), changes_type=True
        ),
        Builtin.DEQUANTIZE: Rule(EIGHT_BITS, changes_type=True),
        Builtin.AVERAGE_POOL_2D: Rule(FLOAT, (window_covers_stride,)),
        Builtin.MAX_POOL_2D: Rule(FLOAT_OR_EIGHT_BITS, (window_covers_stride, same_parameters)),
        Builtin.BATCH_MATMUL: Rule(FLOAT, (_SIX,)),
        Builtin.CONCATENATION: Rule(FLOAT_OR_EIGHT_BITS, (inputs_between(2, 5),)),
        Builtin.CONV_2D: Rule(FLOAT_OR_EIGHT_BITS, (with_bias, constant(1, 2))),
        Builtin.DEPTHWISE_CONV_2D: Rule(FLOAT_OR_EIGHT_BITS, (with_bias, constant(1, 2), weights_like_data)),
        Builtin.FULLY_CONNECTED: Rule(FLOAT_OR_EIGHT_BITS, half_bytes=True),
        Builtin.EXPAND_DIMS: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, constant(1))),
        **_all(
            (Builtin.MEAN, Builtin.SUM, Builtin.REDUCE_MAX, Builtin.REDUCE_MIN),
            Rule(FLOAT_OR_EIGHT_BITS, (_SIX, constant(1))),
        ),
        Builtin.PAD: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, constant(1), same_parameters)),
        Builtin.RESHAPE: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, constant(1), same_parameters)),
        Builtin.RESIZE_BILINEAR: Rule(FLOAT_OR_EIGHT_BITS, (constant(1),)),
        Builtin.SLICE: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, positive_sizes)),
        Builtin.SOFTMAX: Rule(FLOAT, (plain_softmax,)),
        **_all((Builtin.SPACE_TO_DEPTH, Builtin.DEPTH_TO_SPACE), Rule(FLOAT_OR_EIGHT_BITS)),
        Builtin.SPLIT: Rule(FLOAT_OR_EIGHT_BITS, (constant(0), outputs_between(2, 4))),
        Builtin.STRIDED_SLICE: Rule(FLOAT_OR_EIGHT_BITS, (constant(1, 2, 3),)),
        Builtin.TRANSPOSE: Rule(FLOAT_OR_EIGHT_BITS, (_SIX, constant(1))),
        Builtin.TRANSPOSE_CONV: Rule(FLOAT_OR_EIGHT_BITS, (constant(1, 3), weights_like_data)),
    },
    "tflite/delegates/xnnpack/README.md and xnnpack_delegate.cc of google-ai-edge/LiteRT",
    "the processor, and the default of LiteRT; a test asks it",
)  # fmt: skip

_GPU_TYPES = FLOAT_OR_EIGHT_BITS

GPU = Delegate(
    "GPU",
    {
        **_all(
            (
                Builtin.ABS, Builtin.ADD, Builtin.AVERAGE_POOL_2D, Builtin.BATCH_MATMUL, Builtin.CONCATENATION,
                Builtin.DIV, Builtin.EXP, Builtin.FULLY_CONNECTED, Builtin.GELU, Builtin.HARD_SWISH, Builtin.LEAKY_RELU,
                Builtin.LOG, Builtin.LOGISTIC, Builtin.MAXIMUM, Builtin.MAX_POOL_2D, Builtin.MINIMUM, Builtin.MUL,
                Builtin.NEG, Builtin.PACK, Builtin.PAD, Builtin.PADV2, Builtin.POW, Builtin.PRELU, Builtin.RELU,
                Builtin.RELU6, Builtin.RELU_0_TO_1, Builtin.RELU_N1_TO_1, Builtin.RESHAPE, Builtin.RESIZE_BILINEAR,
                Builtin.RESIZE_NEAREST_NEIGHBOR, Builtin.RSQRT, Builtin.SPACE_TO_DEPTH, Builtin.DEPTH_TO_SPACE,
                Builtin.SPLIT, Builtin.SPLIT_V, Builtin.SQRT, Builtin.SQUARE, Builtin.SQUARED_DIFFERENCE,
                Builtin.SUB, Builtin.TANH, Builtin.TILE, Builtin.TRANSPOSE, Builtin.UNPACK,
            ),
            Rule(_GPU_TYPES, (rank_up_to(5),)),
        ),
        **_all(
            (Builtin.MEAN, Builtin.REDUCE_MAX, Builtin.REDUCE_MIN, Builtin.SUM), Rule(_GPU_TYPES, (constant(1),))
        ),
        Builtin.CONV_2D: Rule(_GPU_TYPES),
        Builtin.DEPTHWISE_CONV_2D: Rule(_GPU_TYPES),
        Builtin.TRANSPOSE_CONV: Rule(_GPU_TYPES, (constant(1),)),
        Builtin.DEQUANTIZE: Rule(EIGHT_BITS, changes_type=True),
        Builtin.QUANTIZE: Rule(_GPU_TYPES, (eight_bit_result,), changes_type=True),
        Builtin.SLICE: Rule(_GPU_TYPES, (rank_among(3, 4),)),
        Builtin.STRIDED_SLICE: Rule(_GPU_TYPES, (rank_among(3, 4),)),
        Builtin.SOFTMAX: Rule(_GPU_TYPES, (plain_softmax,)),
    },
    "tflite/delegates/gpu/README.md, gpu/common/model_builder.cc and tools/versioning/gpu_compatibility.cc of "
    "google-ai-edge/LiteRT",
    "8-bit files are computed in float16 or float32 there: 8 bits gain size, not speed",
)  # fmt: skip

_FIRST = version_up_to(1)

CORE_ML = Delegate(
    "Core ML",
    {
        **_all(
            (
                Builtin.HARD_SWISH, Builtin.LOGISTIC, Builtin.RELU, Builtin.RELU6, Builtin.RELU_N1_TO_1, Builtin.TANH,
                Builtin.ADD, Builtin.MUL,
            ),
            Rule(FLOAT, (_FIRST,)),
        ),
        **_all((Builtin.AVERAGE_POOL_2D, Builtin.MAX_POOL_2D), Rule(FLOAT, (_FIRST, plain(Pool2DOptions)))),
        Builtin.CONCATENATION: Rule(FLOAT, (_FIRST, plain(ConcatenationOptions), joins_channels)),
        Builtin.CONV_2D: Rule(FLOAT, (_FIRST, constant(1, 2))),
        Builtin.DEPTHWISE_CONV_2D: Rule(FLOAT, (version_up_to(2), constant(1, 2))),
        Builtin.FULLY_CONNECTED: Rule(FLOAT, (version_up_to(6), weights_like_data, constant(1, 2), one_example)),
        Builtin.MEAN: Rule(FLOAT, (_FIRST, keeps_axes, over_pixels)),
        **_all((Builtin.MIRROR_PAD, Builtin.PAD, Builtin.PADV2), Rule(FLOAT, (_FIRST, pads_pixels))),
        Builtin.RESHAPE: Rule(FLOAT, (_FIRST, constant(1), to_axes(3, 4))),
        Builtin.RESIZE_BILINEAR: Rule(FLOAT, (_FIRST, constant(1))),
        Builtin.SOFTMAX: Rule(FLOAT, (_FIRST, plain_softmax)),
        Builtin.TRANSPOSE_CONV: Rule(FLOAT, (_FIRST, constant(1))),
    },
    "tflite/delegates/coreml/README.md and coreml_delegate.mm of google-ai-edge/LiteRT",
    "of iOS; floats alone; a Core ML file of its own has fewer limits",
)  # fmt: skip


def _nnapi(highest: int, rank: int = 4) -> Rule:
    return Rule(FLOAT_OR_EIGHT_BITS, (version_up_to(highest), rank_up_to(rank)))


NNAPI = Delegate(
    "NNAPI",
    {
        **_all(
            (
                Builtin.ADD, Builtin.CONCATENATION, Builtin.LOGISTIC, Builtin.MAX_POOL_2D, Builtin.MEAN, Builtin.MUL,
                Builtin.NEG, Builtin.PAD, Builtin.PADV2, Builtin.REDUCE_MAX, Builtin.REDUCE_MIN, Builtin.RELU,
                Builtin.RELU6, Builtin.RELU_N1_TO_1, Builtin.SLICE, Builtin.SOFTMAX, Builtin.STRIDED_SLICE,
                Builtin.TANH, Builtin.TRANSPOSE, Builtin.GATHER, Builtin.SPLIT_V, Builtin.AVERAGE_POOL_2D,
                Builtin.BATCH_MATMUL, Builtin.SPACE_TO_DEPTH, Builtin.DEPTH_TO_SPACE,
            ),
            _nnapi(2),
        ),
        **_all(
            (
                Builtin.HARD_SWISH, Builtin.LEAKY_RELU, Builtin.PRELU, Builtin.RESHAPE, Builtin.SQUEEZE,
                Builtin.EXPAND_DIMS, Builtin.TILE,
            ),
            _nnapi(1),
        ),
        **_all(
            (
                Builtin.ABS, Builtin.DIV, Builtin.EXP, Builtin.LOCAL_RESPONSE_NORMALIZATION, Builtin.LOG,
                Builtin.LOG_SOFTMAX, Builtin.POW, Builtin.RSQRT, Builtin.SQRT, Builtin.SUM,
            ),
            Rule(FLOAT, (version_up_to(1), rank_up_to(4))),
        ),
        **_all(
            (
                Builtin.MAXIMUM, Builtin.MINIMUM, Builtin.RESIZE_BILINEAR, Builtin.RESIZE_NEAREST_NEIGHBOR,
                Builtin.SPLIT, Builtin.SUB,
            ),
            _nnapi(3),
        ),
        Builtin.CONV_2D: Rule(FLOAT_OR_EIGHT_BITS, (version_up_to(5), with_bias)),
        Builtin.DEPTHWISE_CONV_2D: Rule(FLOAT_OR_EIGHT_BITS, (version_up_to(3),)),
        Builtin.FULLY_CONNECTED: Rule(FLOAT_OR_EIGHT_BITS, (version_up_to(5),)),
        Builtin.TRANSPOSE_CONV: Rule(FLOAT_OR_EIGHT_BITS, (version_up_to(4), constant(0, 1))),
        Builtin.DEQUANTIZE: Rule(EIGHT_BITS, (version_up_to(2),), changes_type=True),
        Builtin.QUANTIZE: Rule(FLOAT_OR_EIGHT_BITS, (version_up_to(2),), changes_type=True),
    },
    "tflite/delegates/nnapi/nnapi_delegate.cc of google-ai-edge/LiteRT, for NNAPI 1.3 (Android 11) and later",
    "deprecated in Android 15: use it for older phones alone; what a driver takes differs from phone to phone",
    widens=False,
)  # fmt: skip

EDGE_TPU = Delegate(
    "Edge TPU",
    {
        **_all(
            (
                Builtin.ADD, Builtin.DEPTHWISE_CONV_2D, Builtin.CONV_2D, Builtin.EXPAND_DIMS, Builtin.FULLY_CONNECTED,
                Builtin.LOGISTIC, Builtin.MAXIMUM, Builtin.MINIMUM, Builtin.MUL,
                Builtin.PACK, Builtin.PRELU, Builtin.RELU, Builtin.RELU6, Builtin.RELU_N1_TO_1,
                Builtin.RESHAPE, Builtin.RESIZE_BILINEAR, Builtin.RESIZE_NEAREST_NEIGHBOR, Builtin.SLICE,
                Builtin.SOFTMAX, Builtin.SPACE_TO_DEPTH, Builtin.SPLIT, Builtin.SQUEEZE, Builtin.STRIDED_SLICE,
                Builtin.SUB, Builtin.TANH, Builtin.TRANSPOSE,
            ),
            Rule(EIGHT_BITS),
        ),
        **_all((Builtin.AVERAGE_POOL_2D, Builtin.MAX_POOL_2D), Rule(EIGHT_BITS, (plain(Pool2DOptions),))),
        Builtin.CONCATENATION: Rule(EIGHT_BITS, (plain(ConcatenationOptions),)),
        **_all(
            (Builtin.MEAN, Builtin.PAD, Builtin.REDUCE_MAX, Builtin.REDUCE_MIN, Builtin.SUM),
            Rule(EIGHT_BITS, (not_the_batch,)),
        ),
        Builtin.QUANTIZE: Rule(EIGHT_BITS),
        Builtin.TRANSPOSE_CONV: Rule(EIGHT_BITS, (constant(0, 1),)),
    },
    "coral.ai/docs/edgetpu/models-intro and developer.axis.com (ARTPEC-7): requirements and supported operations",
    "8 bits throughout, sizes fixed (give the batch a size), compiled by edgetpu_compiler, which was not asked here",
    widens=False,
    stops=True,
)  # fmt: skip

DELEGATES = (XNNPACK, GPU, CORE_ML, NNAPI, EDGE_TPU)
