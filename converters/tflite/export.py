"""A Model as a .tflite file: lowered, written, and proven in the runtime before it gets its name."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.tflite import lower_conv, lower_elementwise, lower_pool, lower_shape
from edge_sdk.converters.tflite.lowering import Lowering, Precision, new_model
from edge_sdk.converters.tflite.metadata import About, add_metadata, append_labels
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, Model
from edge_sdk.quantization.calibration import calibrate
from edge_sdk.quantization.int8 import EdgeType, quantize_int8
from edge_sdk.quantization.normalisation import embed_normalisation, pixel_parameters
from edge_sdk.spec import Array, QuantParams
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

FAMILIES = (lower_conv, lower_elementwise, lower_pool, lower_shape)
"""The modules whose import registers every lowering."""

PRECISIONS: tuple[Precision, ...] = ("none", "fp16", "dynamic", "int8")
CALIBRATION_PHOTOS = 200
CHECK_PHOTOS = 200
BATCH = 8


@dataclass(frozen=True)
class Report:
    """What was written, and how it compares with the model on the same photos.

    Accuracies are None where the photos have no labels. Differences are between logits; `relative_difference` is the
    largest one over the largest logit. `float_tensors` names every tensor of an int8 file that is stored in float,
    besides its stated edges; `float_weights` the weights that fp16 or dynamic range left in float32.
    """

    path: str
    precision: str
    bytes: int
    photos: int
    agreement: float
    largest_difference: float
    mean_difference: float
    relative_difference: float
    model_accuracy: float | None
    file_accuracy: float | None
    float_tensors: tuple[str, ...]
    float_weights: tuple[str, ...]
    operators: tuple[str, ...]
    runtime: str
    milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return dataclasses.asdict(self)


def export(
    model: Model,
    path: Path | str,
    quantize: Precision = "none",
    calibrate: Dataset | Array | Path | str | None = None,
    check: Dataset | Array | Path | str | None = None,
    input_type: EdgeType | None = None,
    output_type: EdgeType = "float32",
    threads: int | None = None,
) -> Report:
    """Write a model as a .tflite file of builtin operators and return how the finished file does.

    `quantize` is "none" (float32), "fp16" (half-precision weights), "dynamic" (int8 weights) or "int8" (everything),
    for which `calibrate` gives photos: a folder, a data set or uint8 images (n, h, w, c). They go through the model's
    own preprocessing. `check` are other photos to compare model and file on; without them the calibration photos, or
    seeded noise, serve. An int8 file takes uint8 pixels unless `input_type` is "float32".

    Raises:
        UsageError: an unknown precision, or int8 without photos.
        ExportError: an operator has no form in the wanted precision, or the file does not do what the model does.
    """
    if quantize not in PRECISIONS:
        raise UsageError(
            f"quantize {quantize!r} is not one of {', '.join(PRECISIONS)}{suggestion(quantize, PRECISIONS)}"
        )
    if quantize == "int8" and calibrate is None:
        raise UsageError("int8 needs photos to calibrate on: give calibrate= (--calibrate), photos like those in use")
    data, lowering = _written(model, quantize, calibrate, input_type or "uint8", output_type)
    proof = TFLiteModel(data, str(path), threads)
    photos = _dataset(model, check if check is not None else calibrate, CHECK_PHOTOS)
    expected, found = evaluate(model, photos, BATCH), evaluate(_Renamed(proof, model.labels), photos, BATCH)
    report = _report(str(path), quantize, data, lowering, proof, expected, found)
    if quantize == "none" and report.relative_difference > 1e-3:
        raise ExportError(
            f"{path}: its logits differ by {report.relative_difference:.1e} of the largest; no file was left"
        )
    atomic_write_bytes(path, data)
    atomic_write_bytes(Path(f"{path}.json"), (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    return report


@dataclass(frozen=True)
class _Renamed:
    """A file in its runtime under the model's labels: those in the file are text lines, which cannot hold line ends."""

    file: TFLiteModel
    labels: tuple[str, ...]

    @property
    def preprocess(self) -> Any:
        return self.file.preprocess

    def run(self, x: Array) -> Array:
        return self.file.run(x)


def _written(
    model: Model,
    precision: Precision,
    photos: Dataset | Array | Path | str | None,
    input_type: EdgeType,
    output_type: EdgeType,
) -> tuple[bytes, Lowering]:
    graph, workspace = model.inference
    pixel_input = precision == "int8" and input_type == "uint8"
    if precision == "int8":
        graph, workspace = _quantized(model, graph, workspace, photos, input_type, output_type)
    file, subgraph = new_model(f"{model.name}, written by edge-sdk")
    lowering = Lowering(graph, workspace, subgraph, precision)
    lowering.run()
    tensors = lowering.tensors
    file.signature(
        "serving_default",
        subgraph,
        {str(value): tensors[value] for value in graph.inputs},
        {str(value): tensors[value] for value in graph.outputs},
    )
    about = About(model.name, model.preprocess, model.labels, model.provenance)
    add_metadata(file, about, pixel_input=pixel_input)
    return append_labels(file.to_bytes(), model.labels), lowering


