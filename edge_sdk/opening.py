"""Open a model file by its ending; readers of foreign formats are found by name, the core does not need them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.errors import FormatError, MissingExtraError, suggestion
from edge_sdk.evaluation import Classifier
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess

if TYPE_CHECKING:
    from edge_sdk.quantization.post_training import QuantizedModel
    from edge_sdk.quantization.profile import Profile

GRAPHS = {".onnx": "edge_sdk.converters.onnx", ".tflite": "edge_sdk.converters.tflite"}
"""Files that hold a network and its weights, and the module whose `read` gives it as a Model."""
CHECKPOINTS = (".h5", ".hdf5", ".keras", ".pt", ".pth", ".safetensors", ".tar")
"""Files that hold weights alone, for a network of the zoo."""
CAFFE = (".caffemodel", ".prototxt")
"""Files that hold half of a network each."""
ENDINGS = (".edge", *GRAPHS)
TFLITE_IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of a .tflite file, also where it is called .lite or .bin."""


def load(path: Path | str) -> Model:
    """Read a Model from an `.edge` file, the folder of a training run (its best model), or a .tflite or .onnx file.

    Raises:
        FormatError: there is no such file, it is damaged, or it is not one of these.
        MissingExtraError: the package that reads such files is not installed.
    """
    from edge_sdk.edge_file import load as read

    path = Path(path)
    if path.is_dir():
        best = path / "best.edge"
        if not best.is_file():
            raise FormatError(f"{path}: a folder without best.edge; wanted a training run or an .edge file")
        return read(best)
    if graph_format(path) is not None:
        return read_graph_file(path)
    if path.suffix in CHECKPOINTS:
        raise FormatError(f"{path}: weights alone, not a model; edge convert FILE OUT.edge gives it a network")
    if path.suffix in CAFFE:
        raise FormatError(
            f"{path}: half of a network for other software; edge convert NET.prototxt --weights W.caffemodel takes both"
        )
    return read(path)


def open_model(path: Path | str) -> Classifier:
    """Open any file that `load` reads, ready to evaluate as it would be used.

    A `.tflite` file is run in its own runtime; a model that was trained in 8-bit numbers computes with integers.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".edge":
        from edge_sdk.quantization.post_training import quantize
        from edge_sdk.quantization.rounded_model import rounds

        model = load(path)
        return quantize(model) if rounds(model) else model
    if not path.exists():
        raise FormatError(f"{path}: no such file")
    if graph_format(path) == ".tflite":
        opened: Classifier = converter("edge_sdk.converters.tflite.runtime").TFLiteModel.open(path)
        return opened
    if path.suffix in (*GRAPHS, *CHECKPOINTS, *CAFFE):
        return load(path)
    raise FormatError(f"{path}: {path.suffix!r} is not one of {', '.join(ENDINGS)}{suggestion(path.suffix, ENDINGS)}")


def open_quantized(path: Path | str, profile: Profile) -> QuantizedModel:
    """Open an int8 `.tflite` file, or a model that was trained in 8-bit numbers, to be computed here by a profile.

    Raises:
        FormatError: as `load`; or the file does not compute with 8-bit integers.
        UsageError: there is no such profile.
        MissingExtraError: the package that reads such files is not installed.
    """
    from edge_sdk.quantization.post_training import quantize
    from edge_sdk.quantization.profile import checked_profile
    from edge_sdk.quantization.rounded_model import rounds

    path = Path(path)
    checked_profile(profile)
    if not path.is_dir() and graph_format(path) == ".tflite":
        quantized: QuantizedModel = converter(GRAPHS[".tflite"]).read_quantized(path)
    else:
        model = load(path)
        if not rounds(model):
            raise FormatError(
                f"{path}: computes with real numbers, for which there is no profile; wanted an int8 .tflite file, or a "
                "model of edge train --quantization-aware"
            )
        quantized = quantize(model)
    return dataclasses.replace(quantized, profile=profile)


def read_graph_file(
    path: Path | str, *, preprocess: Preprocess | None = None, labels: Sequence[str] | None = None
) -> Model:
    """Read a .tflite or .onnx file, with preprocessing and labels in place of those that it states, if it does.

    Raises:
        FormatError: as `load`.
        MissingExtraError: as `load`.
    """
    path = Path(path)
    kind = graph_format(path)
    if kind is None:
        raise FormatError(f"{path}: neither a .tflite nor an .onnx file, by its ending or by what is in it")
    model: Model = converter(GRAPHS[kind]).read(path, preprocess=preprocess, labels=labels)
    return model


def graph_format(path: Path) -> str | None:
    """Return the key in `GRAPHS` of a file: its ending, else what its first bytes say, or None."""
    if path.suffix in GRAPHS:
        return path.suffix
    if path.suffix in (".edge", *CHECKPOINTS, *CAFFE):
        return None
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return None  # said by whoever reads it
    return ".tflite" if start[4:] == TFLITE_IDENTIFIER else None


def converter(module: str) -> Any:
    """Return a module of a converter; raises MissingExtraError when a package that it needs is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{module} needs the package {error.name}, which is not installed") from error
