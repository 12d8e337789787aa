"""A form of a model as a finished .tflite file: written, run on photos, and compared with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.gate import Form
from edge_sdk.converters.precision import FLOAT_TOLERANCE, INTEGERS, TFLITE_WEIGHTS, TFLitePrecision
from edge_sdk.converters.tflite.edges import Edges, red_first
from edge_sdk.converters.tflite.lineage import lineage
from edge_sdk.converters.tflite.metadata import About
from edge_sdk.converters.tflite.replay import golden_pixels, record, stand_in
from edge_sdk.converters.tflite.report import Report, report_file
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.sidecar import write_sidecar
from edge_sdk.converters.tflite.writer import WrittenFile, write
from edge_sdk.errors import ExportError
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.graph import Graph
from edge_sdk.model import Model, softmax
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

BATCH = 8


@dataclass(frozen=True)
class Finished:
    """A file, what it says about itself, and how it does."""

    written: WrittenFile
    about: About
    report: Report

    def with_report(self, **changes: Any) -> Self:
        """Return the same file with other values of fields of its report."""
        return dataclasses.replace(self, report=dataclasses.replace(self.report, **changes))

    def save(self, path: Path | str, **more: Any) -> None:
        """Write the file and its side-car, whole or not at all; `more` are further keys of the report."""
        atomic_write_bytes(path, self.written.data)
        write_sidecar(path, self.written.data, self.about, {**self.report.to_dict(), **more})


@dataclass(frozen=True)
class Writer:
    """Writes forms of a model, as files with the same edges and the same things to say.

    Attributes:
        model: The model, whatever the order of its channels.
        precision: What the files' numbers are.
        calibrate: The photos that decided their scales.
        edges: What the files take and give.
        golden: The photos of their self-test; None leaves it out.
        min_runtime: The oldest release that they are for; None is the oldest that can be had.
        fixed_batch: Whether they take one photo at a time.
        check: The photos that they are measured on, where these are others than the calibration's.
        climbs: Whether the ladder makes them.
    """

    model: Model
    precision: TFLitePrecision
    calibrate: PhotoSource | None
    edges: Edges
    golden: Dataset | None
    min_runtime: str | None
    fixed_batch: bool
    check: Dataset | None = None
    climbs: bool = False

    @cached_property
    def shown(self) -> Model:
        """The model as the files show it: with red first."""
        return red_first(self.model)

    @cached_property
    def origin(self) -> Mapping[str, Any]:
        """Where the files come from."""
        photos = self.calibrate if self.precision in INTEGERS else None
        return lineage(self.model, self.precision, photos, self.check, climbs=self.climbs)

    def write(self, form: Form) -> tuple[WrittenFile, About]:
        """Return the file of a form and what it says about itself."""
        return self._written(form, self._recorded)

    def size(self, form: Form) -> int:
        """Return how many bytes the file of a form has, give or take a few; nothing is run."""
        return len(self._written(form, stand_in)[0].data)

    def _recorded(self, data: bytes, pixels: Array, rule: Preprocess, graph: Graph) -> bytes:
        return record(data, pixels, rule, self.precision, graph)

    def _written(
        self, form: Form, entry: Callable[[bytes, Array, Preprocess, Graph], bytes]
    ) -> tuple[WrittenFile, About]:
        model = self.shown
        graph, workspace, outside = self.edges.apply(*form, model.preprocess)
        embedded = None if outside == model.preprocess else model.preprocess
        about = About(model.name, outside, model.labels, model.provenance, embedded, self.edges.output, self.origin)
        self_test: Callable[[bytes], bytes] | None = None
        if self.golden is not None:
            pixels = golden_pixels(self.golden, outside)

            def self_test(data: bytes) -> bytes:
                return entry(data, pixels, outside, graph)

        weights, batch = TFLITE_WEIGHTS[self.precision], self.fixed_batch
        return write(graph, workspace, weights, about, self_test, self.min_runtime, fixed_batch=batch), about


@dataclass(frozen=True)
class Finisher:
    """Makes finished files, which are all held against the same answers.

    Attributes:
        path: The name asked for.
        writer: Writes forms of one model.
        photos: What files are run on.
        expected: What the model of the export answers to them.
        findings: What may be wrong with the calibration photos.
        threads: How many the runtime may use.
        own: What the writer's model answers, where that is another model.
    """

    path: Path | str
    writer: Writer
    photos: Dataset
    expected: Evaluation
    findings: tuple[str, ...]
    threads: int | None
    own: Evaluation | None = None

    @classmethod
    def of(
        cls, path: Path | str, writer: Writer, photos: Dataset, findings: tuple[str, ...], threads: int | None
    ) -> Self:
        """Return the finisher of the model that files are to be held against."""
        return cls(path, writer, photos, _answers(writer, photos), findings, threads)

    def for_model(self, model: Model) -> Self:
        """Return the finisher of a model that is to stand for the other one, and is held against it."""
        writer = dataclasses.replace(self.writer, model=model)
        own = _answers(writer, self.photos) if writer.precision == "none" else None
        return dataclasses.replace(self, writer=writer, own=own)

    def __call__(self, form: Form) -> Finished:
        """Return a form as a file that was run on the photos.

        Raises:
            ExportError: the file of a float32 form does not do what its model does.
        """
        written, about = self.writer.write(form)
        precision, edges = self.writer.precision, self.writer.edges
        file = TFLiteModel(written.data, str(self.path), self.threads)
        found = evaluate(_UnderLabels(file, self.writer.model.labels), self.photos, BATCH)
        if precision == "none" and edges.input_size is None:
            self._check_float(found)
        report = report_file(str(self.path), precision, written, file, edges, self.expected, found, self.findings)
        return Finished(written, about, report)

    def _check_float(self, found: Evaluation) -> None:
        wanted = (self.own or self.expected).scores
        difference = float(np.abs(wanted - found.scores).max() / max(float(np.abs(wanted).max()), 1e-12))
        if not difference <= FLOAT_TOLERANCE:
            raise ExportError(
                f"{self.path}: the finished file's {self.writer.edges.output} differ from the model's by "
                f"{difference:.1e} of the largest, at most {FLOAT_TOLERANCE:.0e} is right for float32; no file was left"
            )


def _answers(writer: Writer, photos: Dataset) -> Evaluation:
    """What a model answers to photos, in the scores that its files give."""
    answers = evaluate(writer.model, photos, BATCH)
    if writer.edges.output == "probabilities":
        answers = dataclasses.replace(answers, scores=softmax(answers.scores))
    return answers


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
