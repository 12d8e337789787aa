"""Reader of ONNX files, opsets 6 to 28; needs the package `onnx`."""

from __future__ import annotations

from edge_sdk.converters.onnx.read_graph import ReadGraph, read_graph
from edge_sdk.converters.onnx.read_model import read

__all__ = ["ReadGraph", "read", "read_graph"]