def _quantized(
    model: Model,
    graph: Graph,
    workspace: Workspace,
    photos: Dataset | Array | Path | str | None,
    input_type: EdgeType,
    output_type: EdgeType,
) -> tuple[Graph, Workspace]:
    preprocess, pixels = model.preprocess, pixel_parameters(model.preprocess)
    if input_type == "uint8" and pixels is None:
        graph, workspace, preprocess = embed_normalisation(graph, workspace, preprocess)
        pixels = QuantParams((1.0,), (0,))
    prepared = model.replace(preprocess=preprocess)
    ranges = calibrate(graph, workspace, _batches(prepared, _dataset(model, photos, CALIBRATION_PHOTOS)))
    if pixels is None:  # a float input keeps its normalisation outside
        seen = ranges[graph.value(INPUT)]
        scale = float(np.float32((max(seen.high, 0.0) - min(seen.low, 0.0)) / 255))
        pixels = QuantParams((scale,), (int(np.clip(round(-min(seen.low, 0.0) / scale), 0, 255)),))
    return quantize_int8(graph, workspace, ranges, pixels, input_type, output_type)


def _dataset(model: Model, photos: Dataset | Array | Path | str | None, most: int) -> Dataset:
    """Up to `most` of the photos, spread evenly; seeded noise where there are none."""
    from edge_sdk.data.dataset import ArrayDataset
    from edge_sdk.data.folder import ImageFolder

    if photos is None:
        shape = (BATCH, *model.preprocess.shape)
        photos = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if isinstance(photos, np.ndarray):
        dataset: Dataset = ArrayDataset.of(photos, np.full(len(photos), -1), model.labels)
    elif isinstance(photos, str | Path):
        dataset = _labelled_or_not(model, Path(photos), ImageFolder)
    else:
        dataset = photos
    if len(dataset) <= most:
        return dataset
    return dataset.select([index * len(dataset) // most for index in range(most)])


def _labelled_or_not(model: Model, folder: Path, reader: Any) -> Dataset:
    """A folder of the model's classes with its labels, any other folder of photos without."""
    from edge_sdk.errors import DataError

    try:
        found: Dataset = reader.scan(folder, labels=model.labels).evaluation
    except DataError:
        unlabelled: Dataset = reader.unlabelled(folder)
        return _with_labels(unlabelled, model.labels)
    return found


def _with_labels(dataset: Any, labels: tuple[str, ...]) -> Dataset:
    renamed: Dataset = dataclasses.replace(dataset, labels=labels)
    return renamed


def _batches(model: Model, photos: Dataset) -> Iterator[Array]:
    from edge_sdk.data.loader import Loader

    loader = Loader(photos, model.preprocess, batch_size=min(BATCH, len(photos)), shuffle=False, drop_last=False)
    for batch in loader.epoch(0):
        yield batch.image[: batch.count]


def _report(
    path: str,
    precision: Precision,
    data: bytes,
    lowering: Lowering,
    proof: TFLiteModel,
    expected: Evaluation,
    found: Evaluation,
) -> Report:
    difference = np.abs(expected.scores - found.scores)
    labelled = bool((expected.targets >= 0).all())
    codes = {code.name for code, _ in lowering.subgraph._model.operator_versions}  # noqa: SLF001 - our own file
    return Report(
        path=path,
        precision=precision,
        bytes=len(data),
        photos=expected.count,
        agreement=float(np.mean(expected.predictions == found.predictions)),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        relative_difference=float(difference.max() / max(float(np.abs(expected.scores).max()), 1e-12)),
        model_accuracy=expected.top1 if labelled else None,
        file_accuracy=found.top1 if labelled else None,
        float_tensors=_float_tensors(lowering) if precision == "int8" else (),
        float_weights=tuple(lowering.float_weights),
        operators=tuple(sorted(codes)),
        runtime=proof.runtime,
        milliseconds=1e3 * statistics.median(proof.latency(10)),
    )


def _float_tensors(lowering: Lowering) -> tuple[str, ...]:
    edges = {lowering.tensors[value] for value in (*lowering.graph.inputs, *lowering.graph.outputs)}
    return tuple(
        tensor.name
        for index, tensor in enumerate(lowering.subgraph.tensors)
        if tensor.type.name.startswith("float") and index not in edges
    )
