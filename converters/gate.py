"""The gate: a file that loses more than it may, or has more bytes than it may, does not get its name.

Nothing here knows what kind of file it is. An exporter says in which stages a model may become one, and how a form of
it is finished: written, run in its runtime and compared with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeAlias, TypeVar

from edge_sdk.errors import ExportError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, integer_graph, prepare
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
class Attempt:
    """One form of a model as the finished file did: `drop` in points of accuracy, or of photos answered otherwise.

    `stage` is what the network was made to be, `rung` the step of the ladder, None where none was climbed. `error` is
    that of the logits on calibration photos that no rung saw, `kept` whether the next rung was built on this one,
    `real_layers` how many nodes compute on real numbers: `float_tensors` of the report names what they compute.
    """

    stage: str
    rung: str | None
    drop: float
    agreement: float
    accuracy: float | None
    error: float | None
    kept: bool
    bytes: int
    real_layers: int


class GatedReport(Protocol):
    """What the gate wants to know of a finished file; the fields are those of `converters.tflite.report.Report`."""

    @property
    def precision(self) -> str:
        """What its numbers are."""

    @property
    def bytes(self) -> int:
        """How large it is."""

    @property
    def photos(self) -> int:
        """On how many photos it was compared."""

    @property
    def agreement(self) -> float:
        """The share of them that it answers as the model does."""

    @property
    def file_accuracy(self) -> float | None:
        """The share that it answers correctly; None without labels."""

    @property
    def drop(self) -> float:
        """Points of accuracy that it loses, or of photos answered otherwise."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The files that were finished for it."""


class Finished(Protocol):
    """A file that was written, run and compared, and has no name yet."""

    @property
    def report(self) -> GatedReport:
        """How it compares with the model."""

    def with_report(self, **changes: Any) -> Self:
        """Return the same file with other values of fields of its report."""

    def save(self, path: Path | str, **more: Any) -> None:
        """Write the file and what lies beside it, whole or not at all; `more` are further keys of the report."""


FinishedT = TypeVar("FinishedT", bound=Finished)


@dataclass(frozen=True)
class Stage(Generic[FinishedT]):
    """What a network may be made to be on its way to a file, such as "int8", and the files of that.

    Attributes:
        name: What it is called in the report.
        forms: The graphs to finish, from the cheapest to the dearest, with the rung that each is the work of.
        finish: Writes, runs and compares one of them.
        layers: Compares every layer of a rung with the float network, for the report of a file that was refused.
        last_if_it_fits: Whether the stages behind it are only for files that are too large.
    """

    name: str
    forms: Iterable[tuple[Climbed | None, Form]]
    finish: Callable[[Form], FinishedT]
    layers: Callable[[Climbed], SensitivityReport] | None = None
    last_if_it_fits: bool = True


@dataclass(frozen=True)
class Forms:
    """The 8-bit forms of a model, rung by rung; the arguments are those of `export` and of `climb`.

    `size` says how many bytes the file of a form has: those that are too large, but for the first, are left out.
    """

    model: Model
    photos: PhotoSource
    input_type: EdgeType
    output_type: EdgeType
    scheme: Scheme
    rungs: Sequence[RungName]
    train: Dataset | Path | str | None
    listener: Callable[[str], None]
    limits: Limits
    size: Callable[[Form], int]

    def __iter__(self) -> Iterator[tuple[Climbed, Form]]:
        candidate = prepare(self.model, self.input_type, self.scheme)
        images = CalibrationImages.of(self.photos, self.model.labels, candidate.preprocess)
        for climbed in climb(candidate, images, self.model, self.rungs, self.train, self.listener, self._fits):
            yield climbed, self._form(climbed.candidate)

    def layers(self, climbed: Climbed) -> SensitivityReport:
        """Compare every layer of a form with the float network."""
        candidate = climbed.candidate
        few = CalibrationImages.of(self.photos, self.model.labels, candidate.preprocess, REPORTED_PHOTOS)
        self.listener("report")
        return report_layers(candidate, few)

    def _form(self, candidate: Candidate) -> Form:
        return integer_graph(candidate, self.input_type, self.output_type)

    def _fits(self, candidate: Candidate) -> bool:
        return self.limits.max_size is None or self.limits.fits(self.size(self._form(candidate)))


