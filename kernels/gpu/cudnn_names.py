"""What of cuDNN's C interface is called, as cudnn_graph.h declares it: functions and the values of its enumerations.

Tests compare all of it with the header of the package.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

from edge_sdk.kernels.gpu.libraries import Entry

LIBRARIES = ("libcudnn.so.9", "cudnn64_9.dll")
COMPILERS = ("libnvrtc.so.13", "libnvrtc.so.12", "nvrtc64_130_0.dll", "nvrtc64_120_0.dll")
"""What cuDNN compiles some of its engines with."""

SUCCESS = 0
LASTING = range(2000, 4000)
"""Statuses that would come again: what was asked is wrong (2000 and on) or not supported (3000 and on)."""


class Backend(IntEnum):
    """Kinds of descriptors: CUDNN_BACKEND_…_DESCRIPTOR."""

    POINTWISE = 0
    CONVOLUTION = 1
    ENGINE = 2
    ENGINECFG = 3
    ENGINEHEUR = 4
    EXECUTION_PLAN = 5
    KNOB_CHOICE = 7
    OPERATION_CONVOLUTION_FORWARD = 10
    OPERATION_CONVOLUTION_BACKWARD_FILTER = 11
    OPERATION_CONVOLUTION_BACKWARD_DATA = 12
    OPERATION_POINTWISE = 13
    OPERATIONGRAPH = 15
    VARIANT_PACK = 16
    TENSOR = 17


class Type(IntEnum):
    """Types of attributes: CUDNN_TYPE_…"""

    HANDLE = 0
    DATA_TYPE = 1
    BOOLEAN = 2
    INT64 = 3
    FLOAT = 4
    DOUBLE = 5
    VOID_PTR = 6
    CONVOLUTION_MODE = 7
    HEUR_MODE = 8
    KNOB_TYPE = 9
    NAN_PROPOGATION = 10
    NUMERICAL_NOTE = 11
    POINTWISE_MODE = 14
    BACKEND_DESCRIPTOR = 15


class Data(IntEnum):
    """Types of numbers: CUDNN_DATA_…"""

    FLOAT = 0
    HALF = 2
    BFLOAT16 = 9


class Note(IntEnum):
    """What is told of an engine's numbers: CUDNN_NUMERICAL_NOTE_…"""

    TENSOR_CORE = 0
    DOWN_CONVERT_INPUTS = 1
    REDUCED_PRECISION_REDUCTION = 2
    FFT = 3
    NONDETERMINISTIC = 4
    WINOGRAD = 5
    WINOGRAD_TILE_4x4 = 6
    WINOGRAD_TILE_6x6 = 7
    WINOGRAD_TILE_13x13 = 8
    STRICT_NAN_PROP = 9


class Pointwise(IntEnum):
    """What is done to each number: CUDNN_POINTWISE_…"""

    ADD = 0
    RELU_FWD = 100


class Heuristic(IntEnum):
    """How engines are proposed: CUDNN_HEUR_MODE_…"""

    FALLBACK = 2
    A = 3


