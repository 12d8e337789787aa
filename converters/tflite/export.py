"""A Model as a .tflite file: quantized, written, and proven in the runtime before it gets its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edge_sdk.converters.gate import Form, Forms, Limits, Stage, first_good_enough
from edge_sdk.converters.precision import (
    FLOAT_TOLERANCE,
    INTEGERS,
    TFLITE_WEIGHTS,
    UNASKED_CHECK_PHOTOS,
    TFLitePrecision,
    calibration_findings,
    check_precision_of,
    scheme_of,
)
from edge_sdk.converters.tflite.contract import OutputKind
from edge_sdk.converters.tflite.edges import Edges, red_first
from edge_sdk.converters.tflite.exportable import check_exportable
from edge_sdk.converters.tflite.gate import Finished
from edge_sdk.converters.tflite.lineage import lineage
from edge_sdk.converters.tflite.metadata import About
from edge_sdk.converters.tflite.replay import golden_pixels, record
from edge_sdk.converters.tflite.report import Report, report_file
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.versions import target_runtime
from edge_sdk.converters.tflite.writer import WrittenFile, write
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.evaluation import evaluate
from edge_sdk.graph import Graph
from edge_sdk.model import Model, softmax
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import CALIBRATION_PHOTOS
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.ladder import RUNGS, RungName, check_rungs
from edge_sdk.quantization.post_training import quantized_graph
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.spec import Array
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

BATCH = 8


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
    max_size: int | None = None,
    rungs: Sequence[RungName] = RUNGS,
    train: Dataset | Path | str | None = None,
    scheme: Scheme = DEFAULT,
    listener: Callable[[str], None] = lambda line: None,
    fixed_batch: bool = False,
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
    is, the best of the files lies at `<name>.rejected.tflite`, with a report of every layer in its side-car.
    `listener` is told what is being done. `max_size` is how many bytes the file may have; where that is too few for an
    int8 file, its weights get 4 bits.

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
    limits = Limits(max_drop, max_size)
    limits.check(quantize, check)
    check_rungs(rungs)
    target_runtime(min_runtime)
    scheme = scheme_of(quantize, scheme)
    if quantize in INTEGERS:
        check_exportable(model, quantize, min_runtime, scheme)  # in a moment, and not after minutes of calibration
    findings = calibration_findings(model, calibrate, check)
    photos = _check_photos(model, calibrate, check)
    expected = evaluate(model, photos, BATCH)
    if output == "probabilities":
        expected = dataclasses.replace(expected, scores=softmax(expected.scores))
    drawn = photos if self_test else None
    writer = _Writer(model, quantize, calibrate, edges, drawn, min_runtime, fixed_batch=fixed_batch)

    def finish(form: Form) -> Finished:
        written, about = writer.write(*form)
        file = TFLiteModel(written.data, str(path), threads)
        found = evaluate(_UnderLabels(file, model.labels), photos, BATCH)
        report = report_file(str(path), quantize, written, file, edges, expected, found, findings)
        if quantize == "none" and input_size is None and not report.relative_difference <= FLOAT_TOLERANCE:
            raise ExportError(
                f"{path}: the finished file's {output} differ from the model's by {report.relative_difference:.1e} of "
                f"the largest, at most {FLOAT_TOLERANCE:.0e} is right for float32; no file was left"
            )
        return Finished(written, about, report)

    def stage(scheme: Scheme) -> Stage[Finished]:
        name = f"{quantize} with int4 weights" if scheme.weights == "int4" else quantize
        if max_drop is None or calibrate is None or quantize not in INTEGERS:
            plain = _plain_form(writer.model, quantize, calibrate, edges.input_type, output_type, scheme)
            return Stage(name, [(None, plain)], finish)
        forms = Forms(writer.model, calibrate, edges.input_type, output_type, scheme, rungs, train, listener)
        return Stage(name, forms, finish, forms.layers)

    def stages() -> Iterator[Stage[Finished]]:
        yield stage(scheme)
        narrow = dataclasses.replace(scheme, weights="int4")
        if (
            calibrate is None
            or quantize != "int8"
            or narrow == scheme
            or not _is_exportable(model, min_runtime, narrow)
        ):
            return
        listener("weights of 4 bits")
        yield stage(narrow)

    advice = "" if quantize == "int8" else "; quantize='int8' makes it smaller"
    finished = first_good_enough(path, stages(), limits, advice)
    finished.save(path)
    return finished.report


def _is_exportable(model: Model, min_runtime: str | None, scheme: Scheme) -> bool:
    try:
        check_exportable(model, "int8", min_runtime, scheme)
    except ExportError:
        return False
    return True


def _plain_form(
    model: Model, precision: TFLitePrecision, photos: PhotoSource | None, input_type: EdgeType, output_type: EdgeType,
    scheme: Scheme,
) -> Form:  # fmt: skip
    if precision in INTEGERS:
        return quantized_graph(model, photos, input_type, output_type, scheme)
    return model.inference


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


def _check_options(precision: TFLitePrecision, input_type: EdgeType | None, output_type: EdgeType) -> None:
    known = TFLITE_WEIGHTS
    if precision not in known:
        raise UsageError(f"quantize {precision!r} is not one of {', '.join(known)}{suggestion(precision, known)}")
    for side, chosen in (("input", input_type), ("output", output_type)):
        if chosen not in (None, "uint8", "float32"):
            raise UsageError(f"{side}_type {chosen!r} is not one of uint8, float32")
        if chosen == "uint8" and precision not in INTEGERS and side == "output":
            raise UsageError(f"a uint8 {side} (--{side}-type) is for quantize='int8'; {precision!r} files take float32")


class _Writer:
    """Writes graphs that were made of one model, as files with the same edges and the same things to say."""

    def __init__(
        self, model: Model, precision: TFLitePrecision, photos: PhotoSource | None, edges: Edges,
        golden: Dataset | None, min_runtime: str | None, *, fixed_batch: bool,
    ) -> None:  # fmt: skip
        self.origin = lineage(model, precision, photos if precision in INTEGERS else None, CALIBRATION_PHOTOS)
        self.model = red_first(model)
        self.precision, self.edges, self.golden = precision, edges, golden
        self.min_runtime, self.fixed_batch = min_runtime, fixed_batch

    def write(self, graph: Graph, workspace: Workspace) -> tuple[WrittenFile, About]:
        """Return the file of a graph and what it says about itself."""
        model = self.model
        graph, workspace, outside = self.edges.apply(graph, workspace, model.preprocess)
        embedded = None if outside == model.preprocess else model.preprocess
        about = About(model.name, outside, model.labels, model.provenance, embedded, self.edges.output, self.origin)
        pixels = None if self.golden is None else golden_pixels(self.golden, outside)

        def self_test(data: bytes) -> bytes:
            return record(data, cast("Array", pixels), outside, self.precision, graph)

        test = None if pixels is None else self_test
        weights, batch = TFLITE_WEIGHTS[self.precision], self.fixed_batch
        return write(graph, workspace, weights, about, test, self.min_runtime, fixed_batch=batch), about


def _check_photos(model: Model, calibrate: PhotoSource | None, check: PhotoSource | None) -> Dataset:
    from edge_sdk.data.source import open_photos, spread

    if check is not None:
        return open_photos(check, model.labels)
    if calibrate is not None:
        return spread(open_photos(calibrate, model.labels), UNASKED_CHECK_PHOTOS)
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, *model.preprocess.shape), np.uint8)
    return open_photos(noise, model.labels)
