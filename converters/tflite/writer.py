"""A graph and its weights as a .tflite file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_sdk.converters.tflite import (  # noqa: F401 - importing a family registers its lowerings
    lower_activation,
    lower_control,
    lower_conv,
    lower_conv_transpose,
    lower_elementwise,
    lower_indexing,
    lower_linear,
    lower_norm,
    lower_pool,
    lower_reduce,
    lower_shape,
    seal,
)
from edge_sdk.converters.tflite.contract import contract
from edge_sdk.converters.tflite.flatfile import FlatModel
from edge_sdk.converters.tflite.lowering import Lowering, Weights
from edge_sdk.converters.tflite.metadata import About, add_metadata, append_labels
from edge_sdk.converters.tflite.self_test import ENTRY as SELF_TEST_ENTRY
from edge_sdk.converters.tflite.versions import minimum_runtime, target_runtime
from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.ops.activation import Softmax
from edge_sdk.spec import FLOATS
from edge_sdk.workspace import Workspace

WEIGHTS = ("float32", "float16", "int8")
_VERSION_BYTES = 16
"""Width of the entry that TFLite's own tools keep the oldest runtime's version in."""


@dataclass(frozen=True)
class WriteReport:
    """What became of a graph.

    Attributes:
        size: Bytes of the file.
        operators: How often each builtin operator is used, the most frequent first.
        minimum_runtime: The oldest TFLite runtime that has all of them.
        float_tensors: Names of the computed float tensors inside a quantized graph: all but its inputs and outputs.
        float_weights: Names of weights that stay float32 although float16 or int8 was asked for: too small to gain
            from it, or out of range.
    """

    size: int
    operators: Mapping[str, int]
    minimum_runtime: str
    float_tensors: tuple[str, ...]
    float_weights: tuple[str, ...]


@dataclass(frozen=True)
class WrittenFile:
    """The bytes of a file, and how they came about."""

    data: bytes
    report: WriteReport


def write(
    graph: Graph,
    workspace: Workspace,
    weights: Weights = "float32",
    about: About | None = None,
    self_test: Callable[[bytes], bytes] | None = None,
    min_runtime: str | None = None,
    *,
    fixed_batch: bool = False,
) -> WrittenFile:
    """Return the .tflite file that computes a forward graph, with the signature `serving_default`.

    A graph quantized by `quantize_int8` is written as it is. With a float graph, `weights` says how its weights are
    stored: "float16" halves them, to be widened by the runtime; "int8" (dynamic range) stores those of convolutions
    (a scale a channel) and dense layers in 8 bits, and the runtime quantizes their inputs on the fly.
    With `fixed_batch` the file takes one example at a time, which LiteRT.js asks for; otherwise its batch is open.

    A file with `about` also holds the hash of all of itself. `self_test` is given the file and returns its self-test.

    `min_runtime` is the oldest TensorFlow Lite release that the file is for, such as "2.14", or "latest": where an
    operator has several forms, the best that this release has is written. None is the oldest that can be had.

    Raises:
        ExportError: operators, types or sizes that the format does not have, or not in that runtime.
        UsageError: an unknown kind of weights, or no such runtime.
    """
    if weights not in WEIGHTS:
        raise UsageError(f"weights {weights!r} is not one of {', '.join(WEIGHTS)}{suggestion(weights, WEIGHTS)}")
    file = FlatModel(f"{about.name if about is not None else graph.name}, written by edge-sdk", fixed_batch=fixed_batch)
    lowering = Lowering(graph, workspace, file, weights, target_runtime(min_runtime))
    lowering.run()
    oldest = minimum_runtime(lowering.runtimes)
    file.metadata("min_runtime_version", oldest.encode().ljust(_VERSION_BYTES, b"\0"))
    if about is not None:
        edges = contract(graph, about.preprocess, about.output)
        add_metadata(file, about, pixel_input=_takes_pixels(graph), contract=edges)
        file.metadata(seal.ENTRY, seal.PLACEHOLDER)
    labels = () if about is None else about.labels
    if self_test is not None:
        file.metadata(SELF_TEST_ENTRY, self_test(append_labels(file.to_bytes(), labels)))
    data = file.to_bytes()
    if about is not None:
        data = seal.seal(append_labels(data, labels))
    used = Counter(code.name for code in lowering.operators)
    report = WriteReport(
        len(data), dict(used.most_common()), oldest, _float_tensors(lowering), tuple(lowering.float_weights)
    )
    return WrittenFile(data, report)


def _takes_pixels(graph: Graph) -> bool:
    return graph.specs[graph.inputs[0]].dtype == "uint8"


def _float_tensors(lowering: Lowering) -> tuple[str, ...]:
    """Name the floats between the edges of a quantized graph; a float graph has nothing to report."""
    if not any(tensor.spec.quant is not None for tensor in lowering.tensors):
        return ()
    graph = lowering.graph
    # A softmax that ends the graph works on the floats that would else have been its output.
    softmaxes = (node for node in graph.nodes if isinstance(node.op, Softmax) and node.output in graph.outputs)
    last = {value for node in softmaxes for value in node.inputs}
    edges = {*graph.inputs, *graph.outputs, *last}
    return tuple(t.name for t in lowering.tensors if t.spec.dtype in FLOATS and t.name not in edges)
