"""A Model as a Core ML package: written, read back, compared with what was meant, and only then named."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk import __version__
from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.compression.palette import palettize
from edge_sdk.converters.coreml.package import metadata, save, verify
from edge_sdk.converters.coreml.translation import coreml_package, translate
from edge_sdk.converters.onnx.write_model import write
from edge_sdk.converters.onnx.writing import Weights
from edge_sdk.converters.precision import PALETTE_BITS, CoreMLPrecision, check_precision_of
from edge_sdk.errors import ExportError, UsageError, suggestion
from edge_sdk.evaluation import evaluate
from edge_sdk.model import INPUT, Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization import post_training
from edge_sdk.quantization.post_training import QuantizedModel

if TYPE_CHECKING:
    from onnx import ModelProto

    from edge_sdk.data.source import PhotoSource

WEIGHTS: Mapping[str, Weights] = {
    "none": "float32", "fp16": "float32", "dynamic": "int8", "int8": "float32", "palette4": "float32",
    "palette6": "float32",
}  # fmt: skip
TARGETS: Mapping[str, str] = {
    "none": "iOS15", "fp16": "iOS15", "dynamic": "iOS16", "int8": "iOS17", "palette4": "iOS16", "palette6": "iOS16",
}  # fmt: skip
"""The oldest system whose Core ML has the operations.

Stored int8 weights and tables of weights since iOS 16, int8 activations since 17.
"""
LAYOUTS: Mapping[str, str] = {"rgb": "RGB", "bgr": "BGR", "grey": "GRAYSCALE"}
BATCH = 8
NOT_RUN = "not run: Core ML runs on Apple's systems only; the package was read back and compared"


@dataclass(frozen=True)
class Report:
    """What was written, and how it would do by the numbers that are stored: Core ML does not run here.

    `operators` counts the operations of the package as it was read back, whose kinds, shapes and weights are those
    that were written. `minimum_runtime` is the oldest system that can run it. `renamed_labels` are those that had to be
    made different, for the result is a dictionary by label. `model_accuracy` is that of the model on the photos
    `check`, `stored_accuracy` that of the weights in the package and `agreement` the share of photos that both answer
    the same, all as our own Session computes them; None where they were not asked for.
    """

    path: str
    precision: str
    bytes: int
    input: str
    output: str
    operators: Mapping[str, int]
    runtime: str
    minimum_runtime: str
    renamed_labels: tuple[str, ...]
    photos: int = 0
    agreement: float | None = None
    model_accuracy: float | None = None
    stored_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return dataclasses.asdict(self)


def export_coreml(
    model: Model,
    path: Path | str,
    quantize: CoreMLPrecision = "none",
    calibrate: PhotoSource | None = None,
    check: PhotoSource | None = None,
    *,
    quantized: QuantizedModel | None = None,
) -> Report:
    """Write a model as a Core ML classifier that takes a photo of the model's size and returns labels.

    Its input `image` is an image type, its normalisation is part of the package; its outputs are `classLabel` and a
    dictionary of probabilities. `quantize` is "none" (float32), "fp16" (weights and computation), "dynamic" (int8
    weights, a scale a channel) or "int8" (activations too), calibrated on `calibrate`, or its own where it was
    trained in 8-bit numbers, or taken from `quantized`, whose graph takes float32. "palette4" and "palette6" store
    weights as indices of so many bits into a table of 16 or 64 values a layer (edge_sdk/compression/palette.py); on the
    photos `check` the Session then says what that costs, for they are the numbers that the package computes with. The
    package is read back and
    compared with what was meant: operations, shapes, weights, image type. It is not run, for Core ML runs on Apple's
    systems only. Equal models give equal bytes.

    Raises:
        UsageError: an unknown precision, a name that does not end in .mlpackage, int8 without photos.
        ExportError: an operator has no form in Core ML, or the package is not what was written; none is left then.
        MissingExtraError: the packages coremltools or onnx are not installed.
    """
    path = Path(path)
    _check_options(path, quantize, quantized, check)
    if quantized is None:
        check_precision_of(model, quantize, calibrate)
    coreml_package()
    if quantize == "int8" and quantized is None:
        quantized = post_training.quantize(model, calibrate, "float32", "float32")
    bits = PALETTE_BITS.get(quantize)
    stored = model if bits is None else palettize(model, bits).model
    graph, workspace = stored.inference if quantized is None else (quantized.graph, quantized.workspace)
    network = write(graph.bind(1), workspace, weights=WEIGHTS[quantize], image_layout="nchw").proto
    labels = _different(model.labels)
    converted, program = _converted(network, model, quantize, labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        package = folder / path.name
        save(converted, package)
        operators = verify(package, program, model.preprocess.size, labels)
        _replace(package, path, folder / "before")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    height, width = model.preprocess.size
    report = Report(
        path=str(path),
        precision=quantize,
        bytes=size,
        input=f"image {LAYOUTS[model.preprocess.channels]} {height}×{width}",
        output=f"classLabel, probabilities of {len(labels)} labels",
        operators=operators,
        runtime=NOT_RUN,
        minimum_runtime=TARGETS[quantize],
        renamed_labels=tuple(new for old, new in zip(model.labels, labels, strict=True) if old != new),
        **({} if check is None else _measured(model, stored, check)),
    )
    atomic_write_bytes(Path(f"{path}.json"), (json.dumps(report.to_dict(), indent=2) + "\n").encode())
    return report


def _measured(model: Model, stored: Model, check: PhotoSource) -> dict[str, Any]:
    """What the weights of a package cost, by our own Session."""
    from edge_sdk.data.source import labelled, open_photos

    photos = open_photos(check, model.labels)
    before, after = (evaluate(one, photos, BATCH) for one in (model, stored))
    has_labels = labelled(photos)
    return {
        "photos": before.count,
        "agreement": float(np.mean(before.predictions == after.predictions)),
        "model_accuracy": before.top1 if has_labels else None,
        "stored_accuracy": after.top1 if has_labels else None,
    }


def _check_options(
    path: Path, precision: CoreMLPrecision, quantized: QuantizedModel | None, check: PhotoSource | None
) -> None:
    if precision not in WEIGHTS:
        raise UsageError(f"quantize {precision!r} is not one of {', '.join(WEIGHTS)}{suggestion(precision, WEIGHTS)}")
    if check is not None and precision not in PALETTE_BITS:
        raise UsageError(
            f"check (--check) of a package is for {' and '.join(PALETTE_BITS)}, whose stored numbers run here; "
            f"{precision!r} packages are not run"
        )
    if path.suffix != ".mlpackage":
        raise UsageError(f"{path}: the name of the package to write must end in .mlpackage")
    if path.exists() and not (path / "Manifest.json").is_file():
        raise UsageError(f"{path}: is there already, and is no Core ML package; remove it or choose another name")
    if quantized is not None and (precision != "int8" or quantized.graph.specs[quantized.graph.value(INPUT)].quant):
        raise UsageError("a quantized model is written with quantize='int8', and must take float32 images")


def _different(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels made different by their place where two are equal."""
    seen: set[str] = set()
    result = []
    for index, label in enumerate(labels):
        unique = label if label not in seen and label else f"{label} (class {index})".lstrip()
        seen.add(unique)
        result.append(unique)
    return tuple(result)


