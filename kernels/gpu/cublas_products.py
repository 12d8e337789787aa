"""Dense layers, matrix products and 1×1 convolutions by cuBLAS, where it is installed.

They are alternatives to the kernels of linear.py and conv.py, which compute all that is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from edge_sdk.errors import DeviceError
from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu import cublas
from edge_sdk.kernels.gpu.cublas import TYPES, Multiplication, Product, Run
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.finishing import finished
from edge_sdk.kernels.gpu.launch import sequence
from edge_sdk.kernels.gpu.libraries import checked_address, workspace_address, workspace_specs
from edge_sdk.kernels.gpu.moments import gather
from edge_sdk.kernels.gpu.statistics import statistics_scratch
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradInputAdded, Conv2DGradWeight
from edge_sdk.ops.geometry import Pair, resolve_padding
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.statistics import Conv2DStatistics
from edge_sdk.spec import Array, Spec, spec_of

MOST_ELEMENTS = 2**31 - 1
"""Of a matrix: what every algorithm counts in 32 bits."""


def _linear(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> Product:
    added = b is not None and op.activation is None
    return Product(x.shape[0], w.shape[0], x.shape[1], 1, x.dtype, rounds=_rounds(op), biased=added)


def _matmul(op: MatMul, a: Spec, b: Spec) -> Product:
    rows, columns = op.infer(a, b).shape[-2:]
    terms = a.shape[-2] if op.transpose_a else a.shape[-1]
    along = (not op.transpose_a, op.transpose_b)
    return Product(rows, columns, terms, math.prod(a.shape[:-2]), a.dtype, *along, rounds=_rounds(op))


def _conv2d(
    op: Conv2D | Conv2DStatistics, x: Spec, w: Spec, b: Spec | None = None, residual: Spec | None = None
) -> Product:
    """Pixels times weights: one row a pixel."""
    added = b is not None and residual is None and getattr(op, "activation", None) is None
    pixels = math.prod(x.shape[:3])
    return Product(pixels, w.shape[0], x.shape[3], 1, x.dtype, rounds=_rounds(op), biased=added)


def _grad_input(op: Conv2DGradInput, dy: Spec, w: Spec) -> Product:
    pixels, outputs, channels = math.prod(dy.shape[:3]), dy.shape[3], w.shape[3]
    return Product(pixels, channels, outputs, 1, dy.dtype, right_along=False, rounds=_rounds(op))


def _grad_input_added(op: Conv2DGradInputAdded, dy: Spec, w: Spec, other: Spec) -> Product:
    return replace(_grad_input(op.gradient, dy, w), added=True)


def _grad_weight(op: Conv2DGradWeight, dy: Spec, x: Spec) -> Product:
    """The terms are the pixels of all images."""
    pixels, outputs, channels = math.prod(dy.shape[:3]), dy.shape[3], x.shape[3]
    return Product(outputs, channels, pixels, 1, dy.dtype, left_along=False, right_along=False, rounds=_rounds(op))


def _rounds(op: Linear | MatMul | Conv2D | Conv2DStatistics | Conv2DGradInput | Conv2DGradWeight) -> bool:
    return op.precision != "float32"


def _library() -> cublas.Cublas:
    library = cublas.current_cublas()
    if library is None:
        raise DeviceError(f"cuBLAS cannot be used here: {cublas.report()}")
    return library


def _made(product: Product) -> Multiplication:
    made = _library().made(product)
    if made is None:
        raise DeviceError(f"cuBLAS has no algorithm for {product}")
    return made


def _computes(describe: Callable[..., Product], op: Op, *inputs: Spec) -> bool:
    """Whether cuBLAS is here and has an algorithm for this product."""
    library = cublas.current_cublas()
    if library is None or inputs[0].dtype not in TYPES or any(x.dtype != inputs[0].dtype for x in inputs):
        return False
    product = describe(op, *inputs)
    if min(product.rows, product.columns, product.terms, product.batches) < 1 or product.elements > MOST_ELEMENTS:
        return False
    return library.made(product) is not None


def _is_product(
    op: Conv2D | Conv2DStatistics | Conv2DGradInput | Conv2DGradWeight, size: Sequence[int], kernel: Pair
) -> bool:
    """Whether a convolution multiplies each pixel by the same matrix and does nothing else."""
    padding = resolve_padding(op.padding, (size[0], size[1]), kernel, op.stride, op.dilation)
    return kernel == (1, 1) and op.stride == (1, 1) and op.groups == 1 and padding == ((0, 0), (0, 0))


def _computes_conv2d(op: Conv2D | Conv2DStatistics, x: Spec, w: Spec, *rest: Spec) -> bool:
    return _is_product(op, x.shape[1:3], (w.shape[1], w.shape[2])) and _computes(_conv2d, op, x, w, *rest)


def _computes_grad_input(op: Conv2DGradInput, dy: Spec, w: Spec) -> bool:
    return _is_product(op, op.input_size, (w.shape[1], w.shape[2])) and _computes(_grad_input, op, dy, w)


def _computes_grad_input_added(op: Conv2DGradInputAdded, dy: Spec, w: Spec, other: Spec) -> bool:
    is_product = _is_product(op.gradient, op.input_size, (w.shape[1], w.shape[2]))
    return is_product and _computes(_grad_input_added, op, dy, w, other)


def _computes_grad_weight(op: Conv2DGradWeight, dy: Spec, x: Spec) -> bool:
    return _is_product(op, x.shape[1:3], op.kernel_size) and _computes(_grad_weight, op, dy, x)


def _workspace(describe: Callable[..., Product], op: Op, *inputs: Spec) -> tuple[Spec, ...]:
    return workspace_specs(_made(describe(op, *inputs)).workspace)


def _statistics_scratch(op: Conv2DStatistics, *inputs: Spec) -> tuple[Spec, ...]:
    return (*statistics_scratch(op, *inputs), *_workspace(_conv2d, op, *inputs))


class _Multiply:
    """A run on arrays of the device, which live as long as their addresses are used."""

    def __init__(
        self, product: Product, out: Array, left: Array, right: Array, workspace: Sequence[Array],
        bias: Array | None, added: Array | None,
    ) -> None:  # fmt: skip
        def place(array: Array | None) -> int:
            return 0 if array is None else checked_address("cuBLAS", current_driver().address(array))

        self._arrays = (out, left, right, bias, added, *workspace)
        space = workspace_address(workspace)
        self._run = Run(_made(product), place(out), place(left), place(right), place(bias), place(added), space)

    def __call__(self) -> None:
        """Start it on the driver's stream."""
        self._run()