class Attribute(IntEnum):
    """Attributes of descriptors: CUDNN_ATTR_…"""

    POINTWISE_MODE = 0
    POINTWISE_MATH_PREC = 1
    POINTWISE_NAN_PROPAGATION = 2
    POINTWISE_RELU_UPPER_CLIP = 4
    CONVOLUTION_COMP_TYPE = 100
    CONVOLUTION_CONV_MODE = 101
    CONVOLUTION_DILATIONS = 102
    CONVOLUTION_FILTER_STRIDES = 103
    CONVOLUTION_POST_PADDINGS = 104
    CONVOLUTION_PRE_PADDINGS = 105
    CONVOLUTION_SPATIAL_DIMS = 106
    ENGINEHEUR_MODE = 200
    ENGINEHEUR_OPERATION_GRAPH = 201
    ENGINEHEUR_RESULTS = 202
    ENGINECFG_ENGINE = 300
    ENGINECFG_KNOB_CHOICES = 302
    EXECUTION_PLAN_HANDLE = 400
    EXECUTION_PLAN_ENGINE_CONFIG = 401
    EXECUTION_PLAN_WORKSPACE_SIZE = 402
    KNOB_CHOICE_KNOB_TYPE = 600
    KNOB_CHOICE_KNOB_VALUE = 601
    OPERATION_CONVOLUTION_FORWARD_ALPHA = 700
    OPERATION_CONVOLUTION_FORWARD_BETA = 701
    OPERATION_CONVOLUTION_FORWARD_CONV_DESC = 702
    OPERATION_CONVOLUTION_FORWARD_W = 703
    OPERATION_CONVOLUTION_FORWARD_X = 704
    OPERATION_CONVOLUTION_FORWARD_Y = 705
    OPERATION_CONVOLUTION_BWD_DATA_ALPHA = 706
    OPERATION_CONVOLUTION_BWD_DATA_BETA = 707
    OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC = 708
    OPERATION_CONVOLUTION_BWD_DATA_W = 709
    OPERATION_CONVOLUTION_BWD_DATA_DX = 710
    OPERATION_CONVOLUTION_BWD_DATA_DY = 711
    OPERATION_CONVOLUTION_BWD_FILTER_ALPHA = 712
    OPERATION_CONVOLUTION_BWD_FILTER_BETA = 713
    OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC = 714
    OPERATION_CONVOLUTION_BWD_FILTER_DW = 715
    OPERATION_CONVOLUTION_BWD_FILTER_X = 716
    OPERATION_CONVOLUTION_BWD_FILTER_DY = 717
    OPERATION_POINTWISE_PW_DESCRIPTOR = 750
    OPERATION_POINTWISE_XDESC = 751
    OPERATION_POINTWISE_BDESC = 752
    OPERATION_POINTWISE_YDESC = 753
    OPERATIONGRAPH_HANDLE = 800
    OPERATIONGRAPH_OPS = 801
    TENSOR_BYTE_ALIGNMENT = 900
    TENSOR_DATA_TYPE = 901
    TENSOR_DIMENSIONS = 902
    TENSOR_STRIDES = 903
    TENSOR_UNIQUE_ID = 906
    TENSOR_IS_VIRTUAL = 907
    VARIANT_PACK_UNIQUE_IDS = 1000
    VARIANT_PACK_DATA_POINTERS = 1001
    VARIANT_PACK_WORKSPACE = 1003
    ENGINE_OPERATION_GRAPH = 1300
    ENGINE_GLOBAL_INDEX = 1301
    ENGINE_NUMERICAL_NOTE = 1303


CROSS_CORRELATION = 1
"""CUDNN_CROSS_CORRELATION, a convolution's mode."""
PROPAGATE_NAN = 1
"""CUDNN_PROPAGATE_NAN: what is not a number stays so."""

_ENUM, _POINTER, _COUNT = ctypes.c_int, ctypes.c_void_p, ctypes.c_int64

ENTRIES = (
    Entry("cudnnGetVersion", ctypes.c_size_t, ()),
    Entry("cudnnGetErrorString", ctypes.c_char_p, (_ENUM,)),
    Entry("cudnnGetLastErrorString", None, (_POINTER, ctypes.c_size_t)),
    Entry("cudnnCreate", _ENUM, (_POINTER,)),
    Entry("cudnnSetStream", _ENUM, (_POINTER, _POINTER)),
    Entry("cudnnBackendCreateDescriptor", _ENUM, (_ENUM, _POINTER)),
    Entry("cudnnBackendDestroyDescriptor", _ENUM, (_POINTER,)),
    Entry("cudnnBackendSetAttribute", _ENUM, (_POINTER, _ENUM, _ENUM, _COUNT, _POINTER)),
    Entry("cudnnBackendGetAttribute", _ENUM, (_POINTER, _ENUM, _ENUM, _COUNT, _POINTER, _POINTER)),
    Entry("cudnnBackendFinalize", _ENUM, (_POINTER,)),
    Entry("cudnnBackendExecute", _ENUM, (_POINTER, _POINTER, _POINTER)),
)