def _converted(
    network: ModelProto, model: Model, precision: CoreMLPrecision, labels: tuple[str, ...]
) -> tuple[Any, Any]:
    """The model as coremltools converts it, and its MIL program."""
    tools = coreml_package()
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - its own name for it

    rule = model.preprocess
    height, width, channels = rule.shape
    scale, bias = _image_scale(rule) or (1.0, [0.0] * channels)
    target = getattr(tools.target, TARGETS[precision])

    @mb.program(  # type: ignore[untyped-decorator, unused-ignore]
        input_specs=[mb.TensorSpec(shape=(1, channels, height, width))], opset_version=target
    )
    def program(image: Any) -> Any:
        x = image
        if _image_scale(rule) is None:  # a deviation of its own for each channel, which an image type does not have
            std, mean = (np.asarray(each, np.float64).reshape(1, -1, 1, 1) for each in (rule.std, rule.mean))
            x = mb.mul(x=x, y=(1 / std).astype(np.float32), name="image_scaled")
            x = mb.add(x=x, y=(-mean / std).astype(np.float32), name="image_normalised")
        return mb.softmax(x=translate(network, x, PALETTE_BITS.get(precision)), axis=-1, name="probabilities")

    image_type = tools.ImageType(
        name=INPUT,
        shape=(1, channels, height, width),
        scale=scale,
        bias=bias[0] if channels == 1 else bias,
        color_layout=getattr(tools.colorlayout, LAYOUTS[rule.channels]),
    )
    try:
        # Its progress bars go to the terminal whether they are wanted or not.
        with contextlib.redirect_stderr(io.StringIO()):
            converted = tools.convert(
                program,
                convert_to="mlprogram",
                inputs=[image_type],
                classifier_config=tools.ClassifierConfig(list(labels)),
                compute_precision=tools.precision.FLOAT16 if precision == "fp16" else tools.precision.FLOAT32,
                minimum_deployment_target=target,
                skip_model_load=True,
            )
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        raise ExportError(f"{model.name}: coremltools cannot write it: {str(error).strip()[:300]}") from error
    converted.short_description = f"{model.name}, an image classifier of {len(labels)} classes"
    facts = {
        "edge_sdk": __version__, "labels": list(model.labels), "preprocess": rule.to_dict(),
        "provenance": dict(model.provenance), "weights_sha256": model.workspace.digest(),
    }  # fmt: skip
    converted.user_defined_metadata.update(metadata(facts))
    return converted, converted._mil_program  # noqa: SLF001 - what was converted is kept there alone


def _image_scale(rule: Preprocess) -> tuple[float, list[float]] | None:
    """Scale and biases of an image type, y = scale · pixel + bias; None where channels differ in their deviation."""
    if len(set(rule.std)) > 1:
        return None
    return 1 / rule.std[0], [-mean / rule.std[0] for mean in rule.mean]


def _replace(package: Path, path: Path, aside: Path) -> None:
    """Give a package its name; an older one of that name goes first."""
    if path.exists():
        path.replace(aside)
    package.replace(path)
