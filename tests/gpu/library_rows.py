"""What libraries compute: rows of the operator table, and both gradients of each convolution in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from gpu.device_calls import call_on_device
from kernel_calls import call_kernel
from op_cases import CASES
from op_cases.case import normal

from edge_sdk.kernel import Kernel, applicable_kernels, find_kernel
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradInputAdded, Conv2DGradWeight
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.statistics import Conv2DStatistics
from edge_sdk.spec import Array, Spec

HALF_ERROR = 4 * float(np.finfo(np.float16).eps)
"""Results are rounded to 11 bits, before and after what is added to them."""


@dataclass(frozen=True)
class Row:
    """An operator on inputs, and how far from the naive kernel a result may be."""

    name: str
    op: Op
    inputs: tuple[Array, ...]
    tolerance: float

    def __str__(self) -> str:
        return self.name

    def as_type(self, dtype: str) -> list[Array]:
        """The inputs in a type of floats."""
        return [np.array(x, dtype, order="C") for x in self.inputs]

    def kernels(self, dtype: str, algorithms: Sequence[str]) -> list[Kernel]:
        """The kernels of these names that can compute it."""
        specs = [Spec(x.shape, dtype) for x in self.inputs]
        return [one for one in applicable_kernels(self.op, "gpu", specs) if one.algorithm in algorithms]

    def worst_error(self, kernel: Kernel, dtype: str) -> float:
        """The largest difference from the naive kernel in float64, in parts of what the row allows."""
        inputs = self.as_type(dtype)
        wide = [x.astype(np.float64) for x in inputs]
        naive = find_kernel(self.op, "reference", [Spec(x.shape, "float64") for x in wide])
        assert naive is not None
        allowed = self.tolerance if dtype == "float32" else HALF_ERROR
        outputs = zip(call_on_device(kernel, self.op, inputs), call_kernel(naive, self.op, wide), strict=True)
        return max(_error(actual, np.asarray(wanted)) for actual, wanted in outputs) / allowed


def _error(actual: Array, wanted: Array) -> float:
    assert np.array_equal(np.isnan(actual), np.isnan(wanted))
    return float(np.nanmax(np.abs(actual - wanted), initial=0) / (np.nanmax(np.abs(wanted), initial=0) or 1))


def convolutions() -> Iterator[Row]:
    """Rows of conv2d, with and without statistics, and of its gradients."""
    for case in CASES:
        if not isinstance(case.op, Conv2D | Conv2DStatistics) or not all(x.size for x in case.inputs):
            continue
        yield Row(case.name, case.op, case.inputs, case.tolerance)
        if isinstance(case.op, Conv2D):
            op, (x, w) = case.op, case.inputs[:2]
            dy = normal(*op.infer(Spec(x.shape), Spec(w.shape)).shape, seed=7)
            geometry = (op.stride, op.padding, op.dilation, op.groups)
            to_input = Conv2DGradInput(*geometry, input_size=(x.shape[1], x.shape[2]))
            to_weight = Conv2DGradWeight(*geometry, kernel_size=(w.shape[1], w.shape[2]))
            yield Row(f"{case.name}-grad-input", to_input, (dy, w), case.tolerance)
            added = Conv2DGradInputAdded(**to_input.attributes())
            yield Row(f"{case.name}-grad-input-added", added, (dy, w, normal(*x.shape, seed=8)), case.tolerance)
            yield Row(f"{case.name}-grad-weight", to_weight, (dy, x), case.tolerance)


def products() -> Iterator[Row]:
    """Rows of dense layers and matrix products."""
    for case in CASES:
        if isinstance(case.op, Linear | MatMul) and all(x.size for x in case.inputs):
            yield Row(case.name, case.op, case.inputs, case.tolerance)
