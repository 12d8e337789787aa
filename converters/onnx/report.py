"""What `edge.export_onnx` tells of a file that it wrote."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.converters.gate import Attempt
from edge_sdk.converters.onnx.runtime import ONNXModel, has_onnx_runtime
from edge_sdk.converters.onnx.write_model import RUNTIMES, WrittenModel
from edge_sdk.evaluation import Evaluation
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT

TIMED_RUNS = 10


@dataclass(frozen=True)
class Report:
    """What was written, and how it compares with the model on the same photos.

    The fields are those of a .tflite file's report, and the opset. `drop` is how many points of accuracy the file
    loses, or of photos that it answers otherwise where there are no labels; `attempts` are the forms of the network
    whose files were finished for it, one for each rung of the ladder. `minimum_runtime` is the oldest ONNX Runtime that
    reads the opset. `session_agreement` is the share of photos that an int8 file and our own 8-bit Session call the
    same, `session_difference` the largest difference of their logits over the largest logit; None for other files.
    """

    path: str
    precision: str
    bytes: int
    input: str
    output: str
    photos: int
    agreement: float
    largest_difference: float
    mean_difference: float
    relative_difference: float
    model_accuracy: float | None
    file_accuracy: float | None
    drop: float
    attempts: tuple[Attempt, ...]
    operators: Mapping[str, int]
    float_tensors: tuple[str, ...]
    float_weights: tuple[str, ...]
    findings: tuple[str, ...]
    runtime: str
    minimum_runtime: str
    milliseconds: float
    opset: int
    session_agreement: float | None
    session_difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return dataclasses.asdict(self)


def report_file(
    path: str, precision: str, written: WrittenModel, files: Sequence[Path], file: ONNXModel, expected: Evaluation,
    found: Evaluation, findings: tuple[str, ...],
) -> Report:  # fmt: skip
    """Return the report of a finished file: what was `expected` of the model, and `found` of the file, on photos."""
    has_labels = bool((expected.targets >= 0).all())
    difference = np.abs(expected.scores - found.scores)
    same = agreement(expected, found)
    opset = written.proto.opset_import[0].version
    return Report(
        path=path,
        precision=precision,
        bytes=sum(finished.stat().st_size for finished in files),
        input=file.input,
        output=file.output,
        photos=expected.count,
        agreement=same,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        relative_difference=relative_difference(expected, found),
        model_accuracy=expected.top1 if has_labels else None,
        file_accuracy=found.top1 if has_labels else None,
        drop=round(100 * (expected.top1 - found.top1 if has_labels else 1 - same), 6),
        attempts=(),
        operators=written.operators,
        float_tensors=(),
        float_weights=written.float_weights,
        findings=findings,
        runtime=file.runtime,
        minimum_runtime=f"onnxruntime {RUNTIMES[opset]}",
        milliseconds=1e3 * statistics.median(file.latency(TIMED_RUNS if has_onnx_runtime() else 1)),
        opset=opset,
        session_agreement=None,
        session_difference=None,
    )


def with_session(report: Report, graph: Graph, own: Evaluation, found: Evaluation) -> Report:
    """Return the report of an 8-bit file with what our own Session makes of its graph."""
    return dataclasses.replace(
        report,
        float_tensors=_float_values(graph),
        session_agreement=agreement(own, found),
        session_difference=relative_difference(own, found),
    )


def agreement(a: Evaluation, b: Evaluation) -> float:
    """Return the share of photos that both call the same."""
    return float(np.mean(a.predictions == b.predictions))


def relative_difference(expected: Evaluation, found: Evaluation) -> float:
    """Return the largest difference of a logit over the largest logit."""
    largest = max(float(np.abs(expected.scores).max()), 1e-12)
    return float(np.abs(expected.scores - found.scores).max()) / largest


def _float_values(graph: Graph) -> tuple[str, ...]:
    """What an 8-bit graph computes in floats, besides its stated edges."""
    edges = {*graph.inputs, *graph.outputs, *graph.params}
    return tuple(v for v in graph.specs if graph.specs[v].dtype == "float32" and v not in edges and v != INPUT)
