"""Files of weights in the formats that can be read, told apart by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edge_sdk.errors import FormatError, UsageError
from edge_sdk.spec import Array

ENDINGS: Mapping[str, str] = {".caffemodel": "caffe", ".h5": "keras", ".keras": "keras", ".safetensors": "safetensors"}
"""Formats by the ending of a file's name; all others are taken for PyTorch's."""


def _read_torch(path: Path) -> Mapping[str, Array]:
    from edge_sdk.converters.torch import read_state_dict

    return read_state_dict(path)


READERS: Mapping[str, Callable[[Path], Mapping[str, Array]]] = {"torch": _read_torch}


def read_weights(path: Path) -> Mapping[str, Array]:
    """Return a file's tensors by name, in the layouts of the program that wrote it.

    Raises:
        FormatError: the file is damaged, or of a format that is not read.
    """
    kind = ENDINGS.get(path.suffix.lower(), "torch")
    if kind not in READERS:
        raise FormatError(f"{path}: a {kind} file; weights are read from files of {', '.join(READERS)}")
    return READERS[kind](path)


def check_format(kind: str, name: str) -> None:
    """Raise UsageError when weights are published in a format that is not read: before they are downloaded."""
    if kind not in READERS:
        raise UsageError(f"weights {name} are a {kind} file; weights are read from files of {', '.join(READERS)}")