def _multiply(
    product: Product, out: Array, left: Array, right: Array, workspace: Sequence[Array], bias: Array | None = None,
    added: Array | None = None,
) -> Call:  # fmt: skip
    return Call(_Multiply(product, out, left, right, workspace, bias if product.biased else None, added), ())


def _specs(*arrays: Array | None) -> tuple[Any, ...]:
    return tuple(None if array is None else spec_of(array) for array in arrays)


@kernel(
    Linear,
    "gpu",
    algorithm="cublas",
    when=partial(_computes, _linear),
    scratch=partial(_workspace, _linear),
    binds=True,
)
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> Call:
    product = _linear(op, *_specs(x, w, b))
    made = _multiply(product, out, x, w, scratch, b)
    return made if product.biased else finished(made, out, b, activation=op.activation)


@kernel(
    MatMul,
    "gpu",
    algorithm="cublas",
    when=partial(_computes, _matmul),
    scratch=partial(_workspace, _matmul),
    binds=True,
)
def matmul(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> Call:
    return _multiply(_matmul(op, spec_of(a), spec_of(b)), out, a, b, scratch)


@kernel(Conv2D, "gpu", algorithm="cublas", when=_computes_conv2d, scratch=partial(_workspace, _conv2d), binds=True)
def conv2d(
    op: Conv2D, out: Array, x: Array, w: Array, b: Array | None = None, residual: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    product = _conv2d(op, *_specs(x, w, b, residual))
    made = _multiply(product, out, x, w, scratch, b)
    return made if product.biased else finished(made, out, b, residual, op.activation)


@kernel(Conv2DStatistics, "gpu", algorithm="cublas", when=_computes_conv2d, scratch=_statistics_scratch, binds=True)
def conv2d_statistics(
    op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    made = _multiply(_conv2d(op, *_specs(x, w, b)), out[0], x, w, scratch[1:], b)
    return sequence([made, gather(out[1], out[0], scratch[0])])


@kernel(
    Conv2DGradInput, "gpu", algorithm="cublas", when=_computes_grad_input, scratch=partial(_workspace, _grad_input),
    binds=True,
)  # fmt: skip
def conv2d_grad_input(op: Conv2DGradInput, out: Array, dy: Array, w: Array, *, scratch: tuple[Array, ...]) -> Call:
    return _multiply(_grad_input(op, spec_of(dy), spec_of(w)), out, dy, w, scratch)


@kernel(
    Conv2DGradInputAdded, "gpu", algorithm="cublas", when=_computes_grad_input_added,
    scratch=partial(_workspace, _grad_input_added), binds=True,
)  # fmt: skip
def conv2d_grad_input_added(
    op: Conv2DGradInputAdded, out: Array, dy: Array, w: Array, other: Array, *, scratch: tuple[Array, ...]
) -> Call:
    product = _grad_input_added(op, *(spec_of(array) for array in (dy, w, other)))
    return _multiply(product, out, dy, w, scratch, added=other)


@kernel(
    Conv2DGradWeight, "gpu", algorithm="cublas", when=_computes_grad_weight, scratch=partial(_workspace, _grad_weight),
    binds=True,
)  # fmt: skip
def conv2d_grad_weight(op: Conv2DGradWeight, out: Array, dy: Array, x: Array, *, scratch: tuple[Array, ...]) -> Call:
    return _multiply(_grad_weight(op, spec_of(dy), spec_of(x)), out, dy, x, scratch)
