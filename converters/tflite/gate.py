"""The gate: a file that loses more than it may does not get its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.tflite.metadata import About
from edge_sdk.converters.tflite.report import Attempt, Report
from edge_sdk.converters.tflite.sidecar import write_sidecar
from edge_sdk.converters.tflite.writer import WrittenFile
from edge_sdk.errors import ExportError
from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import integer_graph, prepare
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.ladder import Climbed, RungName, climb
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.quantization.sensitivity import SensitivityReport, report_layers
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

REPORTED_PHOTOS = 24
"""On how many calibration photos every layer is looked at: the network runs once for each layer."""
NAMED_LAYERS = 3


Form: TypeAlias = tuple[Graph, Workspace]
"""What is written as a file: a graph and its weights."""


@dataclass(frozen=True)
class Finished:
    """A file, what it says about itself, and how it does."""

    written: WrittenFile
    about: About
    report: Report

    def save(self, path: Path | str, **more: Any) -> None:
        """Write the file and its side-car, whole or not at all; `more` are further keys of the report."""
        atomic_write_bytes(path, self.written.data)
        write_sidecar(path, self.written.data, self.about, {**self.report.to_dict(), **more})

    def with_attempts(self, attempts: Sequence[Attempt]) -> Finished:
        """Return the same file with what was tried in its report."""
        return dataclasses.replace(self, report=dataclasses.replace(self.report, attempts=tuple(attempts)))


@dataclass(frozen=True)
class Forms:
    """The 8-bit forms of a model, rung by rung; the arguments are those of `export` and of `climb`."""

    model: Model
    photos: PhotoSource
    input_type: EdgeType
    output_type: EdgeType
    scheme: Scheme
    rungs: Sequence[RungName]
    train: Dataset | Path | str | None
    listener: Callable[[str], None]

    def __iter__(self) -> Iterator[tuple[Climbed, Form]]:
        candidate = prepare(self.model, self.input_type, self.scheme)
        images = CalibrationImages.of(self.photos, self.model.labels, candidate.preprocess)
        for climbed in climb(candidate, images, self.model, self.rungs, self.train, self.listener):
            yield climbed, integer_graph(climbed.candidate, self.input_type, self.output_type)

    def layers(self, climbed: Climbed) -> SensitivityReport:
        """Compare every layer of a form with the float network."""
        candidate = climbed.candidate
        few = CalibrationImages.of(self.photos, self.model.labels, candidate.preprocess, REPORTED_PHOTOS)
        return report_layers(candidate, few)


@dataclass(frozen=True)
class Limits:
    """What a finished file may lose, in points, and how large it may be, in bytes; None is no limit."""

    max_drop: float | None = None
    max_size: int | None = None

    def met_by(self, report: Report) -> bool:
        """Tell whether a file is within both."""
        return self.loses_little(report) and self.fits(report.bytes)

    def loses_little(self, report: Report) -> bool:
        """Tell whether a file loses no more than it may."""
        return self.max_drop is None or report.drop <= self.max_drop

    def fits(self, size: int) -> bool:
        """Tell whether so many bytes are allowed."""
        return self.max_size is None or size <= self.max_size


def first_good_enough(path: Path | str, forms: Forms, finish: Callable[[Form], Finished], limits: Limits) -> Finished:
    """Return the first form's file that is within limits.

    Raises:
        ExportError: none does; the best one was written under another name.
    """
    attempts: list[Attempt] = []
    files: list[tuple[Climbed, Finished]] = []
    for climbed, form in forms:
        finished = finish(form)
        report = finished.report
        numbers = (report.drop, report.agreement, report.file_accuracy, climbed.error, climbed.kept)
        attempts.append(Attempt(climbed.rung, *numbers, climbed.real_layers))
        files.append((climbed, finished))
        if limits.met_by(report):
            return finished.with_attempts(attempts)
    climbed, finished = min(files, key=lambda one: (one[1].report.drop, -one[1].report.agreement))
    forms.listener("report")
    raise reject(path, finished.with_attempts(attempts), limits, forms.layers(climbed))


def reject(
    path: Path | str, finished: Finished, limits: Limits, layers: SensitivityReport | None = None
) -> ExportError:
    """Write a file that is not within limits under another name, and return the error that says so."""
    report, beside = finished.report, rejected_path(path)
    finished = dataclasses.replace(finished, report=dataclasses.replace(report, path=str(beside)))
    finished.save(beside, **({} if layers is None else {"layers": layers.to_dict()}))
    tried = ", ".join(f"{one.rung} {one.drop:.2f}" for one in report.attempts)
    if limits.loses_little(report):
        problem = f"has {report.bytes:,} bytes, more than the {limits.max_size:,} allowed"
        advice = "" if report.precision == "int8" else "; quantize='int8' makes it smaller"
    else:
        unit = "points of accuracy" if report.file_accuracy is not None else "% of the answers"
        problem = f"loses {report.drop:.2f} {unit} on {report.photos} photos, more than the {limits.max_drop:g} allowed"
        advice = f"{f' (by rung: {tried})' * bool(tried)}{_worst(layers)}"
    return ExportError(
        f"{path}: the finished {report.precision} file {problem}{advice}; the best file and its report lie at "
        f"{beside}, none was written under the name asked for"
    )


def rejected_path(path: Path | str) -> Path:
    """Where a file lies that was not good enough."""
    path = Path(path)
    return path.with_name(f"{path.stem}.rejected{path.suffix}")


def _worst(layers: SensitivityReport | None) -> str:
    if layers is None:
        return ""
    shares = sorted((-(layer.share or 0.0), layer.value) for layer in layers.layers)[:NAMED_LAYERS]
    return "; most of it comes from " + ", ".join(f"{value} ({-share:.0%})" for share, value in shares)
