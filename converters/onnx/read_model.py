"""An ONNX file of an image classifier as a Model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.converters.classifier import as_classifier
from edge_sdk.converters.onnx.layout import channels_last
from edge_sdk.converters.onnx.proto import parse_model
from edge_sdk.converters.onnx.read_graph import COMPUTED_BYTES, Border, ReadGraph, read_graph
from edge_sdk.converters.onnx.recognise import recognise_activations
from edge_sdk.converters.onnx.translation import OpenBatchError
from edge_sdk.converters.onnx.write_model import stated
from edge_sdk.errors import EdgeError, FormatError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Value

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

IMAGE_RANK = 4
CHANNELS_FIRST = [0, 3, 1, 2]
"""The permutation from (n, h, w, c) to (n, c, h, w)."""


def read(
    path: Path | str,
    *,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    computed_bytes: int = COMPUTED_BYTES,
) -> Model:
    """Read an image classifier: one input of photos (n, c, h, w), one score for each class.

    The graph takes photos (n, h, w, c); nothing in it is transposed but what the network itself moves, such as shuffled
    channels. The batch is open. A softmax at the end is left out, for a Model's outputs are logits.

    Args:
        path: an .onnx file; data that it keeps in other files must lie in its folder.
        preprocess: how photos were fed when the network was trained; of ONNX files, only those that the SDK wrote say
            it. Its size is the photos' where the file leaves that open.
        labels: the classes' names, in order; a file that the SDK wrote states them too.
        computed_bytes: memory that constants which the file computes may take beside eight times its size.

    Raises:
        MissingExtraError: the package onnx is not installed.
        UsageError: the file cannot be opened.
        FormatError: it is damaged, is no image classifier, or has operators that are not read, all of which are named.
    """
    path = Path(path)
    if computed_bytes < 0:
        raise UsageError(f"computed_bytes must be 0 or more, got {computed_bytes}")
    try:
        model = parse_model(path)
        about = stated(model)
        _take_channels_first(model)
        if about is not None:
            preprocess, labels = preprocess or about.preprocess, labels or about.labels
        if preprocess is not None:
            _set_open_size(model, preprocess.size)
        found = read_graph(model, folder=path.parent, open_batch=True, computed_bytes=computed_bytes)
    except OpenBatchError as error:
        raise FormatError(
            f"{path}: {error}, which fixes the batch; export the network with a dynamic batch axis"
        ) from error
    except FormatError as error:
        raise error if str(error).startswith(str(path)) else FormatError(f"{path}: {error}") from error
    image, output = _single(path, "input", found), _single(path, "output", found)
    if image.value is None or output.value is None:
        raise FormatError(f"{path}: its output does not depend on its input")
    if image.layout != channels_last(4):
        shape = image.layout.onnx_shape(found.graph.specs[image.value].shape)
        raise FormatError(f"{path}: the input has shape {list(shape)}; wanted photos (n, c, h, w) of an image network")
    if output.layout.inner:
        raise FormatError(f"{path}: the output is a flattened image; wanted one score for each class")
    source: dict[str, Any] = {
        "format": "onnx",
        "producer": _producer(model),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    if about is not None:
        source |= {"architecture": about.name, "model": dict(about.provenance)}
    try:
        graph, workspace = recognise_activations(found.graph, found.workspace)
        return as_classifier(
            graph, workspace, image=image.value, output=_unrounded(graph, output.value), source=path.name,
            preprocess=preprocess, labels=labels, provenance=source,
        )  # fmt: skip
    except (FormatError, UsageError):
        raise
    except EdgeError as error:
        raise FormatError(f"{path}: {error}") from error


def _take_channels_first(model: ModelProto) -> None:
    """Let a file that takes photos (n, h, w, c), and only moves their channels first, take them moved."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for info in model.graph.input:
        dims = info.type.tensor_type.shape.dim
        readers = [node for node in model.graph.node if info.name in node.input]
        moved = [node for node in readers if node.op_type == "Transpose" and _permutation(node) == CHANNELS_FIRST]
        if info.name in stored or len(dims) != IMAGE_RANK or not readers or moved != readers:
            continue
        order = [dims[axis] for axis in CHANNELS_FIRST]
        copies = [type(dim).FromString(dim.SerializeToString()) for dim in order]
        for dim, copy in zip(dims, copies, strict=True):
            dim.CopyFrom(copy)
        for node in moved:
            node.op_type = "Identity"
            del node.attribute[:]


def _permutation(node: NodeProto) -> list[int]:
    return [int(axis) for attribute in node.attribute if attribute.name == "perm" for axis in attribute.ints]


def _set_open_size(model: ModelProto, size: tuple[int, int]) -> None:
    """Let photos whose height and width the file leaves open have a size."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for info in model.graph.input:
        dims = info.type.tensor_type.shape.dim
        if info.name not in stored and len(dims) == 4:
            for dim, extent in zip(dims[2:], size, strict=True):
                if dim.WhichOneof("value") != "dim_value":
                    dim.dim_value = extent


def _unrounded(graph: Graph, output: Value) -> Value:
    """What the output was before it was rounded to 8 bits and back: logits are not, whatever was done to scores."""
    value = output
    for kind in (Dequantize, Quantize):
        node = graph.producer(value)
        if node is None or not isinstance(node.op, kind):
            return output
        value = node.inputs[0]
    return value


def _single(path: Path, what: str, found: ReadGraph) -> Border:
    borders = found.inputs if what == "input" else found.outputs
    if len(borders) != 1:
        raise FormatError(f"{path}: {len(borders)} {what}s ({', '.join(borders)[:200]}); an image classifier has one")
    return next(iter(borders.values()))


def _producer(model: object) -> str:
    name, version = getattr(model, "producer_name", ""), getattr(model, "producer_version", "")
    return f"{name} {version}".strip()[:80] or "unknown"
