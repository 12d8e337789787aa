"""A .tflite file as a Model, as a quantized one, or as the bare graph that it holds."""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from edge_sdk.converters.classifier import as_classifier, rename_values
from edge_sdk.converters.tflite import (  # noqa: F401 - importing a family registers its readers
    read_activation,
    read_constants,
    read_control,
    read_conv,
    read_elementwise,
    read_linear,
    read_norm,
    read_pool,
    read_reduce,
    read_shape,
    read_slice,
)
from edge_sdk.converters.tflite.channels_last import channels_last, is_channels_first
from edge_sdk.converters.tflite.file_graph import FileGraph, FileTensor, read_file_graph
from edge_sdk.converters.tflite.metadata import FileMetadata, read_metadata
from edge_sdk.converters.tflite.reading import Reading
from edge_sdk.errors import EdgeError, FormatError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.ops.quantization import Quantize
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.normalisation import pixel_parameters
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.spec import QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

_SIGNED = 128
"""What a pixel is stored less by where an input is int8 and not uint8."""


def read(path: Path | str, *, preprocess: Preprocess | None = None, labels: Sequence[str] | None = None) -> Model:
    """Return the classifier in a .tflite file as a float Model, to inspect, evaluate and train further.

    Weights in float16 or in 8 bits, and activations in 8 bits, become float32: scale · (stored − zero point). A
    softmax at the end is left out. Preprocessing and labels are those that the file states, unless they are given;
    `provenance["preprocess"]` says where they are from when it is not the SDK's own entry.

    Raises:
        FormatError: the file is missing, damaged, no classifier of photos, or has operators that are not read.
    """
    opened = _opened(path)
    file, metadata = opened.graph, opened.metadata
    graph, workspace = Reading(file, opened.size, opened.name, quantized=False, image=True).run()
    graph, image, output, tensor = _photos_and_scores(file, graph)
    facts: dict[str, Any] = {"format": "tflite", "stored": stored_weights(file), **metadata.provenance}
    facts["source"] = Path(path).name
    try:
        rule, origin = (preprocess, None) if preprocess is not None else _preprocess(tensor, metadata)
        model = as_classifier(
            graph,
            workspace,
            image=image,
            output=output,
            source=file.file,
            preprocess=rule,
            labels=labels if labels is not None else metadata.labels or None,
            provenance=facts if origin is None else {**facts, "preprocess": origin},
        )
    except FormatError:
        raise
    except EdgeError as error:
        raise FormatError(f"{path}: {error}") from error
    return model


def read_quantized(path: Path | str) -> QuantizedModel:
    """Return the 8-bit classifier in a .tflite file: it computes what the file does in the mobile runtime.

    Raises:
        FormatError: the file is missing, damaged, no classifier of photos, not of int8 operators, or has some that have
            no 8-bit form here; `read` gives a float Model then.
    """
    opened = _opened(path)
    file, metadata = opened.graph, opened.metadata
    graph, workspace = Reading(file, opened.size, opened.name, quantized=True, image=True).run()
    graph, image, output, tensor = _photos_and_scores(file, graph)
    if not any(spec.dtype == "int8" and spec.quant is not None for spec in graph.specs.values()):
        raise FormatError(f"{path}: computes on floats, not on int8; read it as a Model")
    spec, scores = graph.specs[image], graph.specs[output]
    if spec.rank != 4 or spec.dtype not in ("uint8", "int8", "float32") or scores.rank != 2 or not scores.symbolic:
        raise FormatError(f"{path}: goes from {spec} to {scores}; wanted photos, and scores (n, classes)")
    labels = metadata.labels or tuple(f"class {index}" for index in range(scores.shape[1]))
    if len(labels) != scores.shape[1]:
        raise FormatError(f"{path}: has {scores.shape[1]} outputs, but {len(labels)} labels")
    try:
        rule = metadata.preprocess or _preprocess(tensor, metadata)[0] or _rule(tensor, (0.0,), (255.0,))
        if rule is None or rule.shape != spec.shape[1:]:
            raise FormatError(f"its input is {spec}, its preprocessing makes {rule and list(rule.shape)}")
        if spec.dtype == "int8" and spec.quant is not None:
            graph = _with_pixel_input(graph, image)
            image = graph.inputs[0]
        graph, workspace = rename_values(graph, workspace, {image: Value(INPUT), output: Value(OUTPUT)})
    except EdgeError as error:
        raise FormatError(f"{path}: {error}") from error
    return QuantizedModel(graph, workspace, rule, labels)


def read_graph(path: Path | str, *, quantized: bool = False) -> tuple[Graph, Workspace]:
    """Return the program in a .tflite file, whatever it is for, and its weights.

    Batches are open where the file leaves them open. With `quantized` stored integers stay what they are; else
    everything is float32.

    Raises:
        FormatError: the file is missing or damaged, or has operators that are not read, all of them named.
    """
    opened = _opened(path)
    return Reading(opened.graph, opened.size, opened.name, quantized=quantized, image=False).run()


