"""Graphs as JSON text, with a format version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_sdk.errors import EdgeError, FormatError
from edge_sdk.graph import Graph, Node
from edge_sdk.op import operator_from_attributes
from edge_sdk.spec import BYTE, HALF_A_BYTE, QuantParams, Spec, Value
from edge_sdk.verify import verify

FORMAT_VERSION = 1
MAX_NODES = 20_000
"""Ten times what the largest training step of the zoo has: planning takes time by the square of it."""
MAX_DEPTH = 16


def graph_to_json(graph: Graph) -> str:
    """Return the graph as compact JSON with sorted keys: equal graphs give equal texts."""
    return json.dumps(graph_to_dict(graph), sort_keys=True, separators=(",", ":"))


def graph_to_dict(graph: Graph) -> dict[str, Any]:
    """Return the graph as JSON-ready data; an attribute that is a graph is written the same way."""
    return {
        "format": FORMAT_VERSION,
        "name": graph.name,
        "inputs": list(graph.inputs),
        "params": list(graph.params),
        "outputs": list(graph.outputs),
        "updates": dict(graph.updates),
        "nodes": [
            {
                "op": node.op.name,
                "attributes": {key: _attribute_to_json(value) for key, value in node.op.attributes().items()},
                "inputs": list(node.inputs),
                "outputs": list(node.outputs),
            }
            for node in graph.nodes
        ],
        "specs": {value: _spec_to_json(spec) for value, spec in graph.specs.items()},
    }


def graph_from_json(text: str) -> Graph:
    """Read and verify a graph; raises FormatError for text that is not one, or is of a newer format."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"graph: not JSON ({error})") from error
    return graph_from_dict(data)


def graph_from_dict(data: Any, depth: int = 0) -> Graph:
    """Read and verify a graph from JSON data; raises FormatError."""
    # Operators are declared by being imported; a file must open whatever was imported before.
    import edge_sdk.ops  # noqa: F401

    if depth > MAX_DEPTH:
        raise FormatError(f"graph: nested deeper than {MAX_DEPTH} levels")
    _expect(isinstance(data, dict), "graph: wanted an object")
    version = data.get("format")
    _expect(isinstance(version, int) and version >= 1, f"graph: format is {version!r}, wanted a number of 1 or more")
    if version > FORMAT_VERSION:
        raise FormatError(
            f"graph: written in format {version}, this edge-sdk reads up to {FORMAT_VERSION}; "
            "upgrade it: pip install -U edge-sdk"
        )
    nodes = _field(data, "nodes", list)
    _expect(len(nodes) <= MAX_NODES, f"graph: {len(nodes)} nodes, at most {MAX_NODES} are read")
    try:
        inputs, params = _values(data, "inputs"), _values(data, "params")
        read = tuple(_node_from_json(node, depth) for node in nodes)
        values = {*inputs, *params, *(value for node in read for value in node.outputs)}
        specs = {Value(value): spec for value, spec in _field(data, "specs", dict).items() if value in values}
        graph = Graph(
            name=_field(data, "name", str),
            inputs=inputs,
            params=params,
            nodes=read,
            outputs=_values(data, "outputs"),
            specs={value: _spec_from_json(value, spec) for value, spec in specs.items()},
            updates={Value(str(k)): Value(str(v)) for k, v in _field(data, "updates", dict).items()},
        )
        verify(graph)
    except FormatError:
        raise
    except EdgeError as error:
        raise FormatError(f"graph is not well formed: {error}") from error
    except RecursionError as error:
        raise FormatError("graph: lists are nested too deep") from error
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, ZeroDivisionError) as error:
        raise FormatError(f"graph: an operator's attributes make no sense ({type(error).__name__}: {error})") from error
    return graph


def _node_from_json(data: Any, depth: int) -> Node:
    _expect(isinstance(data, dict), "graph: a node is not an object")
    attributes = {
        key: graph_from_dict(value["graph"], depth + 1) if isinstance(value, dict) and "graph" in value else value
        for key, value in _field(data, "attributes", dict).items()
    }
    op = operator_from_attributes(_field(data, "op", str), attributes)
    return Node(op, _values(data, "inputs"), _values(data, "outputs"))


def _attribute_to_json(value: Any) -> Any:
    return {"graph": graph_to_dict(value)} if isinstance(value, Graph) else value


def _spec_to_json(spec: Spec) -> list[Any]:
    if spec.quant is None:
        return [list(spec.shape), spec.dtype]
    quant = spec.quant
    narrow = [] if quant.bits == BYTE else [quant.bits]
    return [list(spec.shape), spec.dtype, list(quant.scale), list(quant.zero_point), quant.axis, *narrow]


def _spec_from_json(name: str, data: Any) -> Spec:
    _expect(isinstance(data, list) and len(data) in (2, 5, 6), f"graph: spec of {name!r} is {str(data)[:60]}")
    shape, dtype = data[:2]
    _expect(_integers(shape) and len(shape) <= 32 and isinstance(dtype, str), f"graph: spec of {name!r} is malformed")
    _expect(all(size < 2**40 for size in shape), f"graph: shape of {name!r} is too large: {shape}")
    quant = None
    if len(data) > 2:
        scale, zero_point, axis, bits = (*data[2:], BYTE)[:4]
        numbers = isinstance(scale, list) and all(isinstance(s, int | float) for s in scale)
        _expect(numbers and _integers(zero_point), f"graph: quantization of {name!r} is malformed")
        _expect(axis is None or isinstance(axis, int), f"graph: quantization axis of {name!r} is {axis!r}")
        _expect(bits in (BYTE, HALF_A_BYTE), f"graph: {name!r} is quantized to {str(bits)[:60]} bits")
        quant = QuantParams(tuple(float(s) for s in scale), tuple(zero_point), axis, bits)
    return Spec(tuple(shape), dtype, quant)


def _integers(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(x, int) and not isinstance(x, bool) for x in data)


def _values(data: Mapping[str, Any], key: str) -> tuple[Value, ...]:
    names = _field(data, key, list)
    _expect(all(isinstance(name, str) for name in names), f"graph: {key} holds something that is not a name")
    return tuple(Value(name) for name in names)


def _field(data: Mapping[str, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    _expect(isinstance(value, kind), f"graph: {key!r} is {type(value).__name__}, wanted {kind.__name__}")
    return value


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise FormatError(message)
