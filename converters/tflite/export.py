"""A Model as a .tflite file: quantized, written, and proven in the runtime before it gets its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_sdk.compression.fine_tuning import DEFAULTS
from edge_sdk.compression.prune import check_prunable, labelled_photos
from edge_sdk.converters.gate import Limits, first_good_enough
from edge_sdk.converters.precision import (
    INTEGERS,
    TFLITE_WEIGHTS,
    UNASKED_CHECK_PHOTOS,
    TFLitePrecision,
    calibration_findings,
    check_precision_of,
    opened_calibration,
    scheme_of,
)
from edge_sdk.converters.tflite.contract import OutputKind
from edge_sdk.converters.tflite.edges import Edges
from edge_sdk.converters.tflite.exportable import check_exportable
from edge_sdk.converters.tflite.finished_file import BATCH, Finisher, Writer
from edge_sdk.converters.tflite.report import Report
from edge_sdk.converters.tflite.stages import Pruner, Stages
from edge_sdk.converters.tflite.versions import target_runtime
from edge_sdk.data.class_names import training_photos
from edge_sdk.errors import UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.ladder import RUNGS, RungName, check_rungs
from edge_sdk.quantization.scheme import DEFAULT, Scheme

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource


def export(
    model: Model,
    path: Path | str,
    quantize: TFLitePrecision = "none",
    calibrate: PhotoSource | None = None,
    check: PhotoSource | None = None,
    input_type: EdgeType | None = None,
    output_type: EdgeType = "float32",
    threads: int | None = None,
    *,
    embed_preprocessing: bool = False,
    input_size: tuple[int, int] | None = None,
    output: OutputKind = "logits",
    self_test: bool = True,
    min_runtime: str | None = None,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    max_size: int | None = None,
    rungs: Sequence[RungName] = RUNGS,
    train: Dataset | Path | str | None = None,
    scheme: Scheme = DEFAULT,
    listener: Callable[[str], None] = lambda line: None,
    fixed_batch: bool = False,
    prune: bool = False,
    prune_epochs: int = DEFAULTS["epochs"],
) -> Report:
    """Write a model as a .tflite file of builtin operators and return how the finished file does.

    `quantize` is "none" (float32), "fp16" (half-precision weights), "dynamic" (int8 weights), "int8" (everything)
    or "int16x8" (int8 weights under int16 activations, for networks that 8 bits are too coarse for), for which
    `calibrate` gives photos: a folder, a data set or uint8 images (n, h, w, c). They go through the model's
    own preprocessing. A model that was trained in 8-bit numbers (`quantize_aware`) is exported in those and takes none.
    `check` are other photos, all of which model and file are compared on; without them some of the calibration photos,
    or seeded noise, serve. An int8 file takes uint8 pixels unless `input_type` is "float32".

    With `embed_preprocessing` a file of any precision takes raw pixels 0 … 255, float32 or (`input_type`) uint8; with
    `input_size` (height, width) it takes photos of that size and resizes them itself. `output` "probabilities" puts
    the softmax into the file, as MediaPipe's classifier wants it. Two of the check photos and the scores of the
    finished file ride along for `edge verify`, unless `self_test` is False.

    `scheme` says how int8 files store weights and choose ranges, and which layers keep real numbers:
    `Scheme(weights="int4")` halves the weights, for runtimes from 2.11 on, `Scheme(layers={"block.conv": "float32"})`
    excepts one layer.

    With `fixed_batch` it takes one photo at a time, which LiteRT.js (2.5) asks for: it refuses an open batch.

    `min_runtime` is the oldest TensorFlow Lite release that the file is for ("2.14"), or "latest": where an operator
    has several forms, the best that this release has is written. None is the oldest that can be had.

    With `max_drop` the finished file may lose so many points of accuracy on the `check` photos (of answers, where they
    have no labels). An int8 file then climbs the ladder (edge_sdk/quantization/ladder.py), of which `rungs` may be
    climbed, and stops at the first whose file is good enough; `train` are labelled photos for its last rung. Where none
    is, the best of the files lies at `<name>.rejected.tflite`, with a report of every layer in its side-car. With
    `min_agreement` so many % of its answers on those photos must be the model's, with or without `max_drop`: few
    photos can hide by chance that a file answers otherwise.
    `listener` is told what is being done. `max_size` is how many bytes the file may have; where that is too few for an
    int8 file, its weights get 4 bits. With `prune` what is still too large, or loses too much then, loses channels: as
    few as the size of the finished file asks for, first with weights of 8 bits and then of 4. The smaller network is
    trained on the photos `train` for `prune_epochs`, and its file is held against the whole model, as all others are
    (docs/smaller-networks.md).

    All that is known of the file also lies beside it, as `<path>.json` (docs/exported-files.md).

    Raises:
        UsageError: an unknown precision, a name that does not end in .tflite, int8 without photos, or a type or size
            of input or output that is not for it.
        DataError: the calibration photos cannot be right.
        ExportError: an operator has no form in the wanted precision or runtime, or the file does not do what the model
            does; no file of that name is written then.
    """
    _check_options(quantize, input_type, output_type)
    check_precision_of(model, quantize, calibrate)
    if Path(path).suffix != ".tflite":
        raise UsageError(
            f"{path}: the name of the file to write must end in .tflite; export_onnx and export_coreml write others"
        )
    edges = Edges(quantize in INTEGERS, embed_preprocessing, input_type, input_size, output)
    limits = Limits(max_drop, max_size, min_agreement)
    limits.check(quantize, check)
    check_rungs(rungs)
    if train is not None:
        training_photos(train, None, model.labels)  # now, and not after minutes on the ladder
    target_runtime(min_runtime)
    scheme = scheme_of(quantize, scheme)
    if quantize in INTEGERS:
        check_exportable(model, quantize, min_runtime, scheme)  # in a moment, and not after minutes of calibration
    pruner = _pruner(model, limits, train, prune_epochs) if prune else None
    calibrate = opened_calibration(model, calibrate)
    findings = calibration_findings(model, calibrate, check)
    photos = _check_photos(model, calibrate, check)
    golden = photos if self_test else None
    held_out = None if check is None else photos
    climbs = calibrate is not None and limits.judges_answers
    writer = Writer(model, quantize, calibrate, edges, golden, min_runtime, fixed_batch, held_out, climbs)
    finisher = Finisher.of(path, writer, photos, findings, threads)
    stages = Stages(finisher, output_type, scheme, rungs, train, limits, pruner, listener)
    finished = first_good_enough(path, stages, limits, _advice(quantize, pruner))
    finished.save(path)
    return finished.report


def _pruner(model: Model, limits: Limits, train: Dataset | Path | str | None, epochs: int) -> Pruner:
    if limits.max_size is None or train is None:
        raise UsageError(
            "prune=True (--prune) makes the network as small as the file has to be, and trains it: give max_size= "
            "(--max-size) and train= (--train), labelled photos"
        )
    check_prunable(model)
    if epochs < 1:
        raise UsageError(f"prune_epochs (--prune-epochs) is a number of epochs above 0, not {epochs}")
    return Pruner(model, labelled_photos(model, train), epochs)


def _advice(precision: TFLitePrecision, pruner: Pruner | None) -> str:
    """How a file that is too large could become smaller."""
    if precision != "int8":
        return "; quantize='int8' makes it smaller"
    return "" if pruner is not None else "; prune=True (--prune) with train= (--train) makes the network smaller"


def _check_options(precision: TFLitePrecision, input_type: EdgeType | None, output_type: EdgeType) -> None:
    known = TFLITE_WEIGHTS
    if precision not in known:
        raise UsageError(f"quantize {precision!r} is not one of {', '.join(known)}{suggestion(precision, known)}")
    for side, chosen in (("input", input_type), ("output", output_type)):
        if chosen not in (None, "uint8", "float32"):
            raise UsageError(f"{side}_type {chosen!r} is not one of uint8, float32")
        if chosen == "uint8" and precision not in INTEGERS and side == "output":
            raise UsageError(f"a uint8 {side} (--{side}-type) is for quantize='int8'; {precision!r} files take float32")


def _check_photos(model: Model, calibrate: PhotoSource | None, check: PhotoSource | None) -> Dataset:
    from edge_sdk.data.source import open_decoded, open_photos, spread

    if check is not None:
        return open_decoded(check, model.labels)
    if calibrate is not None:
        return spread(open_photos(calibrate, model.labels), UNASKED_CHECK_PHOTOS)
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, *model.preprocess.shape), np.uint8)
    return open_photos(noise, model.labels)
