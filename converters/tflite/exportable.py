"""Can a network be exported? Asked before it is trained, by lowering it with numbers that mean nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from edge_sdk.converters.precision import INTEGERS, TFLITE_WEIGHTS, TFLitePrecision, scheme_of
from edge_sdk.converters.tflite.writer import WriteReport, WrittenFile, write
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.quantization.candidate import integer_graph, prepare_graph
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.parameters import Range
from edge_sdk.quantization.rounded_model import candidate_of, rounds
from edge_sdk.quantization.rules import activation_parameters_of
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.spec import FLOATS, QuantParams
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.model import Model

_ASSUMED = Range(-1.0, 1.0)
"""What every activation is taken to be between: which operators are written does not depend on it."""


def check_exportable(
    model: Model, precision: TFLitePrecision = "none", min_runtime: str | None = None, scheme: Scheme = DEFAULT
) -> WriteReport:
    """Return what a file of this network would be made of; its weights and ranges need not be those to come.

    See `dry_file`, whose bytes are thrown away.

    Raises:
        ExportError: an operator has no form in that precision or runtime.
        UsageError: an unknown precision or runtime.
    """
    return dry_file(model, precision, min_runtime, scheme).report


def dry_file(
    model: Model, precision: TFLitePrecision = "none", min_runtime: str | None = None, scheme: Scheme = DEFAULT
) -> WrittenFile:
    """Return a file of this network whose numbers mean nothing.

    The graph goes through the passes, the quantization and the lowering of `export`, with ones as weights (its own
    where it was trained in 8-bit numbers); nothing is run. `min_runtime` and what is raised are as in
    `check_exportable`.
    """
    known = get_args(TFLitePrecision)
    if precision not in known:
        raise UsageError(f"precision {precision!r} is not one of {', '.join(known)}{suggestion(precision, known)}")
    try:
        if precision == "int8" and rounds(model):
            return write(*integer_graph(candidate_of(model)), min_runtime=min_runtime)
        graph, workspace = run_pipeline("inference", model.graph, _ones(model.graph))
        if precision in INTEGERS:
            graph, workspace = _integer(model, graph, workspace, scheme_of(precision, scheme))
        return write(graph, workspace, TFLITE_WEIGHTS[precision], min_runtime=min_runtime)
    except ExportError as error:
        where = f" for TensorFlow Lite {min_runtime}" if min_runtime is not None else ""
        form = "" if str(error).startswith(f"{_NAMES[precision]}:") else f" as {_NAMES[precision]}"
        raise ExportError(f"{model.name} cannot be exported{form}{where}: {error}") from error


_NAMES: Mapping[TFLitePrecision, str] = {
    "none": "float32", "fp16": "float16", "dynamic": "float32 with int8 weights", "int8": "int8", "int16x8": "int16x8",
}  # fmt: skip


def _ones(graph: Graph) -> Workspace:
    """Weights that take no memory: one number, seen in every place."""
    arrays = Workspace()
    for value in graph.params:
        spec = graph.specs[value]
        arrays[value] = np.broadcast_to(np.ones((), spec.numpy_dtype), spec.shape)
    return arrays


def assumed_form(
    model: Model,
    precision: TFLitePrecision,
    scheme: Scheme = DEFAULT,
    input_type: EdgeType = "uint8",
    output_type: EdgeType = "float32",
) -> tuple[Graph, Workspace]:
    """Return the form of a model in a precision, with its weights, but with ranges that no photo decided.

    Its file has as many bytes as the one to come.
    """
    graph, workspace = model.inference
    if precision not in INTEGERS:
        return graph, workspace
    return _integer(model, graph, workspace, scheme_of(precision, scheme), input_type, output_type)


def _integer(
    model: Model,
    graph: Graph,
    workspace: Workspace,
    scheme: Scheme,
    input_type: EdgeType = "uint8",
    output_type: EdgeType = "float32",
) -> tuple[Graph, Workspace]:
    candidate = prepare_graph(graph, workspace, model.preprocess, input_type, scheme)
    graph, pixels = candidate.graph, candidate.pixels or QuantParams((1.0,), (0,))
    ranges = {value: _ASSUMED for value, spec in graph.specs.items() if spec.dtype in FLOATS}
    activations = activation_parameters_of(graph, ranges, pixels, scheme)
    return integer_graph(replace(candidate, activations=activations), input_type, output_type)
