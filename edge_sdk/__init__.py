"""edge-sdk: fine-tune vision models and ship them to devices without Python.

import edge_sdk as edge
from edge_sdk import pretrained

model = pretrained.load("efficientnet_lite0", weights="imagenet", num_classes=4)
run = edge.fit(model, "photos/", epochs=5, out="runs/a")
report = edge.export(run.model, "model.tflite", quantize="int8", calibrate="photos/")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edge_sdk.builder import Builder
    from edge_sdk.comparison import compare
    from edge_sdk.compression.fine_tuning import prune_and_train
    from edge_sdk.compression.palette import palettize
    from edge_sdk.compression.prune import prune_channels
    from edge_sdk.converters.coreml.export import export_coreml
    from edge_sdk.converters.onnx.export import export_onnx
    from edge_sdk.converters.tflite.export import export
    from edge_sdk.converters.tflite.exportable import check_exportable
    from edge_sdk.converters.tflite.fitting import prune_to_size
    from edge_sdk.errors import EdgeError
    from edge_sdk.evaluation import evaluate
    from edge_sdk.graph import Graph
    from edge_sdk.model import Model
    from edge_sdk.opening import load
    from edge_sdk.parallel.launch import run_processes
    from edge_sdk.preprocess import Preprocess
    from edge_sdk.quantization.post_training import quantize
    from edge_sdk.quantization.quantization_aware import quantize_aware
    from edge_sdk.quantization.scheme import Scheme
    from edge_sdk.session import Session
    from edge_sdk.spec import BATCH, Spec
    from edge_sdk.threads import get_threads, set_threads
    from edge_sdk.training.fit import fit
    from edge_sdk.training.step import training_session
    from edge_sdk.workspace import Workspace

# Public name → the module it lives in, imported when the name is first used.
_HOMES = {
    "BATCH": "edge_sdk.spec",
    "Builder": "edge_sdk.builder",
    "EdgeError": "edge_sdk.errors",
    "Graph": "edge_sdk.graph",
    "Model": "edge_sdk.model",
    "Preprocess": "edge_sdk.preprocess",
    "Scheme": "edge_sdk.quantization.scheme",
    "Session": "edge_sdk.session",
    "Spec": "edge_sdk.spec",
    "Workspace": "edge_sdk.workspace",
    "check_exportable": "edge_sdk.converters.tflite.exportable",
    "compare": "edge_sdk.comparison",
    "evaluate": "edge_sdk.evaluation",
    "export": "edge_sdk.converters.tflite.export",
    "export_coreml": "edge_sdk.converters.coreml.export",
    "export_onnx": "edge_sdk.converters.onnx.export",
    "fit": "edge_sdk.training.fit",
    "get_threads": "edge_sdk.threads",
    "load": "edge_sdk.opening",
    "palettize": "edge_sdk.compression.palette",
    "prune_and_train": "edge_sdk.compression.fine_tuning",
    "prune_channels": "edge_sdk.compression.prune",
    "prune_to_size": "edge_sdk.converters.tflite.fitting",
    "quantize": "edge_sdk.quantization.post_training",
    "quantize_aware": "edge_sdk.quantization.quantization_aware",
    "run_processes": "edge_sdk.parallel.launch",
    "set_threads": "edge_sdk.threads",
    "training_session": "edge_sdk.training.step",
}

__all__ = [
    "BATCH",
    "Builder",
    "EdgeError",
    "Graph",
    "Model",
    "Preprocess",
    "Scheme",
    "Session",
    "Spec",
    "Workspace",
    "check_exportable",
    "compare",
    "evaluate",
    "export",
    "export_coreml",
    "export_onnx",
    "fit",
    "get_threads",
    "load",
    "palettize",
    "prune_and_train",
    "prune_channels",
    "prune_to_size",
    "quantize",
    "quantize_aware",
    "run_processes",
    "set_threads",
    "training_session",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "annotations", "importlib"})