@dataclass(frozen=True)
class Limits:
    """What a finished file may lose, in points, how large it may be, in bytes, and how many answers, in %, must be the
    model's; None is no limit.
    """

    max_drop: float | None = None
    max_size: int | None = None
    min_agreement: float | None = None

    def check(self, precision: str, held_out: object | None) -> None:
        """Raise UsageError for limits that are none, or that nothing can be `held_out` against."""
        if self.max_size is not None and self.max_size < 1:
            raise UsageError(f"max_size (--max-size) is a number of bytes above 0, not {self.max_size}")
        for name, unit in (("max_drop", "points"), ("min_agreement", "%")):
            limit, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if limit is None:
                continue
            if not 0 <= limit <= 100:
                raise UsageError(f"{name} ({option}) is a number of {unit} from 0 to 100, not {limit:g}")
            if held_out is None:
                raise UsageError(
                    f"{name}={limit:g} ({option}) is measured on photos that the {precision} file was not made with: "
                    "give check= (--check)"
                )

    @property
    def judges_answers(self) -> bool:
        """Whether what a file answers decides."""
        return self.max_drop is not None or self.min_agreement is not None

    def met_by(self, report: GatedReport) -> bool:
        """Tell whether a file is within all."""
        return self.excess(report) == 0 and self.fits(report.bytes)

    def loses_little(self, report: GatedReport) -> bool:
        """Tell whether a file loses no more than it may."""
        return self.max_drop is None or report.drop <= self.max_drop

    def excess(self, report: GatedReport) -> float:
        """Return by how much a file's answers miss their limits, in points."""
        dropped = 0.0 if self.max_drop is None else report.drop - self.max_drop
        missing = 0.0 if self.min_agreement is None else self.min_agreement - 100 * report.agreement
        return max(0.0, dropped) + max(0.0, missing)

    def fits(self, size: int) -> bool:
        """Tell whether so many bytes are allowed."""
        return self.max_size is None or size <= self.max_size

    def distance(self, report: GatedReport) -> tuple[float, ...]:
        """Order files that are not within limits: those that fit by what they lose, before the others by their size."""
        if self.fits(report.bytes):
            return (0, self.excess(report), report.drop, -report.agreement)
        return (1, report.bytes, report.drop)


def first_good_enough(
    path: Path | str, stages: Iterable[Stage[FinishedT]], limits: Limits, advice: str = ""
) -> FinishedT:
    """Return the file of the first form of the first stage that is within limits; what was tried is in its report.

    A stage whose first file is too large is left: what a rung adds makes none smaller. `advice` says how a file could
    become smaller that is too large.

    Raises:
        ExportError: none is within limits; the best one was written under another name.
    """
    attempts: list[Attempt] = []
    best: tuple[tuple[float, ...], FinishedT, Climbed | None, Stage[FinishedT]] | None = None
    for stage in stages:
        fits = False
        for climbed, form in stage.forms:
            finished = stage.finish(form)
            report = finished.report
            attempts.append(_attempt(stage.name, climbed, report))
            if limits.met_by(report):
                return finished.with_report(attempts=_worth_telling(attempts))
            distance = limits.distance(report)
            if best is None or distance < best[0]:
                best = distance, finished, climbed, stage
            fits = fits or limits.fits(report.bytes)
            if not fits:
                break
        if fits and stage.last_if_it_fits:
            break
    if best is None:
        raise ExportError(f"{path}: there is no form of the model to write")
    _, finished, climbed, stage = best
    layers = None if climbed is None or stage.layers is None else stage.layers(climbed)
    raise reject(path, finished.with_report(attempts=_worth_telling(attempts)), limits, layers, advice)


def reject(
    path: Path | str,
    finished: Finished,
    limits: Limits,
    layers: SensitivityReport | None = None,
    advice: str = "",
) -> ExportError:
    """Write a file that is not within limits under another name, and return the error that says so."""
    beside = rejected_path(path)
    finished = finished.with_report(path=str(beside))
    report = finished.report
    finished.save(beside, **({} if layers is None else {"layers": layers.to_dict()}))
    tried = _tried(report.attempts)
    if limits.fits(report.bytes):
        if not limits.loses_little(report):
            unit = "points of accuracy" if report.file_accuracy is not None else "% of the answers"
            lost, most = f"loses {report.drop:.2f} {unit}", f"more than the {limits.max_drop:g} allowed"
        else:
            lost = f"answers as the model does for {100 * report.agreement:.2f} %"
            most = f"less than the {limits.min_agreement:g} wanted"
        problem = f"{lost} on {report.photos} photos, {most}"
        advice = f"{f' (by rung: {tried})' * bool(tried)}{_worst(layers)}"
    else:
        problem = f"has {report.bytes:,} bytes, more than the {limits.max_size:,} allowed"
    return ExportError(
        f"{path}: the finished {report.precision} file {problem}{advice}; the best file and its report lie at "
        f"{beside}, none was written under the name asked for"
    )


def rejected_path(path: Path | str) -> Path:
    """Where a file lies that was not good enough."""
    path = Path(path)
    return path.with_name(f"{path.stem}.rejected{path.suffix}")


def _attempt(stage: str, climbed: Climbed | None, report: GatedReport) -> Attempt:
    rung, error, kept = (None, None, True) if climbed is None else (climbed.rung, climbed.error, climbed.kept)
    real_layers = 0 if climbed is None else climbed.real_layers
    results = report.drop, report.agreement, report.file_accuracy
    return Attempt(stage, rung, *results, error, kept, report.bytes, real_layers)


def _worth_telling(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Nothing where the only attempt was the only one there could be."""
    return () if len(attempts) == 1 and attempts[0].rung is None else tuple(attempts)


def _tried(attempts: Sequence[Attempt]) -> str:
    """What each attempt lost; stages are named where there is more than one."""
    several = len({one.stage for one in attempts}) > 1
    names = (" ".join((several * one.stage, one.rung or "")).strip() for one in attempts)
    return ", ".join(f"{name} {one.drop:.2f}" for name, one in zip(names, attempts, strict=True))


def _worst(layers: SensitivityReport | None) -> str:
    if layers is None:
        return ""
    shares = sorted((-(layer.share or 0.0), layer.value) for layer in layers.layers)[:NAMED_LAYERS]
    return "; most of it comes from " + ", ".join(f"{value} ({-share:.0%})" for share, value in shares)
