"""ONNX's reference evaluator as an oracle for operators on NHWC images."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_sdk.spec import Array


def run_onnx(operator: str, *inputs: Array | None, outputs: int = 1, opset: int = 19, **attributes: Any) -> list[Array]:
    """Compute one ONNX operator; None stands for an optional input that is left out."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    given = {name: x for name, x in zip(names, inputs, strict=True) if x is not None}
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, names, results, **attributes)
    graph = helper.make_graph(
        [node],
        operator,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), None)
            for name, x in given.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, given)]


def to_nchw(x: Array) -> Array:
    """(n, h, w, c) → (n, c, h, w)."""
    return np.moveaxis(x, 3, 1)


def to_nhwc(x: Array) -> Array:
    """(n, c, h, w) → (n, h, w, c)."""
    return np.moveaxis(x, 1, 3)
