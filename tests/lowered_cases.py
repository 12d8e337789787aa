"""The rows of the operator table that .tflite files can hold, each as a program of its operator alone."""

from __future__ import annotations

import numpy as np
from op_cases import CASES
from op_cases.case import Case

from edge_sdk.builder import Builder
from edge_sdk.converters.tflite import writer  # noqa: F401 - importing it registers the lowerings
from edge_sdk.converters.tflite.lowering import LOWERINGS
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import PRelu
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.quantization import Dequantize
from edge_sdk.spec import BATCH, Array, QuantParams, Spec
from edge_sdk.workspace import Workspace

CONSTANT_INPUTS = {
    **dict.fromkeys((Conv2D, ConvTranspose2D, DepthwiseConv2D, Linear), (1, 2)),
    BatchNorm: (1, 2, 3, 4),
    PRelu: (1,),
}
"""Inputs that TFLite wants as constants, and that are parameters in every network."""

LOWERED = [
    case
    for case in CASES
    if type(case.op) in LOWERINGS
    # Dropout with a step is its training form; tensors without elements are refused (tested below).
    and not (case.op.name == "dropout" and len(case.inputs) > 1)
    and all(x.size for x in case.inputs)
]


def single(array: Array) -> Array:
    """Floats as float32; other types as they are."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def graph_of(case: Case, *, symbolic: bool = False) -> tuple[Graph, Workspace, dict[str, Array]]:
    """A program of the row's operator alone, its weights, and what it is fed."""
    g, workspace, feeds = Builder("case"), Workspace(), {}
    values = []
    for index, x in enumerate(map(single, case.inputs)):
        constant = index in CONSTANT_INPUTS.get(type(case.op), ())
        shape = (BATCH, *x.shape[1:]) if symbolic and index == 0 else x.shape
        quant = QuantParams((case.op.scale,), (case.op.zero_point,)) if isinstance(case.op, Dequantize) else None
        values.append((g.param if constant else g.input)(f"x{index}", Spec(shape, x.dtype.name, quant)))
        (workspace if constant else feeds)[f"x{index}"] = x
    return g.build(*g.add_multi(case.op, *values, name="y")), workspace, feeds
