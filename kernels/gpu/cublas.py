"""cuBLAS through ctypes: products of matrices by cublasLtMatmul.

Of its interfaces this is the one that takes stream and workspace with each call: it can be captured in a CUDA graph,
and nothing is allocated in a step.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

from edge_sdk.errors import DeviceError
from edge_sdk.kernels.gpu.cublas_names import (
    ENTRIES,
    LIBRARIES,
    SUCCESS,
    TRANSPOSED,
    Compute,
    Data,
    Description,
    Epilogue,
    Found,
    Layout,
    Preference,
    Reduction,
)
from edge_sdk.kernels.gpu.libraries import ALIGNMENT, first_line, load_library, stream_for_libraries

HINT = "pip install 'edge-sdk[cudnn-cuda13]' or 'edge-sdk[cudnn-cuda12]'"
TYPES = {"float32": Data.FLOAT, "float16": Data.HALF, "bfloat16": Data.BFLOAT16}
MOST_WORKSPACE = 32 << 20

_UINT32, _UINT64, _INT32, _INT64 = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32, ctypes.c_int64


@dataclass(frozen=True)
class Product:
    """out (batch, row, column) = Σ left (row, term) · right (column, term), all in row-major order.

    An operand lies (batch, line, term) where its terms are neighbours ("along"), and (batch, term, line) where not.
    """

    rows: int
    columns: int
    terms: int
    batches: int
    dtype: str
    left_along: bool = True
    right_along: bool = True
    rounds: bool = False
    """Whether factors of float32 may be rounded to the TF32 of tensor cores."""
    biased: bool = False
    """Whether a number a column is added."""
    added: bool = False
    """Whether a matrix of the result's sizes is added."""

    @property
    def elements(self) -> int:
        """How many numbers the largest matrix has, of all batches."""
        sizes = (self.rows, self.columns, self.terms)
        return self.batches * max(math.prod(sizes) // max(size, 1) for size in sizes)


class Object:
    """A description that the library keeps."""

    def __init__(self, library: Cublas, kind: str, *values: Any) -> None:
        pointer, functions = ctypes.c_void_p(), library.functions
        library.check(kind, getattr(functions, f"cublasLt{kind}Create")(ctypes.byref(pointer), *values))
        self.pointer = pointer.value
        self._library, self._kind = library, kind
        self._set = getattr(functions, f"cublasLt{kind}SetAttribute")
        weakref.finalize(self, getattr(functions, f"cublasLt{kind}Destroy"), pointer.value).atexit = False

    def set(self, attribute: int, kind: Any, value: int) -> None:
        """Set an attribute to a number of a C type."""
        held = kind(value)
        self._library.check(self._kind, self._set(self.pointer, attribute, ctypes.byref(held), ctypes.sizeof(held)))


class Multiplication:
    """A product with the algorithm that computes it."""

    def __init__(self, library: Cublas, product: Product) -> None:
        self.library, self.product = library, product
        # The library's matrices lie column by column: it sees ours transposed, and makes outᵀ = right · leftᵀ.
        rows, columns, terms = product.rows, product.columns, product.terms
        self.right = self._layout(*((terms, columns) if product.right_along else (columns, terms)))
        self.left = self._layout(*((terms, rows) if product.left_along else (rows, terms)))
        self.out = self._layout(columns, rows)
        self.found = library.heuristic(self)
        self.workspace: int = self.found.workspaceSize
        """Bytes it needs beside its matrices."""

    def _layout(self, lines: int, columns: int) -> Object:
        layout = Object(self.library, "MatrixLayout", TYPES[self.product.dtype], lines, columns, lines)
        if self.product.batches > 1:
            layout.set(Layout.BATCH_COUNT, _INT32, self.product.batches)
            layout.set(Layout.STRIDED_BATCH_OFFSET, _INT64, lines * columns)
        return layout

    def description(self, bias: int = ALIGNMENT) -> Object:
        """Return what is computed, with a bias at this address; where none is known yet, its alignment says enough."""
        product = self.product
        compute = Compute.TF32 if product.rounds and product.dtype == "float32" else Compute.FLOAT
        description = Object(self.library, "MatmulDesc", compute, Data.FLOAT)
        if product.right_along:
            description.set(Description.TRANSA, _INT32, TRANSPOSED)
        if not product.left_along:
            description.set(Description.TRANSB, _INT32, TRANSPOSED)
        if product.biased:
            description.set(Description.EPILOGUE, _UINT32, Epilogue.BIAS)
            description.set(Description.BIAS_POINTER, ctypes.c_void_p, bias)
        return description


class Run:
    """A multiplication at addresses of the device: calling it starts it on the driver's stream."""

    def __init__(
        self, made: Multiplication, out: int, left: int, right: int, bias: int, added: int, workspace: int
    ) -> None:
        one, share = ctypes.c_float(1), ctypes.c_float(made.product.added)
        self._made, self._description = made, made.description(bias)
        self._arguments = (
            made.library.handle, self._description.pointer, ctypes.byref(one), right, made.right.pointer, left,
            made.left.pointer, ctypes.byref(share), added or out, made.out.pointer, out, made.out.pointer,
            ctypes.byref(made.found.algo), workspace, made.workspace, made.library.stream,
        )  # fmt: skip

    def __call__(self) -> None:
        """Start it."""
        library = self._made.library
        library.check("product", library.functions.cublasLtMatmul(*self._arguments))


class Cublas:
    """The library, and a handle of it."""

    def __init__(self, functions: Any, handle: int | None, stream: int | None) -> None:
        self.functions, self.handle, self.stream = functions, handle, stream
        self.version: int = functions.cublasLtGetVersion()
        self._made: dict[Product, Multiplication | None] = {}

    def check(self, what: str, status: int) -> None:
        """Raise DeviceError unless a call has succeeded."""
        if status != SUCCESS:
            said = self.functions.cublasLtGetStatusString(status).decode(errors="replace")
            raise DeviceError(f"cuBLAS: {what}: {said} (status {status})")

    def made(self, product: Product) -> Multiplication | None:
        """Return how a product is computed, None where the library has no algorithm for it here."""
        if product not in self._made:
            try:
                self._made[product] = Multiplication(self, product)
            except DeviceError:
                self._made[product] = None
        return self._made[product]

    def heuristic(self, made: Multiplication) -> Found:
        """Return the algorithm that is expected to be the fastest; raises DeviceError where there is none.

        Parts of long sums are added in float32, in an order that the algorithm decides and time does not.
        """
        description, preference = made.description(), Object(self, "MatmulPreference")
        preference.set(Preference.MAX_WORKSPACE_BYTES, _UINT64, MOST_WORKSPACE)
        preference.set(Preference.REDUCTION_SCHEME_MASK, _UINT32, Reduction.NONE | Reduction.COMPUTE_TYPE)
        for name in ("A", "B", "C", "D"):
            preference.set(Preference[f"MIN_ALIGNMENT_{name}_BYTES"], _UINT32, ALIGNMENT)
        found, count = Found(), ctypes.c_int()
        layouts = (made.right, made.left, made.out, made.out)
        status = self.functions.cublasLtMatmulAlgoGetHeuristic(
            self.handle, description.pointer, *(layout.pointer for layout in layouts), preference.pointer, 1,
            ctypes.byref(found), ctypes.byref(count),
        )  # fmt: skip
        self.check("algorithm", status)
        if count.value < 1:
            raise DeviceError(f"cuBLAS has no algorithm for {made.product}")
        self.check("algorithm", found.state)
        return found


def loaded_functions() -> Any:
    """Return the library's functions; raises DeviceError where it is missing or lacks one."""
    return load_library(LIBRARIES, ENTRIES, HINT)


def version_text(version: int) -> str:
    """Return the number of a version, such as 131000, as people write it: "13.10.0"."""
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


@cache
def _opened() -> Cublas | DeviceError:
    """The library with a handle, or why there is none."""
    try:
        stream = stream_for_libraries()
        library, handle = Cublas(loaded_functions(), None, stream), ctypes.c_void_p()
        library.check("handle", library.functions.cublasLtCreate(ctypes.byref(handle)))
    except DeviceError as error:
        return error
    library.handle = handle.value
    return library


def current_cublas() -> Cublas | None:
    """Return cuBLAS on the device in use, None where it cannot be used."""
    opened = _opened()
    return opened if isinstance(opened, Cublas) else None


def report() -> str:
    """Return the version, or in one line why cuBLAS is not used."""
    try:
        version = version_text(loaded_functions().cublasLtGetVersion())
    except DeviceError as error:
        return f"not used: {first_line(error)}"
    opened = _opened()
    return version if isinstance(opened, Cublas) else f"{version}, not used: {first_line(opened)}"
