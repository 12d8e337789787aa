"""Open a model file by its ending; readers of foreign formats are found by name, the core does not need them."""

from __future__ import annotations

import importlib
from pathlib import Path

from edge_sdk.errors import FormatError, suggestion
from edge_sdk.evaluation import Classifier
from edge_sdk.model import Model

ENDINGS = (".edge", ".tflite")
FOREIGN = (".caffemodel", ".h5", ".keras", ".onnx", ".pth", ".pt", ".tflite")


def load(path: Path | str) -> Model:
    """Read a Model from an `.edge` file, or from the folder of a training run (its best model).

    Raises:
        FormatError: there is no such file, or it is not a readable `.edge` file.
    """
    from edge_sdk.edge_file import load as read

    path = Path(path)
    if path.is_dir():
        best = path / "best.edge"
        if not best.is_file():
            raise FormatError(f"{path}: a folder without best.edge; wanted a training run or an .edge file")
        path = best
    elif path.suffix in FOREIGN:
        raise FormatError(f"{path}: a file for other software, not a model to load; wanted an .edge file or a run")
    return read(path)


def open_model(path: Path | str) -> Classifier:
    """Open an `.edge` file, a run's folder, or a `.tflite` file in its own runtime, ready to evaluate."""
    path = Path(path)
    if path.is_dir() or path.suffix == ".edge":
        return load(path)
    if not path.exists():
        raise FormatError(f"{path}: no such file")
    if path.suffix == ".tflite":
        runtime = importlib.import_module("edge_sdk.converters.tflite.runtime")
        opened: Classifier = runtime.TFLiteModel.open(path)
        return opened
    raise FormatError(f"{path}: {path.suffix!r} is not one of {', '.join(ENDINGS)}{suggestion(path.suffix, ENDINGS)}")
