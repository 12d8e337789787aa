"""Reader of ONNX files; needs the package `onnx`."""

from __future__ import annotations
