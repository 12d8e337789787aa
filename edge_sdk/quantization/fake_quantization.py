"""The pass that rounds a float network to its integer graph's numbers wherever that one stores some, to train it so."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.model import INPUT
from edge_sdk.ops.elementwise import Abs, Maximum, Minimum
from edge_sdk.ops.fake_quantization import FakeQuantize, SymmetricScale
from edge_sdk.ops.pool import MaxPool2D
from edge_sdk.ops.shape import Concat, ExpandDims, Flatten, Reshape, Slice, Split, Squeeze, Transpose
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.layer_outputs import integer_name, integer_node
from edge_sdk.quantization.normalisation import NORMALISED
from edge_sdk.quantization.parameters import largest_weight
from edge_sdk.quantization.rules import FIXED, SAME_PARAMETERS, WEIGHT_AXIS, precision_of
from edge_sdk.spec import BYTE, QuantParams, Spec, Value
from edge_sdk.workspace import Workspace

# What only moves or compares numbers that are rounded already makes no others.
MOVING = (Concat, ExpandDims, Flatten, MaxPool2D, Maximum, Minimum, Reshape, Slice, Split, Squeeze, Transpose)
LARGEST = {"int8": 127, "int16": 32767}
"""The largest stored number of an activation; the smallest is one further from 0."""


@dataclass(frozen=True)
class LearnedScale:
    """The parameter whose magnitude is the scale of a value, the axis along which it has one an index, and the bits."""

    parameter: Value
    axis: int | None = None
    bits: int = BYTE


@dataclass(frozen=True)
class FakeQuantized:
    """A float network that computes with the numbers that its integer graph would store.

    Attributes:
        graph: From `image` to `logits`, in inference form, with a FakeQuantize wherever integers are stored.
        workspace: Weights as real numbers, scales and zero points.
        trained: The parameters to train: weights, biases, and the scales where they are learned.
        scales: The learned scales of weights and activations, by the names that these have in the candidate.
    """

    graph: Graph
    workspace: Workspace
    trained: tuple[Value, ...]
    scales: Mapping[Value, LearnedScale]


def fake_quantized(candidate: Candidate, *, learned: bool = True) -> FakeQuantized:
    """Return the candidate's network with numbers rounded exactly where its integer graph stores integers.

    That graph is asked for each of them: weights per channel or tensor, activations, constants. Weights that the
    candidate has no parameters for take the scale of their largest magnitude anew at every step, all else the
    candidate's. With `learned` all of them start there and are learned (Esser et al. 2020), but for those of the photo,
    of constants, and what the format fixes; values that must share their parameters share one. Zero points stay.

    Raises:
        ExportError: an operator has no form on integers.
    """
    integer, _ = integer_graph(candidate, "float32", "float32")
    rounding = _Rounding(candidate, integer, learned=learned)
    for node in candidate.graph.nodes:
        rounding.add(node)
    return rounding.finished()


def trained_candidate(candidate: Candidate, quantized: FakeQuantized, workspace: Workspace) -> Candidate:
    """Return the candidate with the weights and scales that training left in a `workspace` of its rounded network."""
    arrays = candidate.workspace.restricted(candidate.graph)
    for value in candidate.graph.params:
        if value in quantized.trained:
            arrays[value] = workspace[value].copy()
    activations, weights = dict(candidate.activations), dict(candidate.weight_parameters)
    for value, learned in quantized.scales.items():
        scales = tuple(float(s) for s in np.abs(workspace[learned.parameter]).reshape(-1))
        if value in activations:
            activations[value] = dataclasses.replace(activations[value], scale=scales)
        else:
            weights[value] = QuantParams(scales, (0,) * len(scales), learned.axis, learned.bits)
    return dataclasses.replace(
        candidate, workspace=arrays, activations=activations, weight_parameters=weights, rounded={}, float_biases={}
    )


def shared_parameters(candidate: Candidate) -> Mapping[Value, Value]:
    """Return, for every activation, the first of those that have one scale and zero point in common with it."""
    graph = candidate.graph
    order = {value: i for i, value in enumerate((Value(INPUT), *(v for node in graph.nodes for v in node.outputs)))}
    first = {value: value for value in order}

    def find(value: Value) -> Value:
        while first[value] != value:
            value = first[value]
        return value

    for node in graph.nodes:
        if isinstance(node.op, SAME_PARAMETERS) and precision_of(node, candidate.scheme) != "float32":
            wanted = candidate.activations[node.outputs[0]]  # an input that was computed otherwise is stored anew
            values = [v for v in (*node.inputs, *node.outputs) if v in order and candidate.activations[v] == wanted]
            members = [find(value) for value in values]
            first.update(dict.fromkeys(members, min(members, key=order.__getitem__)))
    return {value: find(value) for value in order}


@dataclass(frozen=True)
class _Stored:
    """How integers are stored."""

    dtype: str
    quant: QuantParams


class _Rounding:
    """The network under construction: float nodes, and the roundings between them."""

    def __init__(self, candidate: Candidate, integer: Graph, *, learned: bool) -> None:
        graph, image = candidate.graph, Value(INPUT)
        self.candidate, self.integer, self.learned = candidate, integer, learned
        self.nodes: list[Node] = []
        self.specs = dict(graph.specs)
        self.arrays = candidate.workspace.restricted(graph)
        self.trained: list[Value] = []
        self.scales: dict[Value, LearnedScale] = {}
        self.first = shared_parameters(candidate)
        fixed = [
            node.output
            for node in graph.nodes
            if type(node.op) in FIXED and precision_of(node, candidate.scheme) != "float32"
        ]
        self.fixed = {self.first[value] for value in (image, *fixed)}
        self.renamed: dict[Value, Value] = {}
        stored = self._stored(image)
        if stored is not None:
            self.renamed[image] = Value(f"{image}:rounded")
            self._round_activation(image, image, stored, self.renamed[image])

    def add(self, node: Node) -> None:
        """Add a node of the float network, on rounded numbers, and round its results."""
        inputs = [self._operand(node, index) for index in range(len(node.inputs))]
        stored = {value: self._stored(value) for value in (*node.inputs, *node.outputs)}
        computed = [value for value in node.inputs if value not in self.candidate.graph.params]
        moved = isinstance(node.op, MOVING) and all(stored[value] == stored[node.outputs[0]] for value in computed)
        exact: list[Value] = []
        for value in node.outputs:
            exact.append(value if moved or stored[value] is None else Value(f"{value}:exact"))
            self.specs[exact[-1]] = self.specs[value]
        self.nodes.append(Node(node.op, tuple(inputs), tuple(exact)))
        for value, before in zip(node.outputs, exact, strict=True):
            integers = stored[value]
            if before != value and integers is not None:
                self._round_activation(value, before, integers, value)

    def finished(self) -> FakeQuantized:
        """Return the network with its parameters."""
        read = {value for node in self.nodes for value in node.inputs}
        params = [value for value in dict.fromkeys((*self.candidate.graph.params, *self.arrays)) if value in read]
        graph = rebuild(self.candidate.graph, self.nodes, params=map(Value, params), specs=self.specs)
        trained = tuple(dict.fromkeys(self.trained))
        return FakeQuantized(graph, self.arrays.restricted(graph), trained, self.scales)

    def _stored(self, value: Value) -> _Stored | None:
        """How the integer graph stores an activation, if it does."""
        spec = self.integer.specs.get(integer_name(self.integer, value))
        if value in self.integer.params or spec is None or spec.quant is None:
            return None
        return _Stored(spec.dtype, spec.quant)

    def _operand(self, node: Node, index: int) -> Value:
        """What a node reads in place of its input: that itself or, of a parameter, its rounded form."""
        value = node.inputs[index]
        if value not in self.candidate.graph.params:
            return self.renamed.get(value, value)
        weighted, trains = type(node.op) in WEIGHT_AXIS, node.output != NORMALISED
        if weighted and trains:
            self.trained.append(value)
        stored = self._stored_operand(node, index)
        if stored is None or stored.dtype in ("int32", "int64"):  # biases, as good as exact
            return value
        # A weight that two nodes read has integers for each of them, and they may differ.
        rounded = Value(f"{value}:rounded")
        rounded = rounded if rounded not in self.specs else Value(f"{rounded}:{node.output}")
        if weighted:
            self._round_weight(value, stored.quant, rounded, learned=self.learned and trains)
        else:
            self._add(_activation_rounding(stored), (value, *self._parameters(rounded, stored.quant)), rounded)
        return rounded

    def _stored_operand(self, node: Node, index: int) -> _Stored | None:
        """How the integer graph stores a parameter that a node reads; None where that computes on floats."""
        found = integer_node(self.integer, node)
        spec = None if found is None else self.integer.specs[found.inputs[index]]
        return None if spec is None or spec.quant is None else _Stored(spec.dtype, spec.quant)

    def _round_activation(self, value: Value, exact: Value, stored: _Stored, rounded: Value) -> None:
        op, family = _activation_rounding(stored), self.first[value]
        scale, zero_point = self._parameters(family, stored.quant)
        if self.learned and family not in self.fixed:
            members = [member for member, first in self.first.items() if first == family]
            op, scale = self._learn(op, scale, members, numbers=math.prod(self.specs[exact].shape[1:]))
        self._add(op, (exact, scale, zero_point), rounded)

    def _round_weight(self, value: Value, stored: QuantParams, rounded: Value, *, learned: bool) -> None:
        high = largest_weight(stored.bits)
        op = FakeQuantize(-high, high, stored.axis)
        scale, zero_point = self._parameters(rounded, stored)
        if learned:
            numbers = self.specs[value].elements // len(stored.scale)
            op, scale = self._learn(op, scale, [value], numbers=numbers, bits=stored.bits)
        elif value not in self.candidate.weight_parameters:
            del self.arrays[scale], self.specs[scale]
            self._add(SymmetricScale(high, stored.axis), (value,), scale)
        self._add(op, (value, scale, zero_point), rounded)

    def _parameters(self, owner: Value, quant: QuantParams) -> tuple[Value, Value]:
        """The parameters that hold a scale and a zero point, one for each index of an axis or one for all."""
        scale, zero_point = Value(f"{owner}:scale"), Value(f"{owner}:zero_point")
        shape = () if quant.axis is None else (len(quant.scale),)
        for name, numbers, dtype in ((scale, quant.scale, "float32"), (zero_point, quant.zero_point, "int32")):
            self.specs[name] = Spec(shape, dtype)
            self.arrays[name] = np.asarray(numbers, dtype).reshape(shape)
        return scale, zero_point

    def _learn(
        self, op: FakeQuantize, scale: Value, members: Sequence[Value], numbers: int, bits: int = BYTE
    ) -> tuple[FakeQuantize, Value]:
        """Have a scale learned, of which so many numbers of an example depend; what is learned is kept above 0."""
        magnitude = Value(f"{scale}:magnitude")
        if magnitude not in self.specs:
            self._add(Abs(), (scale,), magnitude)
            self.trained.append(scale)
            self.scales.update(dict.fromkeys(members, LearnedScale(scale, op.axis, bits)))
        return dataclasses.replace(op, learned=True, slope=1 / math.sqrt(numbers * op.high)), magnitude

    def _add(self, op: FakeQuantize | SymmetricScale | Abs, inputs: tuple[Value, ...], output: Value) -> None:
        self.specs[output] = op.infer(*(self.specs[value] for value in inputs))
        self.nodes.append(Node(op, inputs, (output,)))


def _activation_rounding(stored: _Stored) -> FakeQuantize:
    high = LARGEST[stored.dtype]
    return FakeQuantize(-high - 1, high)
