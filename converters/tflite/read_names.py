"""Names of a file's tensors, as a graph may have them."""

from __future__ import annotations

import re

from edge_sdk.converters.tflite.file_graph import FileGraph

_LONGEST = 200
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_./:\-]+")


def choose_names(file: FileGraph) -> dict[int, str]:
    """Names for all tensors, the first claim on one with inputs and outputs."""
    order = dict.fromkeys((*file.inputs, *file.outputs, *range(len(file.tensors))))
    taken: set[str] = set()
    names: dict[int, str] = {}
    for index in order:
        name = cleaned(file.names.get(index) or file.tensors[index].name) or f"tensor_{index}"
        names[index] = name if name not in taken else f"{name}:{index}"
        taken.add(names[index])
    return names


def cleaned(name: str) -> str:
    """Return a tensor's name as a graph may have it; TensorFlow writes spaces, semicolons and colons into them."""
    return _NOT_IN_NAMES.sub("_", name.split(";", maxsplit=1)[0])[:_LONGEST].strip("_./:-")
