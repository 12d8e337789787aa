"""A Model as an .onnx file: written, checked, run, compared with the Session, and only then named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.atomic import atomic_write_bytes, sync_folder
from edge_sdk.converters.onnx.proto import onnx_package
from edge_sdk.converters.onnx.runtime import ONNXModel, has_onnx_runtime
from edge_sdk.converters.onnx.write_model import DEFAULT_OPSET, RUNTIMES, About, WrittenModel, check_model, write
from edge_sdk.converters.onnx.writing import ImageLayout
from edge_sdk.converters.precision import FLOAT_TOLERANCE, UNASKED_CHECK_PHOTOS, WEIGHTS, Precision, check_precision_of
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.model import INPUT, Model
from edge_sdk.quantization import post_training
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.post_training import QuantizedModel

if TYPE_CHECKING:
    from onnx import ModelProto

    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

REFERENCE_PHOTOS = 4
"""The same where only ONNX's reference evaluator is there, which takes seconds for a photo."""
BATCH = 8
LARGEST_MESSAGE = (1 << 31) - (1 << 24)
"""Bytes of weights above which they lie in a file of their own: a protobuf message ends at 2 GiB."""


@dataclass(frozen=True)
class Report:
    """What was written, and how it compares with the model on the same photos.

    The fields are those of a .tflite file's report, and the opset. `minimum_runtime` is the oldest ONNX Runtime that
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
    operators: Mapping[str, int]
    float_tensors: tuple[str, ...]
    float_weights: tuple[str, ...]
    runtime: str
    minimum_runtime: str
    milliseconds: float
    opset: int
    session_agreement: float | None
    session_difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return dataclasses.asdict(self)


def export_onnx(
    model: Model,
    path: Path | str,
    quantize: Precision = "none",
    calibrate: PhotoSource | None = None,
    check: PhotoSource | None = None,
    input_type: EdgeType | None = None,
    output_type: EdgeType = "float32",
    threads: int | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    image_layout: ImageLayout = "nchw",
    quantized: QuantizedModel | None = None,
) -> Report:
    """Write a model as an .onnx file and return how the finished file does.

    Its input `image` is photos (batch, 3, h, w), preprocessed, float32, or (batch, h, w, 3) with `image_layout`
    "nhwc"; an int8 file takes uint8 pixels, red first, where `input_type` asks for them. Its output is `logits`.
    `quantize` is "none" (float32), "fp16" (weights), "dynamic" (int8 weights) or "int8": every activation and weight
    between QuantizeLinear and DequantizeLinear, calibrated on `calibrate`, or the model's own where it was trained in
    8-bit numbers, or taken from `quantized`. The batch is open.
    The file is run in ONNX Runtime where that is installed, else on a few photos in ONNX's reference evaluator, on
    `check`, or on some of the calibration photos, or on seeded noise. Metadata keep labels, preprocessing, provenance
    and the hash of the weights. Weights of more than 2 GiB lie beside the file, as `<name>.data`.

    The report also lies beside the file, as `<path>.json`.

    Raises:
        UsageError: an unknown precision, layout or opset, a name that does not end in .onnx, int8 without photos.
        ExportError: an operator has no form in the wanted precision or opset, or the file does not do what the model
            does; no file is left then.
        MissingExtraError: the package onnx is not installed.
    """
    _check_options(quantize, input_type, output_type, image_layout, quantized)
    if quantized is None:
        check_precision_of(model, quantize, calibrate)
    path = Path(path)
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: the name of the file to write must end in .onnx")
    if quantize == "int8" and quantized is None:
        quantized = post_training.quantize(model, calibrate, input_type or "float32", output_type)
    graph, workspace = model.inference if quantized is None else (quantized.graph, quantized.workspace)
    about = About(model.name, model.preprocess, model.labels, model.provenance)
    written = write(
        graph, workspace, opset=opset, weights=WEIGHTS[quantize], image_layout=image_layout, about=about
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        files = _store(written.proto, folder / path.name)
        file = ONNXModel(files[-1], image_layout, threads)
        photos = _check_photos(model, calibrate, check)
        report = _proven(model, quantized, file, photos, path, quantize, opset, written, files)
        file.close()
        for finished in files:
            finished.replace(path.parent / finished.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync_folder(path.parent)
    atomic_write_bytes(Path(f"{path}.json"), (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    return report


def _check_options(
    precision: Precision,
    input_type: EdgeType | None,
    output_type: EdgeType,
    image_layout: ImageLayout,
    quantized: QuantizedModel | None,
) -> None:
    if precision not in WEIGHTS:
        raise UsageError(f"quantize {precision!r} is not one of {', '.join(WEIGHTS)}{suggestion(precision, WEIGHTS)}")
    if quantized is not None and precision != "int8":
        raise UsageError(f"a quantized model is written with quantize='int8', not {precision!r}")
    if image_layout not in ("nchw", "nhwc"):
        raise UsageError(f"image_layout {image_layout!r} is not one of nchw, nhwc")
    for side, chosen in (("input", input_type), ("output", output_type)):
        if chosen not in (None, "uint8", "float32"):
            raise UsageError(f"{side}_type {chosen!r} is not one of uint8, float32")
        if chosen == "uint8" and precision != "int8":
            raise UsageError(f"a uint8 {side} (--{side}-type) is for quantize='int8'; {precision!r} files take float32")


def _store(proto: ModelProto, path: Path) -> list[Path]:
    """Write the file, with its weights beside it where they are too large, and let ONNX check it as it lies there."""
    onnx = onnx_package()
    files = [path]
    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) > LARGEST_MESSAGE:
        data = path.with_name(f"{path.name}.data")
        onnx.save_model(
            proto, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data.name
        )  # fmt: skip
        files = [data, path]
    else:
        path.write_bytes(proto.SerializeToString(deterministic=True))
    for file in files:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
    check_model(str(path))
    return files


def _check_photos(model: Model, calibrate: PhotoSource | None, check: PhotoSource | None) -> Dataset:
    from edge_sdk.data.source import open_photos, spread

    noise = np.random.default_rng(0).integers(0, 256, (BATCH, *model.preprocess.shape), np.uint8)
    given = check if check is not None else calibrate if calibrate is not None else noise
    photos = open_photos(given, model.labels)
    if not has_onnx_runtime():
        return spread(photos, REFERENCE_PHOTOS)
    return photos if check is not None else spread(photos, UNASKED_CHECK_PHOTOS)


def _proven(
    model: Model,
    quantized: QuantizedModel | None,
    file: ONNXModel,
    photos: Dataset,
    path: Path,
    precision: Precision,
    opset: int,
    written: WrittenModel,
    files: list[Path],
) -> Report:
    """Compare file and model on photos; raises ExportError where a float32 file computes something else."""
    expected, found = evaluate(model, photos, BATCH), evaluate(file, photos, BATCH)
    own = None if quantized is None else evaluate(quantized, photos, BATCH)
    has_labels = bool((expected.targets >= 0).all())
    relative = _relative_difference(expected, found)
    if precision == "none" and not relative <= FLOAT_TOLERANCE:
        raise ExportError(
            f"{path}: the finished file's logits differ from the model's by {relative:.1e} of the largest, at most "
            f"{FLOAT_TOLERANCE:.0e} is right for float32; no file was left"
        )
    difference = np.abs(expected.scores - found.scores)
    return Report(
        path=str(path),
        precision=precision,
        bytes=sum(finished.stat().st_size for finished in files),
        input=file.input,
        output=file.output,
        photos=expected.count,
        agreement=_agreement(expected, found),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        relative_difference=relative,
        model_accuracy=expected.top1 if has_labels else None,
        file_accuracy=found.top1 if has_labels else None,
        operators=written.operators,
        float_tensors=() if quantized is None else _float_values(quantized),
        float_weights=written.float_weights,
        runtime=file.runtime,
        minimum_runtime=f"onnxruntime {RUNTIMES[opset]}",
        milliseconds=1e3 * statistics.median(file.latency(10 if has_onnx_runtime() else 1)),
        opset=opset,
        session_agreement=None if own is None else _agreement(own, found),
        session_difference=None if own is None else _relative_difference(own, found),
    )


def _agreement(a: Evaluation, b: Evaluation) -> float:
    return float(np.mean(a.predictions == b.predictions))


def _relative_difference(expected: Evaluation, found: Evaluation) -> float:
    largest = max(float(np.abs(expected.scores).max()), 1e-12)
    return float(np.abs(expected.scores - found.scores).max()) / largest


def _float_values(quantized: QuantizedModel) -> tuple[str, ...]:
    """What an 8-bit graph computes in floats, besides its stated edges."""
    graph = quantized.graph
    edges = {*graph.inputs, *graph.outputs, *graph.params}
    return tuple(v for v in graph.specs if graph.specs[v].dtype == "float32" and v not in edges and v != INPUT)
