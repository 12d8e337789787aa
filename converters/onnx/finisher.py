"""A form of a model as a finished .onnx file: written, checked, run on photos, and compared with the model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sdk.converters.gate import Form
from edge_sdk.converters.onnx.finished import Finished, store
from edge_sdk.converters.onnx.report import Report, report_file, with_session
from edge_sdk.converters.onnx.runtime import ONNXModel
from edge_sdk.converters.onnx.write_model import About, WrittenModel, write
from edge_sdk.converters.onnx.writing import ImageLayout
from edge_sdk.converters.precision import FLOAT_TOLERANCE, WEIGHTS, Precision
from edge_sdk.errors import ExportError
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.model import Model
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.quantization.profile import Profile

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

BATCH = 8


@dataclass(frozen=True)
class Finisher:
    """Makes finished files of one model, which are all held against the same answers.

    Attributes:
        path: The name asked for.
        folder: Where the files lie until one of them gets it.
        model: The model.
        precision: What the files' numbers are.
        opset: Of ONNX.
        image_layout: How the files take photos.
        profile: The arithmetic of the 8-bit form in our own Session.
        photos: What files are run on.
        expected: What the model answers to them.
        findings: What may be wrong with the calibration photos.
        threads: How many the runtime may use.
    """

    path: Path
    folder: Path
    model: Model
    precision: Precision
    opset: int
    image_layout: ImageLayout
    profile: Profile
    photos: Dataset
    expected: Evaluation
    findings: tuple[str, ...]
    threads: int | None

    def size(self, form: Form) -> int:
        """Return how many bytes the file of a form has; nothing is run."""
        return int(self._written(form).proto.ByteSize())

    def __call__(self, form: Form) -> Finished:
        """Return a form as a file that was run on the photos.

        Raises:
            ExportError: the file of a float32 form does not do what its model does, or ONNX's checker refuses it.
        """
        written = self._written(form)
        files = store(written.proto, Path(tempfile.mkdtemp(dir=self.folder)) / self.path.name)
        file = ONNXModel(files[-1], self.image_layout, self.threads)
        found = evaluate(file, self.photos, BATCH)
        report = report_file(
            str(self.path), self.precision, written, files, file, self.expected, found, self.findings
        )  # fmt: skip
        file.close()
        if self.precision == "none":
            self._check_float(report)
        if self.precision == "int8":
            own = QuantizedModel(*form, self.model.preprocess, self.model.labels, self.profile)
            report = with_session(report, form[0], evaluate(own, self.photos, BATCH), found)
        return Finished(files, report)

    def _written(self, form: Form) -> WrittenModel:
        model = self.model
        about = About(model.name, model.preprocess, model.labels, model.provenance)
        weights = WEIGHTS[self.precision]
        return write(*form, opset=self.opset, weights=weights, image_layout=self.image_layout, about=about)

    def _check_float(self, report: Report) -> None:
        if not report.relative_difference <= FLOAT_TOLERANCE:
            raise ExportError(
                f"{self.path}: the finished file's logits differ from the model's by "
                f"{report.relative_difference:.1e} of the largest, at most {FLOAT_TOLERANCE:.0e} is right for float32; "
                "no file was left"
            )
