"""half_precision: a network whose activations are stored in 16 bits, with weights and statistics in float32.

What is stored in 16 bits, and why not the rest, follows Micikevicius et al. 2018, "Mixed Precision Training", 3:
products of 16-bit factors are summed in float32 (3.3), which every kernel here does; reductions, statistics and softmax
are computed and stored in float32 (3.3); a master copy of the weights in float32 takes the updates, which would vanish
beside weights in 16 bits (3.1). Exponentials, logarithms and powers stay in float32 too, for their range, as in
torch.autocast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from edge_sdk.graph import Graph, Node
from edge_sdk.op import Op
from edge_sdk.ops.activation import (
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    PRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Tanh,
)
from edge_sdk.ops.control import Identity, StopGradient
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Abs, Add, Clip, Div, Maximum, Minimum, Mul, Neg, Sub
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.norm import BatchNorm, BatchNormTraining
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import (
    BroadcastTo,
    Cast,
    Concat,
    ExpandDims,
    Flatten,
    Pad,
    Reshape,
    Slice,
    Split,
    Squeeze,
    Transpose,
)
from edge_sdk.passes.rewrite import rebuild
from edge_sdk.spec import FLOATS, HALVES, Spec, Value
from edge_sdk.workspace import Workspace

IN_HALF: tuple[type[Op], ...] = (Conv2D, ConvTranspose2D, DepthwiseConv2D, Linear, MatMul)
"""Products: all that they take is rounded to 16 bits."""

LIKE_THEIR_DATA: tuple[type[Op], ...] = (
    Relu, Relu6, LeakyRelu, PRelu, Sigmoid, HardSigmoid, Tanh, HardSwish, Silu, Gelu,
    Add, Sub, Mul, Div, Maximum, Minimum, Neg, Abs, Clip,
    MaxPool2D, AvgPool2D, AdaptiveAvgPool2D, GlobalAvgPool, Resize, Dropout, Identity, StopGradient,
    BroadcastTo, Concat, ExpandDims, Flatten, Pad, Reshape, Slice, Split, Squeeze, Transpose,
)  # fmt: skip
"""What is bound by memory and rounds its results once: in 16 bits where all data come so, with parameters rounded too.
Where some data are in float32, all are widened."""

NORMALISATIONS: tuple[type[Op], ...] = (BatchNorm, BatchNormTraining)
"""Like their data in x and residual; what belongs to a channel, parameters and statistics, stays in float32."""
DATA_OF_NORMALISATIONS = frozenset({"x", "residual"})

# Anything else takes and makes float32: softmax, losses, sums and means, exponentials, local response norm.


def half_precision(graph: Graph, workspace: Workspace, *, dtype: str) -> tuple[Graph, Workspace]:
    """Return the graph of a network in which values are stored as `dtype` ("float16", "bfloat16") where that is enough.

    Inputs, outputs, parameters and what updates them stay as they are. A parameter is rounded by a cast, once a run; a
    gradient that is added behind this pass is in 16 bits too, and goes back through that cast to float32. `group_casts`
    makes one operator of these casts, when nobody looks at each by itself any more.
    """
    rewriting = _Rewriting(graph, dtype)
    nodes = [new for node in graph.nodes for new in rewriting.rewritten(node)]
    return rebuild(graph, nodes, specs=rewriting.specs), workspace.restricted(graph)


class _Rewriting:
    """Goes through the nodes in their order and remembers in which types values are at hand."""

    def __init__(self, graph: Graph, dtype: str) -> None:
        self._graph, self._dtype = graph, dtype
        self._public = {*graph.outputs, *graph.updates.values()}
        self._constant = set(graph.params)  # parameters, and what is made of them alone
        self._casts: dict[tuple[Value, str], Value] = {}
        self._widened_for_outside: set[Value] = set()
        self.specs: dict[Value, Spec] = dict(graph.specs)

    def rewritten(self, node: Node) -> Iterator[Node]:
        """Yield the node with the casts that it needs before, and behind it where the world outside reads a result."""
        data = [value for value in node.inputs if value not in self._constant and self._is_float(value)]
        if not data and self._constant.issuperset(node.inputs):
            self._constant.update(node.outputs)
        inputs = []
        for value, wanted in zip(node.inputs, self._wanted(node, data), strict=True):
            if wanted is not None and self.specs[value].dtype != wanted:
                if (value, wanted) not in self._casts:
                    yield self._cast(value, wanted, self._free(f"{value}:{wanted}"))
                value = self._casts[value, wanted]
            inputs.append(value)
        outputs = list(node.outputs)
        restored = []
        specs = node.op.infer_outputs([self.specs[value] for value in inputs])
        for index, (value, spec) in enumerate(zip(node.outputs, specs, strict=True)):
            if spec.dtype in HALVES and value in self._public:
                outputs[index] = self._free(f"{value}:{spec.dtype}")
                restored.append((outputs[index], value))
            self.specs[outputs[index]] = spec
        yield dataclasses.replace(node, inputs=tuple(inputs), outputs=tuple(outputs))
        for narrow, value in restored:
            yield self._cast(narrow, self._graph.specs[value].dtype, value)
            self._casts[value, self._dtype] = narrow
            self._widened_for_outside.add(value)

    def _wanted(self, node: Node, data: list[Value]) -> list[str | None]:
        """The type in which the node takes each of its inputs; None for what is no real number and stays."""
        narrow = isinstance(node.op, IN_HALF)
        if isinstance(node.op, (*LIKE_THEIR_DATA, *NORMALISATIONS)):
            narrow = bool(data) and all(self._is_narrow(value) for value in data)
        names = node.op.input_names
        wanted: list[str | None] = []
        for index, value in enumerate(node.inputs):
            per_channel = isinstance(node.op, NORMALISATIONS) and names[index] not in DATA_OF_NORMALISATIONS
            kind = self._dtype if narrow and not per_channel else "float32"
            wanted.append(kind if self._is_float(value) else None)
        return wanted

    def _is_float(self, value: Value) -> bool:
        return self.specs[value].dtype in FLOATS and self.specs[value].quant is None

    def _is_narrow(self, value: Value) -> bool:
        return self.specs[value].dtype == self._dtype or value in self._widened_for_outside

    def _cast(self, source: Value, dtype: str, name: Value) -> Node:
        self._casts[source, dtype] = name
        self.specs[name] = Spec(self.specs[source].shape, dtype)
        return Node(Cast(dtype), (source,), (name,))

    def _free(self, name: str) -> Value:
        while name in self.specs:
            name += "_"
        return Value(name)
