"""A file cut into files of one operator each, so that each can be timed: the Python runtime has no profiler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np

from edge_sdk.converters.tflite.delegate_rules import widens_a_constant
from edge_sdk.converters.tflite.file_graph import FileGraph, FileOperator, FileTensor
from edge_sdk.converters.tflite.flatfile import OMITTED, FlatModel, Subgraph, TensorId
from edge_sdk.converters.tflite.schema import Builtin, Options
from edge_sdk.errors import FormatError


def single_operator_files(graph: FileGraph) -> Iterator[tuple[FileOperator, bytes | None]]:
    """Yield each operator of a file with a file of it alone, whose inputs are what it reads of others.

    Constants stay constants, and those that are widened first (float16 weights) are widened there too. Operators that
    read nothing computed are left out: they run once, before the first photo. None stands for an operator that cannot
    be cut out: an unknown one, or tensors of types that edge-sdk does not have.
    """
    producers = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    widened = {tensor for tensor, operator in producers.items() if widens_a_constant(operator, graph)}
    for operator in graph.operators:
        read = [tensor for tensor in operator.inputs if tensor >= 0 and tensor not in widened]
        if all(graph.tensors[tensor].data is not None for tensor in read):
            continue
        try:
            yield operator, _file_of(operator, graph, producers, widened)
        except (FormatError, KeyError):
            yield operator, None


@cache
def _options_by_number() -> Mapping[int, type[Options]]:
    return {kind.union_type: kind for kind in Options.__subclasses__()}


def _file_of(
    operator: FileOperator, graph: FileGraph, producers: Mapping[int, FileOperator], widened: set[int]
) -> bytes:
    file = FlatModel(f"{operator.name} of {graph.file}")
    main = file.subgraph("main")
    here: dict[int, TensorId] = {-1: OMITTED}
    fed = []
    for place in dict.fromkeys(operator.inputs):
        if place < 0:
            continue
        tensor = graph.tensors[place]
        if tensor.data is not None:
            here[place] = _constant(main, tensor)
        elif place in widened:
            here[place] = _computed(main, tensor)
            widening = producers[place]
            stored = _constant(main, graph.tensors[widening.inputs[0]])
            _append(main, widening, [stored], [here[place]])
        else:
            here[place] = _computed(main, tensor)
            fed.append(here[place])
    outputs = [_computed(main, graph.tensors[place]) for place in operator.outputs]
    _append(main, operator, [here[place] for place in operator.inputs], outputs)
    main.inputs, main.outputs = tuple(fed), tuple(outputs)
    return file.to_bytes()


def _append(main: Subgraph, operator: FileOperator, inputs: list[TensorId], outputs: list[TensorId]) -> None:
    kind = operator.options_kind
    options = None if kind == 0 else operator.options(_options_by_number()[kind])
    main.operator(_code(operator), inputs, outputs, options, operator.version)


def _code(operator: FileOperator) -> Builtin:
    if operator.code not in Builtin.__members__.values():
        raise FormatError(f"{operator.name} is not an operator that edge-sdk has")
    return Builtin(operator.code)


def _constant(main: Subgraph, tensor: FileTensor) -> TensorId:
    if tensor.dtype is None:
        raise FormatError(f"{tensor.name!r} has a type that edge-sdk does not have")
    return main.constant(tensor.name, np.array(tensor.stored, tensor.dtype), tensor.quant)


def _computed(main: Subgraph, tensor: FileTensor) -> TensorId:
    if tensor.dtype is None:
        raise FormatError(f"{tensor.name!r} has a type that edge-sdk does not have")
    return main.tensor(tensor.name, tensor.shape, tensor.dtype, quant=tensor.quant)
