"""A Model as a .tflite file: quantized, written, and proven in the runtime before it gets its name."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.tflite.lowering import Weights
from edge_sdk.converters.tflite.metadata import About
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import WriteReport, WrittenFile, write
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.post_training import quantized_graph
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

Precision = Literal["none", "fp16", "dynamic", "int8"]
WEIGHTS: Mapping[str, Weights] = {"none": "float32", "fp16": "float16", "dynamic": "int8", "int8": "float32"}
"""How `write` stores the weights of each precision; those of an int8 graph are int8 already."""

UNASKED_CHECK_PHOTOS = 200
"""How many calibration photos the file is compared on when no others are given."""

BATCH = 8
FLOAT_TOLERANCE = 1e-4
"""How far a float32 file may be from the model, as a share of the largest logit."""


@dataclass(frozen=True)
class Report:
    """What was written, and how it compares with the model on the same photos.

    Accuracies are None where the photos have no labels. Differences are between logits; `relative_difference` is the
    largest one over the largest logit. `operators` counts the builtin operators used. `float_tensors` names every
    computed tensor of an int8 file that is float, besides its stated edges; `float_weights` the weights that fp16 or
    dynamic range leave in float32. `milliseconds` is the median time of one photo on this machine.
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
    operators: Mapping[str, int]
    float_tensors: tuple[str, ...]
    float_weights: tuple[str, ...]
    runtime: str
    minimum_runtime: str
    milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return dataclasses.asdict(self)


def export(
    model: Model,
    path: Path | str,
    quantize: Precision = "none",
    calibrate: PhotoSource | None = None,
    check: PhotoSource | None = None,
    input_type: EdgeType | None = None,
    output_type: EdgeType = "float32",
    threads: int | None = None,
    *,
    fixed_batch: bool = False,
) -> Report:
    """Write a model as a .tflite file of builtin operators and return how the finished file does.

    `quantize` is "none" (float32), "fp16" (half-precision weights), "dynamic" (int8 weights) or "int8" (everything),
    for which `calibrate` gives photos: a folder, a data set or uint8 images (n, h, w, c). They go through the model's
    own preprocessing. `check` are other photos, all of which model and file are compared on; without them some of the
    calibration photos, or seeded noise, serve. An int8 file takes uint8 pixels unless `input_type` is "float32".
    With `fixed_batch` it takes one example at a time, which LiteRT.js (2.5) asks for: it refuses an open batch.

    The report also lies beside the file, as `<path>.json`.

    Raises:
        UsageError: an unknown precision, a name that does not end in .tflite, int8 without photos, or a type of input
            or output that is not for it.
        ExportError: an operator has no form in the wanted precision, or the file does not do what the model does;
            no file is left then.
    """
    _check_options(quantize, calibrate, input_type, output_type)
    if Path(path).suffix != ".tflite":
        raise UsageError(f"{path}: the name of the file to write must end in .tflite")
    written = _written(model, quantize, calibrate, input_type or "uint8", output_type, fixed_batch=fixed_batch)
    file = TFLiteModel(written.data, str(path), threads)
    photos = _check_photos(model, calibrate, check)
    expected, found = evaluate(model, photos, BATCH), evaluate(_UnderLabels(file, model.labels), photos, BATCH)
    report = _report(str(path), quantize, written.report, file, expected, found)
    if quantize == "none" and not report.relative_difference <= FLOAT_TOLERANCE:
        raise ExportError(
            f"{path}: the finished file's logits differ from the model's by {report.relative_difference:.1e} of the "
            f"largest, at most {FLOAT_TOLERANCE:.0e} is right for float32; no file was left"
        )
    atomic_write_bytes(path, written.data)
    atomic_write_bytes(Path(f"{path}.json"), (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    return report


@dataclass(frozen=True)
class _UnderLabels:
    """A file in its runtime under the model's labels: those in the file are text lines, which cannot hold line ends."""

    file: TFLiteModel
    labels: tuple[str, ...]

    @property
    def preprocess(self) -> Preprocess:
        return self.file.preprocess

    def run(self, x: Array) -> Array:
        return self.file.run(x)


def _check_options(
    precision: Precision, photos: PhotoSource | None, input_type: EdgeType | None, output_type: EdgeType
) -> None:
    if precision not in WEIGHTS:
        raise UsageError(f"quantize {precision!r} is not one of {', '.join(WEIGHTS)}{suggestion(precision, WEIGHTS)}")
    if precision == "int8" and photos is None:
        raise UsageError("int8 needs photos to calibrate on: give calibrate= (--calibrate), photos like those in use")
    for side, chosen in (("input", input_type), ("output", output_type)):
        if chosen not in (None, "uint8", "float32"):
            raise UsageError(f"{side}_type {chosen!r} is not one of uint8, float32")
        if chosen == "uint8" and precision != "int8":
            raise UsageError(f"a uint8 {side} (--{side}-type) is for quantize='int8'; {precision!r} files take float32")


def _written(
    model: Model,
    precision: Precision,
    photos: PhotoSource | None,
    input_type: EdgeType,
    output_type: EdgeType,
    *,
    fixed_batch: bool,
) -> WrittenFile:
    if precision == "int8" and photos is not None:
        graph, workspace = quantized_graph(model, photos, input_type, output_type)
    else:
        graph, workspace = model.inference
    about = About(model.name, model.preprocess, model.labels, model.provenance)
    return write(graph, workspace, WEIGHTS[precision], about, fixed_batch=fixed_batch)


def _check_photos(model: Model, calibrate: PhotoSource | None, check: PhotoSource | None) -> Dataset:
    from edge_sdk.data.source import open_photos, spread

    if check is not None:
        return open_photos(check, model.labels)
    if calibrate is not None:
        return spread(open_photos(calibrate, model.labels), UNASKED_CHECK_PHOTOS)
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, *model.preprocess.shape), np.uint8)
    return open_photos(noise, model.labels)


def _report(
    path: str, precision: Precision, written: WriteReport, file: TFLiteModel, expected: Evaluation, found: Evaluation
) -> Report:
    difference = np.abs(expected.scores - found.scores)
    has_labels = bool((expected.targets >= 0).all())
    return Report(
        path=path,
        precision=precision,
        bytes=written.size,
        input=f"{file.inputs[0].dtype}{list(file.inputs[0].shape)}",
        output=f"{file.outputs[0].dtype}{list(file.outputs[0].shape)}",
        photos=expected.count,
        agreement=float(np.mean(expected.predictions == found.predictions)),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        relative_difference=float(difference.max() / max(float(np.abs(expected.scores).max()), 1e-12)),
        model_accuracy=expected.top1 if has_labels else None,
        file_accuracy=found.top1 if has_labels else None,
        operators=written.operators,
        float_tensors=written.float_tensors,
        float_weights=written.float_weights,
        runtime=file.runtime,
        minimum_runtime=written.minimum_runtime,
        milliseconds=1e3 * statistics.median(file.latency(10)),
    )
