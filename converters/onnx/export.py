"""A Model as an .onnx file: written, checked, run, compared with the Session, and only then named."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_sdk.converters.gate import Form, Forms, Limits, Stage, first_good_enough
from edge_sdk.converters.onnx.finisher import BATCH, Finisher
from edge_sdk.converters.onnx.report import Report
from edge_sdk.converters.onnx.runtime import has_onnx_runtime
from edge_sdk.converters.onnx.write_model import DEFAULT_OPSET, check_opset
from edge_sdk.converters.onnx.writing import ImageLayout
from edge_sdk.converters.precision import (
    UNASKED_CHECK_PHOTOS,
    WEIGHTS,
    Precision,
    calibration_findings,
    check_precision_of,
    opened_calibration,
)
from edge_sdk.data.class_names import training_photos
from edge_sdk.errors import MissingExtraError, UsageError, suggestion
from edge_sdk.evaluation import evaluate
from edge_sdk.model import Model
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.ladder import RUNGS, RungName, check_rungs
from edge_sdk.quantization.post_training import QuantizedModel, quantized_graph
from edge_sdk.quantization.profile import DEFAULT as DEFAULT_PROFILE
from edge_sdk.quantization.rounded_model import profile_of, rounds
from edge_sdk.quantization.scheme import DEFAULT, Scheme

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

REFERENCE_PHOTOS = 4
"""How many photos a file is compared on where only ONNX's reference evaluator is there, which takes seconds for one."""


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
    max_drop: float | None = None,
    min_agreement: float | None = None,
    max_size: int | None = None,
    rungs: Sequence[RungName] = RUNGS,
    train: Dataset | Path | str | None = None,
    scheme: Scheme = DEFAULT,
    listener: Callable[[str], None] = lambda line: None,
) -> Report:
    """Write a model as an .onnx file and return how the finished file does.

    Its input `image` is photos (batch, 3, h, w), preprocessed, float32, or (batch, h, w, 3) with `image_layout`
    "nhwc"; an int8 file takes uint8 pixels, red first, where `input_type` asks for them. Its output is `logits`.
    `quantize` is "none" (float32), "fp16" (weights), "dynamic" (int8 weights) or "int8": every activation and weight
    between QuantizeLinear and DequantizeLinear, calibrated on `calibrate` by `scheme`, or the model's own where it was
    trained in 8-bit numbers, or taken from `quantized`. The batch is open.
    The file is run in ONNX Runtime where that is installed, else on a few photos in ONNX's reference evaluator, on
    `check`, or on some of the calibration photos, or on seeded noise. Metadata keep labels, preprocessing, provenance
    and the hash of the weights. Weights of more than 2 GiB lie beside the file, as `<name>.data`.

    With `max_drop` the finished file may lose so many points of accuracy on the `check` photos (of answers, where they
    have no labels) in ONNX Runtime. An int8 file then climbs the ladder (edge_sdk/quantization/ladder.py), of which
    `rungs` may be climbed, and stops at the first whose file is good enough; `train` are labelled photos for its last
    rung, and `listener` is told of each. Where none is, the best of the files lies at `<name>.rejected.onnx`, with a
    report of every layer. With `min_agreement` so many % of its answers must be the model's. `max_size` is how many
    bytes a file may have.

    The report also lies beside the file, as `<path>.json`.

    Raises:
        UsageError: an unknown precision, layout or opset, a name that does not end in .onnx, int8 without photos, a
            limit that is none.
        DataError: the calibration photos cannot be right.
        ExportError: an operator has no form in the wanted precision or opset, the file does not do what the model does,
            or is not within the limits; no file of that name is written then.
        MissingExtraError: the package onnx is not installed, or with a limit of answers onnxruntime.
    """
    path, limits = Path(path), Limits(max_drop, max_size, min_agreement)
    _check_options(quantize, input_type, output_type, image_layout, quantized, scheme)
    if quantized is None:
        check_precision_of(model, quantize, calibrate)
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: the name of the file to write must end in .onnx")
    check_opset(opset)
    check_rungs(rungs)
    limits.check(quantize, check)
    if train is not None:
        training_photos(train, None, model.labels)  # now, and not after minutes on the ladder
    if limits.judges_answers and not has_onnx_runtime():
        raise MissingExtraError(
            "max_drop (--max-drop) and min_agreement (--min-agreement) are measured in ONNX Runtime: "
            "pip install 'edge-sdk[onnxruntime]'"
        )
    calibrate = opened_calibration(model, calibrate)
    findings = calibration_findings(model, calibrate, check)
    photos = _check_photos(model, calibrate, check)
    expected = evaluate(model, photos, BATCH)
    profile = profile_of(model) if rounds(model) else DEFAULT_PROFILE if quantized is None else quantized.profile
    input_type = input_type or "float32"

    def forms() -> Iterator[tuple[None, Form]]:
        if quantized is not None:
            yield None, (quantized.graph, quantized.workspace)
        elif quantize == "int8":
            yield None, quantized_graph(model, calibrate, input_type, output_type, scheme)
        else:
            yield None, model.inference

    with _workplace(path) as folder:
        finisher = Finisher(
            path, folder, model, quantize, opset, image_layout, profile, photos, expected, findings, threads
        )  # fmt: skip
        stage = Stage(quantize, forms(), finisher)
        if quantize == "int8" and limits.judges_answers and calibrate is not None and quantized is None:
            climbed = Forms(
                model, calibrate, input_type, output_type, scheme, rungs, train, listener, limits, finisher.size
            )  # fmt: skip
            stage = Stage(quantize, climbed, finisher, climbed.layers)
        advice = "" if quantize == "int8" else "; quantize='int8' makes it smaller"
        finished = first_good_enough(path, [stage], limits, advice)
        finished.save(path)
    return finished.report


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """A folder beside a file that is to be, from which finished ones are moved; what is left there is gone with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_options(
    precision: Precision,
    input_type: EdgeType | None,
    output_type: EdgeType,
    image_layout: ImageLayout,
    quantized: QuantizedModel | None,
    scheme: Scheme,
) -> None:
    if precision not in WEIGHTS:
        raise UsageError(f"quantize {precision!r} is not one of {', '.join(WEIGHTS)}{suggestion(precision, WEIGHTS)}")
    if quantized is not None and precision != "int8":
        raise UsageError(f"a quantized model is written with quantize='int8', not {precision!r}")
    if scheme.weights != "int8":
        raise UsageError(f"weights of {scheme.weights} are for .tflite files; .onnx files have int8 ones")
    if image_layout not in ("nchw", "nhwc"):
        raise UsageError(f"image_layout {image_layout!r} is not one of nchw, nhwc")
    for side, chosen in (("input", input_type), ("output", output_type)):
        if chosen not in (None, "uint8", "float32"):
            raise UsageError(f"{side}_type {chosen!r} is not one of uint8, float32")
        if chosen == "uint8" and precision != "int8":
            raise UsageError(f"a uint8 {side} (--{side}-type) is for quantize='int8'; {precision!r} files take float32")


def _check_photos(model: Model, calibrate: PhotoSource | None, check: PhotoSource | None) -> Dataset:
    from edge_sdk.data.source import open_decoded, spread

    noise = np.random.default_rng(0).integers(0, 256, (BATCH, *model.preprocess.shape), np.uint8)
    given = check if check is not None else calibrate if calibrate is not None else noise
    photos = open_decoded(given, model.labels)
    if not has_onnx_runtime():
        return spread(photos, REFERENCE_PHOTOS)
    return photos if check is not None else spread(photos, UNASKED_CHECK_PHOTOS)
