"""Dense layers and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError
from edge_sdk.graph import Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import before_activation
from edge_sdk.ops.conv import check_bias
from edge_sdk.ops.geometry import Activation, Precision
from edge_sdk.ops.reduce import ReduceSum
from edge_sdk.spec import Spec, Value, check_floats


@dataclass(frozen=True)
class Linear(Op, name="linear"):
    """y (n, out) = x (n, in) · wᵀ + b for w (out, in), b (out)."""

    activation: Activation = None
    precision: Precision = "float32"

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> Spec:
        if x.rank != 2 or w.rank != 2 or x.shape[1] != w.shape[1]:
            raise ShapeError(f"linear: x {x} and w {w} do not fit; wanted (n, in) and (out, in)")
        check_bias("linear", b, w.shape[0])
        check_floats("linear", x=x, w=w, b=b)
        return x.with_shape((x.shape[0], w.shape[0]))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        x, w = node.inputs[:2]
        dy = before_activation(g, self.activation, node.output, dy)
        dx = g.add(MatMul(precision=self.precision), dy, w)
        dw = g.add(MatMul(transpose_a=True, precision=self.precision), dy, x)
        return [dx, dw, *([g.add(ReduceSum(axes=(0,)), dy)] if len(node.inputs) == 3 else [])]


@dataclass(frozen=True)
class MatMul(Op, name="matmul"):
    """Matrix product of a (…, i, j) and b (…, j, k) into (…, i, k); the leading dimensions must be equal.

    `transpose_a` reads a as (…, j, i), `transpose_b` reads b as (…, k, j).
    """

    transpose_a: bool = False
    transpose_b: bool = False
    precision: Precision = "float32"

    def infer(self, a: Spec, b: Spec) -> Spec:
        if a.rank < 2 or a.rank != b.rank or a.shape[:-2] != b.shape[:-2]:
            raise ShapeError(f"matmul: a {a} and b {b} need two or more dimensions, the leading ones equal")
        rows, depth = reversed(a.shape[-2:]) if self.transpose_a else a.shape[-2:]
        depth_of_b, columns = reversed(b.shape[-2:]) if self.transpose_b else b.shape[-2:]
        if depth != depth_of_b:
            raise ShapeError(f"matmul: a {a} and b {b} share no inner dimension ({depth} and {depth_of_b})")
        check_floats("matmul", a=a, b=b)
        return a.with_shape((*a.shape[:-2], rows, columns))

    def grad(self, g: Builder, node: Node, dy: Value) -> Sequence[Value | None]:
        a, b = node.inputs
        if self.transpose_a:  # a is (j, i): da = op(b) · dyᵀ
            da = g.add(replace(self, transpose_a=self.transpose_b, transpose_b=True), b, dy)
        else:
            da = g.add(replace(self, transpose_a=False, transpose_b=not self.transpose_b), dy, b)
        if self.transpose_b:  # b is (k, j): db = dyᵀ · op(a)
            db = g.add(replace(self, transpose_a=True, transpose_b=self.transpose_a), dy, a)
        else:
            db = g.add(replace(self, transpose_a=not self.transpose_a, transpose_b=False), a, dy)
        return [da, db]
