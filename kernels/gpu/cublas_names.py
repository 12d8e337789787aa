"""What of cuBLAS's interface for single products is called, as cublasLt.h declares it.

Tests compare all of it with the header of the package.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

from edge_sdk.kernels.gpu.libraries import Entry

LIBRARIES = ("libcublasLt.so.13", "libcublasLt.so.12", "cublasLt64_13.dll", "cublasLt64_12.dll")

SUCCESS = 0
TRANSPOSED = 1
"""CUBLAS_OP_T"""


class Data(IntEnum):
    """Types of numbers: CUDA_R_…"""

    FLOAT = 0
    HALF = 2
    BFLOAT16 = 14


class Compute(IntEnum):
    """How products are made and added: CUBLAS_COMPUTE_…"""

    FLOAT = 68
    TF32 = 77


class Description(IntEnum):
    """Attributes of a product: CUBLASLT_MATMUL_DESC_…"""

    TRANSA = 3
    TRANSB = 4
    EPILOGUE = 7
    BIAS_POINTER = 8


class Layout(IntEnum):
    """Attributes of a matrix: CUBLASLT_MATRIX_LAYOUT_…"""

    TYPE = 0
    ROWS = 2
    COLS = 3
    LD = 4
    BATCH_COUNT = 5
    STRIDED_BATCH_OFFSET = 6


class Preference(IntEnum):
    """What a choice of algorithm is bound to: CUBLASLT_MATMUL_PREF_…"""

    MAX_WORKSPACE_BYTES = 1
    REDUCTION_SCHEME_MASK = 3
    MIN_ALIGNMENT_A_BYTES = 5
    MIN_ALIGNMENT_B_BYTES = 6
    MIN_ALIGNMENT_C_BYTES = 7
    MIN_ALIGNMENT_D_BYTES = 8


class Reduction(IntEnum):
    """How the parts of long sums are added: CUBLASLT_REDUCTION_SCHEME_…"""

    NONE = 0
    COMPUTE_TYPE = 2


class Epilogue(IntEnum):
    """What follows the product: CUBLASLT_EPILOGUE_…"""

    DEFAULT = 1
    BIAS = 4


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t"""

    _fields_ = (("data", ctypes.c_uint64 * 8),)


class Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t"""

    _fields_ = (
        ("algo", Algorithm),
        ("workspaceSize", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("wavesCount", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


_ENUM, _POINTER, _SIZE, _INT = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_SETTING = (_POINTER, _ENUM, _POINTER, _SIZE)

ENTRIES = (
    Entry("cublasLtGetVersion", _SIZE, ()),
    Entry("cublasLtGetStatusString", ctypes.c_char_p, (_ENUM,)),
    Entry("cublasLtCreate", _ENUM, (_POINTER,)),
    Entry("cublasLtMatmulDescCreate", _ENUM, (_POINTER, _ENUM, _ENUM)),
    Entry("cublasLtMatmulDescDestroy", _ENUM, (_POINTER,)),
    Entry("cublasLtMatmulDescSetAttribute", _ENUM, _SETTING),
    Entry("cublasLtMatrixLayoutCreate", _ENUM, (_POINTER, _ENUM, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64)),
    Entry("cublasLtMatrixLayoutDestroy", _ENUM, (_POINTER,)),
    Entry("cublasLtMatrixLayoutSetAttribute", _ENUM, _SETTING),
    Entry("cublasLtMatmulPreferenceCreate", _ENUM, (_POINTER,)),
    Entry("cublasLtMatmulPreferenceDestroy", _ENUM, (_POINTER,)),
    Entry("cublasLtMatmulPreferenceSetAttribute", _ENUM, _SETTING),
    Entry("cublasLtMatmulAlgoGetHeuristic", _ENUM, (*[_POINTER] * 7, _INT, _POINTER, _POINTER)),
    Entry("cublasLtMatmul", _ENUM, (*[_POINTER] * 14, _SIZE, _POINTER)),
)
