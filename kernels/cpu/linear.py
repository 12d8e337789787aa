"""Dense layers and matrix products."""

from __future__ import annotations

from edge_sdk.kernel import kernel
from edge_sdk.kernels.cpu.gemm import multiply, multiply_scratch
from edge_sdk.kernels.cpu.packing import matrix
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.spec import Array, Spec


def _linear_scratch(op: Linear, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
    return multiply_scratch(x.shape[0], w.shape[0], w.shape[1])


@kernel(Linear, "cpu", scratch=_linear_scratch)
def linear(op: Linear, out: Array, x: Array, w: Array, b: Array | None = None, *, scratch: tuple[Array, ...]) -> None:
    outputs, depth = w.shape
    multiply(x, matrix(depth, 1), w, matrix(1, depth), out, len(x), outputs, depth, scratch, b, op.activation)


def _matmul_scratch(op: MatMul, a: Spec, b: Spec) -> tuple[Spec, ...]:
    rows, columns = op.infer_outputs((a, b))[0].shape[-2:]
    return multiply_scratch(rows, columns, a.shape[-2 if op.transpose_a else -1])


@kernel(MatMul, "cpu", scratch=_matmul_scratch)
def matmul(op: MatMul, out: Array, a: Array, b: Array, *, scratch: tuple[Array, ...]) -> None:
    m, n = out.shape[-2:]
    depth = a.shape[-2 if op.transpose_a else -1]
    for index in range(out.size // (m * n) if out.size else 0):
        of_a, of_b = index * m * depth, index * depth * n
        left = matrix(1, m, of_a) if op.transpose_a else matrix(depth, 1, of_a)
        right = matrix(1, depth, of_b) if op.transpose_b else matrix(n, 1, of_b)
        multiply(a, left, b, right, out, m, n, depth, scratch, start=index * m * n)
