"""The real cuBLAS with the two calls that need a GPU stood in for: choosing an algorithm, and running it.

What runs is computed from the descriptions as cuBLAS itself reads them back, at the addresses that it is given.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from gpu.memory_views import Strided, strided

from edge_sdk.kernels.gpu.cublas_names import Data, Description, Epilogue, Layout, Preference

WORKSPACE = 700  # bytes, which every algorithm here claims and writes
DTYPES = {Data.FLOAT: "float32", Data.HALF: "float16", Data.BFLOAT16: "bfloat16"}
NOT_SUPPORTED = 15  # CUBLAS_STATUS_NOT_SUPPORTED


class ComputedFunctions:
    """The library's functions, two of them our own."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions
        self.supports = True
        self.preferences: dict[str, int] = {}
        """What the last choice of an algorithm was bound to."""
        self.computes: list[int] = []
        """How the products that ran were to be computed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functions, name)

    def cublasLtMatmulAlgoGetHeuristic(  # noqa: N802 - the library's name
        self, handle: Any, description: int, a: int, b: int, c: int, d: int, preference: int, most: int, found: Any,
        count: Any,
    ) -> int:  # fmt: skip
        for one in Preference:
            kind = ctypes.c_uint64 if one == Preference.MAX_WORKSPACE_BYTES else ctypes.c_uint32
            self.preferences[one.name] = self._read("MatmulPreference", preference, one, kind)
        found._obj.workspaceSize, found._obj.state, count._obj.value = WORKSPACE, 0, 1
        return 0 if self.supports else NOT_SUPPORTED

    def cublasLtMatmul(  # noqa: N802 - the library's name
        self, handle: Any, description: int, alpha: Any, a: int, a_layout: int, b: int, b_layout: int, beta: Any,
        c: int, c_layout: int, d: int, d_layout: int, algorithm: Any, workspace: int, size: int, stream: Any,
    ) -> int:  # fmt: skip
        assert (alpha._obj.value, size) == (1.0, WORKSPACE)
        ctypes.memset(workspace, 0xAB, size)
        self.computes.append(self._read("MatmulDesc", description, 0, ctypes.c_int32))
        left, right, out = self._matrix(a, a_layout), self._matrix(b, b_layout), self._matrix(d, d_layout)
        first, second = left.numbers(), right.numbers()
        if self._read("MatmulDesc", description, Description.TRANSA, ctypes.c_int32):
            first = first.swapaxes(1, 2)
        if self._read("MatmulDesc", description, Description.TRANSB, ctypes.c_int32):
            second = second.swapaxes(1, 2)
        made = first @ second
        if self._read("MatmulDesc", description, Description.EPILOGUE, ctypes.c_uint32) == Epilogue.BIAS:
            address = self._read("MatmulDesc", description, Description.BIAS_POINTER, ctypes.c_void_p)
            dtype = DTYPES[Data(self._read("MatrixLayout", d_layout, Layout.TYPE, ctypes.c_uint32))]
            made += strided(address, dtype, made.shape[1:2], (1,)).numbers()[:, np.newaxis]
        if beta._obj.value:
            made += beta._obj.value * self._matrix(c, c_layout).numbers()
        out.write(made)
        return 0

    def _matrix(self, address: int, layout: int) -> Strided:
        """A matrix (batch, row, column), which lies column by column."""
        sizes = [self._read("MatrixLayout", layout, one, ctypes.c_uint64) for one in (Layout.ROWS, Layout.COLS)]
        step = self._read("MatrixLayout", layout, Layout.LD, ctypes.c_int64)
        batches = self._read("MatrixLayout", layout, Layout.BATCH_COUNT, ctypes.c_int32)
        apart = self._read("MatrixLayout", layout, Layout.STRIDED_BATCH_OFFSET, ctypes.c_int64)
        dtype = DTYPES[Data(self._read("MatrixLayout", layout, Layout.TYPE, ctypes.c_uint32))]
        return strided(address, dtype, (batches, *sizes), (apart, 1, step))

    def _read(self, kind: str, described: int, attribute: int, form: Any) -> Any:
        value, written = form(), ctypes.c_size_t()
        read = getattr(self._functions, f"cublasLt{kind}GetAttribute")
        read.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        size = ctypes.sizeof(form)
        assert read(described, attribute, ctypes.byref(value), size, ctypes.byref(written)) == 0
        assert written.value == size
        return value.value
