"""TensorFlow Lite files: `read` and `read_quantized` give what is in one, `export.export` writes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sdk.converters.tflite.read_model import read, read_graph, read_quantized

__all__ = ["read", "read_graph", "read_quantized"]


def __getattr__(name: str) -> Any:
    # Late, since whoever runs a file or writes one does not need the readers.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edge_sdk.converters.tflite import read_model

    return getattr(read_model, name)