def stored_weights(file: FileGraph) -> str:
    """Return how a file stores its larger constants: float32, float16, or int8, with float or with int8 activations."""
    constants = [t for t in file.tensors if t.data is not None and (t.dtype != "int32" or t.quant is not None)]
    sizes: dict[str, int] = {}
    for tensor in constants:
        if tensor.dtype is not None and tensor.data is not None and tensor.dtype not in ("int32", "int64", "bool"):
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + len(tensor.data)
    kind = max(sizes, key=lambda dtype: sizes[dtype], default="float32")
    activations = any(t.data is None and t.quant is not None for t in file.tensors)
    return f"{kind}, full integer" if activations else kind if kind.startswith("float") else f"{kind}, dynamic range"


@dataclass(frozen=True)
class _Opened:
    """A file's program, what it says about itself, how many bytes it has, and what to call its graph."""

    graph: FileGraph
    metadata: FileMetadata
    size: int
    name: str


def _opened(path: Path | str) -> _Opened:
    """Check a file, which is mapped and not read, so that weights are in memory only once."""
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            # Closed when the last view of it is gone.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            graph = read_file_graph(data, name)
            metadata = read_metadata(graph.metadata, file, name)
            return _Opened(graph, metadata, len(data), metadata.name or Path(path).stem)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: an empty file, wanted a .tflite file") from error


def _photos_and_scores(file: FileGraph, graph: Graph) -> tuple[Graph, Value, Value, FileTensor]:
    """The graph of a classifier that takes photos (n, h, w, c), its input and output, and the input in the file."""
    for what, values in (("input", graph.inputs), ("output", graph.outputs)):
        if len(values) != 1:
            found = ", ".join(values) or "none"
            raise FormatError(f"{file.file}: has {len(values)} {what}s ({found}); a classifier of photos has one")
    image, tensor = graph.inputs[0], file.tensors[file.inputs[0]]
    if is_channels_first(tensor.shape):
        graph, image = channels_last(graph, image)
        n, c, h, w = tensor.shape
        tensor = dataclasses.replace(tensor, shape=(n, h, w, c))
    return graph, image, graph.outputs[0], tensor


def _preprocess(tensor: FileTensor, metadata: FileMetadata) -> tuple[Preprocess | None, str | None]:
    """How a photo becomes what the graph takes, and where that is from; None where the file does not say."""
    own = metadata.preprocess
    pixels = _pixel_parameters(tensor)
    if pixels is None:
        if own is not None or not metadata.mean or not metadata.std:
            return own, None
        rule = _rule(tensor, metadata.mean, metadata.std)
        return rule, "mean and std of the file's metadata; the whole photo is resized"
    rule = own or _rule(tensor, (0.0,), (1.0,))
    if rule is None:
        return None, None
    if own is not None and pixel_parameters(own) == pixels:
        return own, None
    count = rule.channel_count
    rule = dataclasses.replace(rule, mean=(float(pixels.zero_point[0]),) * count, std=(1 / pixels.scale[0],) * count)
    return rule, None if own is not None else "quantization of the file's input; the whole photo is resized"


def _pixel_parameters(image: FileTensor) -> QuantParams | None:
    """What the pixels 0 … 255 stand for, where a file takes them; as int8 they are stored less by 128."""
    if image.dtype == "uint8":
        return image.quant or QuantParams((1.0,), (0,))
    if image.dtype == "int8" and image.quant is not None:
        return QuantParams(
            image.quant.scale, tuple(zero + _SIGNED for zero in image.quant.zero_point), image.quant.axis
        )
    return None


def _rule(image: FileTensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocess | None:
    if len(image.shape) != 4 or image.shape[3] not in (1, 3):
        return None  # no photos, which is said later
    count = image.shape[3]
    mean, std = (values if len(values) == count else values[:1] * count for values in (mean, std))
    size = (image.shape[1], image.shape[2])
    return Preprocess(size, mean=mean, std=std, channels="grey" if count == 1 else "rgb")


def _with_pixel_input(graph: Graph, image: Value) -> Graph:
    """Let a graph that takes pixels as int8 take them as uint8."""
    spec = graph.specs[image]
    quant = cast(QuantParams, spec.quant)
    pixels = Value(f"{image}.uint8")
    raw = QuantParams(quant.scale, (quant.zero_point[0] + _SIGNED,))
    specs = {**graph.specs, pixels: Spec(spec.shape, "uint8", raw)}
    first = Node(Quantize(quant.scale[0], quant.zero_point[0]), (pixels,), (image,))
    return dataclasses.replace(graph, inputs=(pixels,), nodes=(first, *graph.nodes), specs=specs)
