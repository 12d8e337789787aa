"""What is declared of cuDNN and cuBLAS for ctypes is what the headers in NVIDIA's packages say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import pytest
from gpu.c_declarations import complaints, program

from edge_sdk.kernels.gpu import cublas_names, cudnn_names

pytestmark = pytest.mark.nvidia_libraries

CUDNN = {
    cudnn_names.Backend: "CUDNN_BACKEND_{}_DESCRIPTOR",
    cudnn_names.Type: "CUDNN_TYPE_{}",
    cudnn_names.Data: "CUDNN_DATA_{}",
    cudnn_names.Note: "CUDNN_NUMERICAL_NOTE_{}",
    cudnn_names.Pointwise: "CUDNN_POINTWISE_{}",
    cudnn_names.Heuristic: "CUDNN_HEUR_MODE_{}",
    cudnn_names.Attribute: "CUDNN_ATTR_{}",
}
CUBLAS = {
    cublas_names.Description: "CUBLASLT_MATMUL_DESC_{}",
    cublas_names.Layout: "CUBLASLT_MATRIX_LAYOUT_{}",
    cublas_names.Preference: "CUBLASLT_MATMUL_PREF_{}",
    cublas_names.Reduction: "CUBLASLT_REDUCTION_SCHEME_{}",
    cublas_names.Epilogue: "CUBLASLT_EPILOGUE_{}",
}
CUDNN_VALUES = {
    "CUDNN_CROSS_CORRELATION": cudnn_names.CROSS_CORRELATION,
    "CUDNN_PROPAGATE_NAN": cudnn_names.PROPAGATE_NAN,
    "CUDNN_STATUS_SUCCESS": cudnn_names.SUCCESS,
    "CUDNN_STATUS_BAD_PARAM": cudnn_names.LASTING.start,
    "CUDNN_STATUS_INTERNAL_ERROR": cudnn_names.LASTING.stop,
}
CUBLAS_VALUES = {
    "CUBLAS_STATUS_SUCCESS": cublas_names.SUCCESS,
    "CUBLAS_OP_T": cublas_names.TRANSPOSED,
    "CUDA_R_32F": cublas_names.Data.FLOAT,
    "CUDA_R_16F": cublas_names.Data.HALF,
    "CUDA_R_16BF": cublas_names.Data.BFLOAT16,
    "CUBLAS_COMPUTE_32F": cublas_names.Compute.FLOAT,
    "CUBLAS_COMPUTE_32F_FAST_TF32": cublas_names.Compute.TF32,
}
CUBLAS_STRUCTURES = {
    "cublasLtMatmulAlgo_t": cublas_names.Algorithm, "cublasLtMatmulHeuristicResult_t": cublas_names.Found,
}  # fmt: skip


def named(enumerations: Mapping[type[IntEnum], str]) -> dict[str, int]:
    """Constants by their C names."""
    return {form.format(one.name): one.value for kind, form in enumerations.items() for one in kind}


def test_cudnn_is_declared_as_its_header_has_it() -> None:
    """Every function of cuDNN that is called, and every constant, is the header's."""
    text = program("cudnn.h", cudnn_names.ENTRIES, named(CUDNN) | CUDNN_VALUES, {})

    assert complaints(text) == ""


def test_cublas_is_declared_as_its_header_has_it() -> None:
    """Every function of cuBLAS that is called, every constant and every structure is the header's."""
    values = named(CUBLAS) | CUBLAS_VALUES

    assert complaints(program("cublasLt.h", cublas_names.ENTRIES, values, CUBLAS_STRUCTURES)) == ""


def test_a_wrong_declaration_is_noticed() -> None:
    """A constant, a function or a structure that differs from the header's is named by the compiler."""
    first, *rest = cublas_names.ENTRIES
    wrong = cublas_names.Entry(rest[-1].name, rest[-1].returns, rest[-1].takes[:-1])
    structures = {"cublasLtMatmulAlgo_t": cublas_names.Found}

    said = complaints(program("cublasLt.h", (first, wrong), {"CUBLASLT_MATMUL_DESC_TRANSA": 5}, structures))

    for name in ("cublasLtMatmul", "CUBLASLT_MATMUL_DESC_TRANSA", "cublasLtMatmulAlgo_t"):
        assert f"static assertion failed: {name}" in said
