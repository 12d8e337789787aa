"""A model that was trained in the numbers of its integer graph: what travels in its file, and how to get them back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from edge_sdk.errors import EdgeError, FormatError, UsageError
from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT, Model
from edge_sdk.ops.elementwise import Abs
from edge_sdk.ops.fake_quantization import FakeQuantize, SymmetricScale
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.quantization.candidate import Candidate
from edge_sdk.quantization.fake_quantization import FakeQuantized, fake_quantized, trained_candidate
from edge_sdk.quantization.parameters import largest_weight
from edge_sdk.quantization.profile import Profile, checked_profile
from edge_sdk.quantization.rules import WEIGHT_AXIS
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.spec import BYTE, HALF_A_BYTE, QuantParams, Value
from edge_sdk.workspace import Workspace

ENTRY = "quantization"
"""Of the provenance: what the rounded graph alone does not tell of its integers."""


def rounds(model: Model) -> bool:
    """Tell whether a model computes with the numbers of its integer graph, as quantization-aware training leaves it."""
    return any(isinstance(node.op, FakeQuantize) for node in model.graph.nodes)


def rounded_model(model: Model, candidate: Candidate, quantized: FakeQuantized, profile: Profile) -> Model:
    """Return the model that computes with a candidate's rounded numbers, and says of which integers they are.

    Weights, biases and scales are its parameters; scheme, ranges and profile go into its provenance.
    """
    entry = {
        "scheme": {**_fields(candidate.scheme), "layers": dict(candidate.scheme.layers)},
        "pixels": None if candidate.pixels is None else _plain(candidate.pixels),
        "activations": {value: _plain(quant) for value, quant in candidate.activations.items()},
        "profile": profile,
    }
    return model.replace(
        graph=quantized.graph,
        workspace=quantized.workspace,
        preprocess=candidate.preprocess,
        provenance={**model.provenance, ENTRY: entry},
    )


def candidate_of(model: Model) -> Candidate:
    """Return the candidate whose rounded numbers a model computes with: the one that its training made.

    Raises:
        FormatError: the model's roundings are not those that its provenance tells of.
        UsageError: it rounds nothing.
    """
    if not rounds(model):
        raise UsageError(f"{model.name} was not trained in 8-bit numbers")
    entry = model.provenance.get(ENTRY)
    if not isinstance(entry, Mapping):
        raise FormatError(f"{model.name} rounds its numbers, but its provenance does not say to which integers")
    try:
        given = _given(model, entry)
        learned = any(node.op.learned for node in model.graph.nodes if isinstance(node.op, FakeQuantize))
        quantized = fake_quantized(given, learned=learned)
        if quantized.graph != model.graph:
            raise FormatError("its graph rounds other values")
        return trained_candidate(given, quantized, model.workspace)
    except (EdgeError, AttributeError, KeyError, TypeError, ValueError) as error:  # other types of JSON, or other keys
        raise FormatError(f"{model.name}: provenance {ENTRY!r} does not fit the graph: {error}") from error


def profile_of(model: Model) -> Profile:
    """Return by whose arithmetic a rounding model was validated; raises FormatError where it does not say so."""
    entry = model.provenance.get(ENTRY)
    try:
        return checked_profile(str(entry["profile"]) if isinstance(entry, Mapping) else "")
    except (EdgeError, KeyError) as error:
        raise FormatError(f"{model.name}: provenance {ENTRY!r} names no profile: {error}") from error


def _given(model: Model, entry: Mapping[str, Any]) -> Candidate:
    """The candidate that training began with, with the weights that it ended with."""
    graph = _float_graph(model.graph)
    arrays = model.workspace.restricted(graph)
    pixels = None if entry["pixels"] is None else _parameters(entry["pixels"])
    activations = {Value(value): _parameters(quant) for value, quant in entry["activations"].items()}
    computed = [Value(INPUT), *(value for node in graph.nodes for value in node.outputs)]
    if set(activations) != set(computed):
        raise FormatError(f"{len(activations)} activations have a scale, the graph computes {len(computed)}")
    scheme = Scheme(**entry["scheme"])
    return Candidate(
        graph, arrays, model.preprocess, pixels, scheme, activations, _weight_parameters(model.graph, model.workspace)
    )


def _float_graph(graph: Graph) -> Graph:
    """The network without its roundings."""
    names: dict[Value, Value] = {}
    parameters: set[Value] = set()
    for node in graph.nodes:
        if isinstance(node.op, FakeQuantize):
            x, scale, zero_point = node.inputs
            parameters |= {zero_point, *_scale_sources(graph, scale)}
            given = x in graph.params or x in graph.inputs
            names[node.output if given else x] = x if given else node.output
    nodes = [
        Node(node.op, tuple(names.get(v, v) for v in node.inputs), tuple(names.get(v, v) for v in node.outputs))
        for node in graph.nodes
        if not (isinstance(node.op, FakeQuantize | SymmetricScale) or _is_magnitude(graph, node))
    ]
    params = [value for value in graph.params if value not in parameters]
    return rebuild(graph, nodes, params=params)


def _scale_sources(graph: Graph, scale: Value) -> tuple[Value, ...]:
    """The scale of a rounding where it is a parameter, itself or under a magnitude; nothing for one of the weights."""
    producer = graph.producer(scale)
    if producer is None:
        return (scale,)
    return producer.inputs if isinstance(producer.op, Abs) else ()


def _is_magnitude(graph: Graph, node: Node) -> bool:
    readers = graph.consumers(node.outputs[0])
    return isinstance(node.op, Abs) and any(
        isinstance(reader.op, FakeQuantize) and reader.input("scale") == node.output for reader in readers
    )


def _weight_parameters(graph: Graph, workspace: Workspace) -> dict[Value, QuantParams]:
    """The parameters of weights whose scale is a given one."""
    found = {}
    for node in graph.nodes:
        if type(node.op) not in WEIGHT_AXIS:
            continue
        rounding = graph.producer(node.inputs[1])
        if rounding is not None and isinstance(rounding.op, FakeQuantize) and rounding.inputs[1] in graph.params:
            scales = tuple(float(s) for s in workspace[rounding.inputs[1]].reshape(-1))
            bits = HALF_A_BYTE if rounding.op.high == largest_weight(HALF_A_BYTE) else BYTE
            found[rounding.inputs[0]] = QuantParams(scales, (0,) * len(scales), rounding.op.axis, bits)
    return found


def _fields(scheme: Scheme) -> dict[str, Any]:
    return {field.name: getattr(scheme, field.name) for field in dataclasses.fields(scheme)}


def _plain(quant: QuantParams) -> list[float | int]:
    return [quant.scale[0], quant.zero_point[0]]


def _parameters(pair: list[Any]) -> QuantParams:
    scale, zero_point = pair
    if type(scale) is not float or type(zero_point) is not int or not -(1 << 15) <= zero_point < 1 << 15:
        raise FormatError(f"scale and zero point are {pair!r}")
    return QuantParams((scale,), (zero_point,))
