"""What `edge.export` tells of a file that it wrote."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.converters.tflite.delegates import readiness
from edge_sdk.converters.tflite.edges import Edges
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import WrittenFile
from edge_sdk.evaluation import Evaluation


@dataclass(frozen=True)
class Attempt:
    """One rung of the ladder as the finished file did: `drop` in points of accuracy, or of photos answered otherwise.

    `error` is that of the logits on calibration photos that no rung saw, `kept` whether the next rung was built on this
    one, `real_layers` how many nodes compute on real numbers; `float_tensors` of the report names what they compute.
    """

    rung: str
    drop: float
    agreement: float
    accuracy: float | None
    error: float
    kept: bool
    real_layers: int


@dataclass(frozen=True)
class Report:
    """What was written, and how it compares with the model on the same photos.

    Accuracies are None where the photos have no labels. Differences are between scores, which are logits or
    probabilities (`scores`); `relative_difference` is the largest one over the largest score. A file that resizes
    photos itself is given them as they are, so agreement and accuracy include what its resizing, which has no
    antialiasing, does otherwise. `takes` is what the input's numbers are, `embedded` what of the preprocessing is
    inside: "nothing", "normalisation" or "normalisation and resize". `drop` is how many points of accuracy the file
    loses, or of photos that it answers otherwise where there are no labels. `attempts` are the rungs of the ladder that
    were climbed for it. `operators` counts the builtin operators used. `float_tensors` names every computed tensor of
    an int8 file that is float, besides its stated edges; `float_weights` the weights that fp16 or dynamic range leave
    in float32. `delegates` is the share of the operators that each delegate would take, by its published rules.
    `findings` is what may be wrong with the calibration photos. `milliseconds` is the median time of one photo on this
    machine.
    """

    path: str
    precision: str
    bytes: int
    input: str
    output: str
    takes: str
    scores: str
    embedded: str
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
    delegates: Mapping[str, float]
    findings: tuple[str, ...]
    runtime: str
    minimum_runtime: str
    milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return dataclasses.asdict(self)


def report_file(
    path: str, precision: str, written: WrittenFile, file: TFLiteModel, edges: Edges, expected: Evaluation,
    found: Evaluation, findings: tuple[str, ...],
) -> Report:  # fmt: skip
    """Return the report of a finished file: what was `expected` of the model, and `found` of the file, on photos."""
    difference = np.abs(expected.scores - found.scores)
    agreement = float(np.mean(expected.predictions == found.predictions))
    has_labels = bool((expected.targets >= 0).all())
    return Report(
        path=path,
        precision=precision,
        bytes=written.report.size,
        input=f"{file.inputs[0].dtype}{list(file.inputs[0].shape)}",
        output=f"{file.outputs[0].dtype}{list(file.outputs[0].shape)}",
        takes=file.metadata.contract["input"]["values"],
        scores=edges.output,
        embedded=edges.embedded,
        photos=expected.count,
        agreement=agreement,
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        relative_difference=float(difference.max() / max(float(np.abs(expected.scores).max()), 1e-12)),
        model_accuracy=expected.top1 if has_labels else None,
        file_accuracy=found.top1 if has_labels else None,
        drop=round(100 * (expected.top1 - found.top1 if has_labels else 1 - agreement), 6),
        attempts=(),
        operators=written.report.operators,
        float_tensors=written.report.float_tensors,
        float_weights=written.report.float_weights,
        delegates={one.delegate: one.share_of_operators for one in readiness(written.data)},
        findings=findings,
        runtime=file.runtime,
        minimum_runtime=written.report.minimum_runtime,
        milliseconds=1e3 * statistics.median(file.latency(10)),
    )
