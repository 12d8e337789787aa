"""An ONNX graph of any kind as a graph of the engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.definitions import definition, with_attributes
from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.proto import MOST_AXES, dtype_name, tensor_array
from edge_sdk.converters.onnx.table import UnsupportedError, readers
from edge_sdk.converters.onnx.tensor import Constant, Tensor, TensorList, constant, tensor_list
from edge_sdk.converters.onnx.translation import MOST_NODES, Budget, OpenBatchError, Translation, printable
from edge_sdk.errors import EdgeError, FormatError
from edge_sdk.graph import Graph
from edge_sdk.spec import BATCH, Array, Spec, Value
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto

COMPUTED_BYTES = 64 << 20
"""What constants that a file computes may take beside eight times its own size."""
IMAGE_OPERATORS = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool",
    "InstanceNormalization", "LRN", "MaxPool", "Resize", "SpaceToDepth", "Upsample",
})  # fmt: skip
DEEPEST_SUBGRAPH = 16
_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Border:
    """An input or output of the file: the value that holds it and in which layout, or the constant that it is."""

    value: Value | None
    layout: Layout
    dtype: str
    array: Array | None = None
    parts: tuple[Border, ...] | None = None
    """Those of the tensors of a sequence."""


@dataclass(frozen=True)
class ReadGraph:
    """What `read_graph` returns: graph, weights, and what the file's inputs and outputs are in it, by ONNX name."""

    graph: Graph
    workspace: Workspace
    inputs: Mapping[str, Border]
    outputs: Mapping[str, Border]


