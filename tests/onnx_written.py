"""The rows of the operator table as ONNX files, run by ONNX's own reference evaluator and by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lowered_cases import graph_of
from onnx.reference import ReferenceEvaluator
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.converters.onnx.write_model import check_model, write
from edge_sdk.converters.onnx.writing import writers
from edge_sdk.graph import Graph
from edge_sdk.spec import Array
from edge_sdk.workspace import Workspace

WRITTEN = [
    case
    for case in CASES
    if type(case.op) in writers()
    # Dropout with a step is its training form; tensors without elements are refused (tested below).
    and not (case.op.name == "dropout" and len(case.inputs) > 1)
    and all(x.size for x in case.inputs)
]
__all__ = ["REFERENCE_LIMITS", "WRITTEN", "Case", "evaluated", "graph_of"]


REFERENCE_LIMITS = {
    **dict.fromkeys(("sigmoid-large", "silu-large", "log-softmax-large"), "overflows on the way, and warns of it"),
    **dict.fromkeys(("conv-transpose-groups", "conv-transpose-depthwise", "conv-transpose-relu6"), "ignores groups"),
    "conv_transpose2d_groups": "ignores groups",
    **dict.fromkeys(
        ("local-response-norm", "local-response-norm-other-exponent", "local-response-norm-hand"),
        "takes the squares of its first channels only",
    ),
    "batch-norm": "has no version of BatchNormalization between 9 and 14",
    "resize_nearest": "takes the wrong pixel where float32 positions are a hair below a half",
}
"""What ONNX's reference evaluator does not compute as ONNX defines it; ONNX Runtime does."""


def evaluated(
    graph: Graph, workspace: Workspace, feeds: dict[str, Array], *, engine: str = "reference", **options: Any
) -> list[Array]:
    """Write a graph, let ONNX check the file, and return what its reference evaluator or ONNX Runtime computes."""
    model = write(graph, workspace, **options).proto
    check_model(model)
    data = model.SerializeToString()
    if engine == "reference":
        return [np.asarray(y) for y in ReferenceEvaluator(data).run(None, feeds)]
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))
