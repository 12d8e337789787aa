"""Rows of the dense layers and matrix products."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.linear import Linear, MatMul
from op_cases.case import Case, normal
from op_cases.onnx_oracle import run_onnx

CASES = [
    Case(
        "linear-hand",
        Linear(),
        (
            np.array([[1, 2], [3, 4]], np.float32),
            np.array([[1, 0], [0, 1], [1, -1]], np.float32),
            np.array([10, 20, 30], np.float32),
        ),
        lambda *_: np.array([[11.0, 22, 29], [13, 24, 29]]),
        differentiable=(0, 1, 2),
        symbolic_batch=True,
    ),
    Case(
        "linear",
        Linear(),
        (normal(17, 50), normal(40, 50, seed=1)),
        lambda x, w: run_onnx("Gemm", x, w, transB=1)[0],
        differentiable=(0, 1),
    ),
    Case(
        "linear-deep",
        Linear(),
        (normal(3, 1100), normal(35, 1100, seed=1), normal(35, seed=2)),
        lambda x, w, b: run_onnx("Gemm", x, w, b, transB=1)[0],
    ),
    Case(
        "linear-relu",
        Linear(activation="relu"),
        (normal(4, 6, scale=0.01), normal(3, 6, seed=1), np.array([1, -1, 2], np.float32)),
        lambda x, w, b: np.maximum(run_onnx("Gemm", x, w, b, transB=1)[0], 0),
        differentiable=(0, 1, 2),
    ),
    Case(
        "linear-relu6",
        Linear(activation="relu6"),
        (normal(4, 6, scale=0.01), normal(3, 6, seed=1), np.array([1, -1, 8], np.float32)),
        lambda x, w, b: np.clip(run_onnx("Gemm", x, w, b, transB=1)[0], 0, 6),
        differentiable=(0, 1, 2),
    ),
    Case(
        "matmul-hand",
        MatMul(),
        (np.array([[1, 2], [3, 4]], np.float32), np.array([[5, 6], [7, 8]], np.float32)),
        lambda *_: np.array([[19.0, 22], [43, 50]]),
        differentiable=(0, 1),
    ),
    Case(
        "matmul-batched",
        MatMul(),
        (normal(2, 3, 5, 7), normal(2, 3, 7, 4, seed=1)),
        lambda a, b: run_onnx("MatMul", a, b)[0],
        differentiable=(0, 1),
    ),
    Case(
        "matmul-transpose-a",
        MatMul(transpose_a=True),
        (normal(3, 19, 5), normal(3, 19, 33, seed=1)),
        lambda a, b: run_onnx("MatMul", np.swapaxes(a, 1, 2), b)[0],
        differentiable=(0, 1),
    ),
    Case(
        "matmul-transpose-b",
        MatMul(transpose_b=True),
        (normal(3, 15, 17), normal(3, 34, 17, seed=1)),
        lambda a, b: run_onnx("MatMul", a, np.swapaxes(b, 1, 2))[0],
        differentiable=(0, 1),
    ),
    Case(
        "matmul-transpose-both",
        MatMul(transpose_a=True, transpose_b=True),
        (normal(9, 6), normal(4, 9, seed=1)),
        lambda a, b: run_onnx("MatMul", a.T, b.T)[0],
        differentiable=(0, 1),
    ),
    Case(
        "matmul-long-sum",
        MatMul(transpose_a=True),
        (normal(9000, 3), normal(9000, 5, seed=1)),
        lambda a, b: run_onnx("MatMul", a.T, b)[0],
    ),
    Case(
        "matmul-empty-sum",
        MatMul(),
        (normal(3, 0), normal(0, 2)),
        lambda *_: np.zeros((3, 2)),
    ),
]
