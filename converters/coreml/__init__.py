"""Writer of Core ML packages (.mlpackage); needs the packages `coremltools` and `onnx`."""

from __future__ import annotations

from edge_sdk.converters.coreml.export import Report, export_coreml

__all__ = ["Report", "export_coreml"]