class _Reading:
    """The state while one file is read."""

    def __init__(self, model: ModelProto, folder: Path | None, translation: Translation) -> None:
        self.opset = opset_of(model.opset_import, 0)
        self.folder = folder
        self.translation = translation
        self.functions = {(function.domain, function.name): function for function in model.functions}
        self.count = 0
        self.consumers: dict[str, set[str]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, set()).add(node.op_type)
        for info in model.graph.output:
            self.consumers.setdefault(info.name, set()).add("output")
        self.problems: list[str] = []
        self.needs: list[str] = []
        self.absent: dict[str, str] = {}
        self.left_out: frozenset[str] = frozenset()
        self.depth = 0

    def _read_by(self, name: str) -> set[str]:
        return self.consumers.get(name, set()) if self.depth == 0 else set()

    def initializers(self, graph: GraphProto, scope: dict[str, Tensor | None]) -> None:
        """Make the stored tensors of a graph known."""
        if graph.sparse_initializer:
            raise FormatError("sparse tensors are not read")
        for tensor in graph.initializer:
            scope[tensor.name] = constant(tensor_array(tensor, self.folder), tensor.name)

    def nodes(self, nodes: Iterable[NodeProto], scope: dict[str, Tensor | None]) -> None:
        """Read the nodes in order; what cannot be read is collected, and what depends on it left out."""
        for node in nodes:
            self.count += 1
            if self.count > MOST_NODES:
                raise FormatError(f"the file's functions and loops come to more than {MOST_NODES} nodes")
            inputs: list[Tensor | None] = []
            failed = False
            for name in node.input:
                if name and name not in scope:
                    raise FormatError(f"{described(node)} reads {name[:80]!r}, which nothing before it makes")
                inputs.append(scope[name] if name and name not in self.left_out else None)
                failed = failed or bool(name and scope[name] is None and name not in self.left_out)
                if name in self.absent:
                    self.problems.append(self.absent[name])
            outputs: Sequence[Tensor | None] = () if failed else self._read(node, inputs, scope)
            for index, name in enumerate(node.output):
                if name and name in scope:
                    raise FormatError(f"{described(node)} makes {name[:80]!r} a second time")
                if name:
                    found = outputs[index] if index < len(outputs) else None
                    if outputs and found is None:
                        self.absent[name] = f"{described(node)}: output {index} is not computed"
                    scope[name] = found

    def _read(self, node: NodeProto, inputs: list[Tensor | None], scope: dict[str, Tensor | None]) -> Sequence[Any]:
        reader = readers().get(node.op_type) if node.domain in _DOMAINS else None
        if reader is None:
            function = self.functions.get((node.domain, node.op_type))
            if function is None and node.domain in _DOMAINS:
                try:
                    function = definition(node, self.opset, inputs)
                except FormatError as error:
                    self.problems.append(str(error))
                    return ()
            if function is not None:
                return self._call(function, node, inputs)
            kind = node.op_type if node.domain in _DOMAINS else f"{node.domain}::{node.op_type}"
            self.problems.append(f"{kind[:80]} (node {(node.name or ''.join(node.output[:1]))[:80]!r})")
            return ()
        self.translation.where = described(node)
        self.translation.label = printable(node.output[0] if node.output else "")

        def inline(graph: GraphProto, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return self._inline(graph, given, scope)

        try:
            result = reader(Call(self.translation, node, self.opset, inputs, inline, self._read_by))
        except (OpenBatchError, RecursionError):
            raise
        except UnsupportedError as error:
            self.problems.append(str(error))
            if error.needs:
                self.needs.append(error.needs)
            return ()
        except EdgeError as error:
            message = str(error)
            self.problems.append(message if message.startswith(node.op_type) else f"{described(node)}: {message}")
            return ()
        except (ValueError, IndexError, OverflowError, ZeroDivisionError, TypeError, MemoryError) as error:
            # What NumPy says of shapes and values that do not fit together: the file's mistake.
            self.problems.append(f"{described(node)}: {str(error)[:200]}")
            return ()
        return result if isinstance(result, tuple) else (result,)

    def _call(
        self, function: FunctionProto, node: NodeProto, inputs: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Read the body of a function in place of the node that calls it."""
        if self.depth >= DEEPEST_SUBGRAPH:
            raise FormatError(f"functions call each other more than {DEEPEST_SUBGRAPH} deep")
        given = {attribute.name: attribute for attribute in (*function.attribute_proto, *node.attribute)}
        scope: dict[str, Tensor | None] = {}
        for index, name in enumerate(function.input):
            scope[name] = inputs[index] if index < len(inputs) else None
        kept = self.opset, self.left_out, len(self.problems)
        self.opset = opset_of(function.opset_import, self.opset)
        self.left_out = frozenset(name for name in function.input if scope[name] is None)
        self.depth += 1
        try:
            self.nodes((with_attributes(inner, given) for inner in function.node), scope)
        finally:
            self.depth -= 1
            self.opset, self.left_out, before = kept
        self.problems[before:] = [f"in {described(node)}: {problem}" for problem in self.problems[before:]]
        return [scope.get(name) for name in function.output]

    def _inline(
        self, graph: GraphProto, given: Sequence[Tensor], outer: Mapping[str, Tensor | None]
    ) -> tuple[Tensor, ...]:
        if self.depth >= DEEPEST_SUBGRAPH:
            raise FormatError(f"subgraphs are nested more than {DEEPEST_SUBGRAPH} deep")
        if len(given) != len(graph.input):
            raise FormatError(f"a subgraph takes {len(graph.input)} inputs and is given {len(given)}")
        scope = dict(outer)
        for info, tensor in zip(graph.input, given, strict=True):
            scope[info.name] = tensor
        for name in [name for node in graph.node for name in node.output]:
            scope.pop(name, None)
        before = len(self.problems)
        self.depth += 1
        try:
            self.initializers(graph, scope)
            self.nodes(graph.node, scope)
        finally:
            self.depth -= 1
        results = [scope.get(info.name) for info in graph.output]
        if len(self.problems) > before or any(result is None for result in results):
            problems = self.problems[before:]
            del self.problems[before:]
            raise UnsupportedError("; ".join(problems) or "a subgraph does not make its outputs")
        return tuple(result for result in results if result is not None)


def read_graph(
    model: ModelProto,
    *,
    folder: Path | None = None,
    open_batch: bool = False,
    constants: Mapping[str, Array] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    sequences: Mapping[str, Sequence[tuple[int, ...]]] | None = None,
    computed_bytes: int = COMPUTED_BYTES,
) -> ReadGraph:
    """Translate the graph of a parsed ONNX file; nothing of it is run but what depends on constants alone.

    Images (n, c, h, w) are held (n, h, w, c) throughout; each value's layout is followed from operator to operator, so
    that only what an operator's meaning forces is ever transposed. The borders say how inputs and outputs are held.

    Args:
        model: the parsed file.
        folder: where data that the file keeps in other files lie.
        open_batch: leave the first size of inputs open where the file leaves it open or says 1.
        constants: values of inputs that are to be constants, because shapes depend on them.
        shapes: sizes of inputs, where the file leaves them open.
        sequences: sizes of each tensor of inputs that are sequences.
        computed_bytes: memory for constants that the file computes, beside eight times its size.

    Raises:
        FormatError: the file is damaged, or has operators that are not read: all of them are named at once.
        OpenBatchError: with `open_batch`, the file's operators need to know the size of the batch.
    """
    reading = _Reading(model, folder, _translation(model, computed_bytes))
    graph, translation = model.graph, reading.translation
    given = dict(constants or {})
    scope: dict[str, Tensor | None] = {}
    reading.initializers(graph, scope)
    has_images = any(node.op_type in IMAGE_OPERATORS for node in graph.node)
    inputs: dict[str, Border] = {}
    for info in graph.input:
        if info.name in given:
            scope[info.name] = constant(given[info.name], info.name)
            array = given[info.name]
            inputs[info.name] = Border(None, plain(array.ndim), array.dtype.name, array)
        elif info.name in (sequences or {}):
            listed = _declare_sequence(translation, info, (sequences or {})[info.name])
            scope[info.name] = listed
            inputs[info.name] = _border(translation, listed)
        elif info.name not in scope:
            tensor = _declare(translation, info, (shapes or {}).get(info.name), open_batch, has_images)
            scope[info.name] = tensor
            inputs[info.name] = _border(translation, tensor)
    with np.errstate(all="ignore"):  # infinities and what comes of them are the file's own
        reading.nodes(graph.node, scope)
    outputs = {}
    for info in graph.output:
        if info.name not in scope:
            raise FormatError(f"output {info.name[:80]!r} is made by no node")
        result = scope[info.name]
        if result is not None:
            outputs[info.name] = _border(translation, result)
        elif info.name in reading.absent:
            reading.problems.append(reading.absent[info.name])
    if reading.problems:
        raise _problems(reading)
    single = [part for border in outputs.values() for part in (border.parts or (border,))]
    values = tuple(dict.fromkeys(border.value for border in single if border.value is not None))
    built = translation.builder.build(*values)
    return ReadGraph(built, Workspace(translation.arrays), inputs, outputs)


def _problems(reading: _Reading) -> UnsupportedError:
    shown = list(dict.fromkeys(reading.problems))
    rest = f"; and {len(shown) - 50} more" if len(shown) > 50 else ""
    needs = reading.needs[0] if reading.needs else None
    return UnsupportedError(f"not read: {'; '.join(shown[:50])}{rest}", needs)


def _translation(model: ModelProto, computed_bytes: int) -> Translation:
    return Translation(printable(model.graph.name) or "onnx", Budget(8 * model.ByteSize() + computed_bytes))


def _border(translation: Translation, tensor: Tensor) -> Border:
    if isinstance(tensor, TensorList):
        return Border(None, tensor.layout, "", None, tuple(_border(translation, part) for part in tensor.parts))
    if isinstance(tensor.held, Constant):
        return Border(None, plain(tensor.rank), tensor.dtype, tensor.array)
    return Border(tensor.held, tensor.layout, tensor.dtype)


def _declare(
    translation: Translation, info: ValueInfoProto, shape: tuple[int, ...] | None, open_batch: bool, has_images: bool
) -> Tensor:
    what = f"input {info.name[:80]!r}"
    if info.type.WhichOneof("value") != "tensor_type":
        raise FormatError(f"{what} is no tensor, but a {info.type.WhichOneof('value')}, which is not read")
    kind = info.type.tensor_type
    dtype = dtype_name(kind.elem_type, what)
    if shape is None:
        dims = kind.shape.dim
        if not kind.HasField("shape") or len(dims) > MOST_AXES:
            raise FormatError(f"{what} has no shape; wanted one such as [n, 3, 224, 224]")
        sizes = [dim.dim_value if dim.WhichOneof("value") == "dim_value" else BATCH for dim in dims]
        if any(size < 0 or size >= 1 << 31 for size in sizes if size != BATCH) or BATCH in sizes[1:]:
            shown = [dim.dim_param or dim.dim_value or "?" for dim in dims]
            raise FormatError(f"{what} has shape {shown}; only the first may be open; a Preprocess says the others")
        if sizes and sizes[0] in (1, BATCH):
            sizes[0] = BATCH if open_batch and len(sizes) > 1 else 1
        shape = tuple(sizes)
    layout = channels_last(len(shape)) if has_images and len(shape) > 2 else plain(len(shape))
    name = printable(info.name) or "input"
    return translation.tensor(translation.builder.input(name, Spec(layout.held_shape(shape), dtype)), layout)


def _declare_sequence(translation: Translation, info: ValueInfoProto, shapes: Sequence[tuple[int, ...]]) -> TensorList:
    what = f"input {info.name[:80]!r}"
    if info.type.WhichOneof("value") != "sequence_type":
        raise FormatError(f"{what} is no sequence")
    dtype = dtype_name(info.type.sequence_type.elem_type.tensor_type.elem_type, what)
    name = printable(info.name) or "input"
    declared = [translation.builder.input(f"{name}.{index}", Spec(shape, dtype)) for index, shape in enumerate(shapes)]
    return tensor_list(tuple(translation.tensor(value, plain(translation.spec(value).rank)) for value in declared))


def opset_of(imports: Iterable[OperatorSetIdProto], otherwise: int) -> int:
    """The version of ONNX's own operators; raises FormatError where neither file nor function says it."""
    version = max((entry.version for entry in imports if entry.domain in _DOMAINS), default=otherwise)
    if version < 1:
        raise FormatError("the file does not say which version of ONNX's operators it uses")
    return int(version)


def inputs_behind(model: ModelProto, name: str) -> Collection[str]:
    """The inputs that a tensor is computed from."""
    makers = {output: node for node in model.graph.node for output in node.output}
    free = {info.name for info in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    found, seen, waiting = set(), set(), [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in free:
            found.add(current)
        elif current in makers:
            waiting.extend(makers[current].input)
    return found
