"""Random programs for Hypothesis, and an interpreter that knows nothing of passes and memory plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edge_sdk.builder import Builder
from edge_sdk.graph import Graph
from edge_sdk.kernel import call_arguments, find_kernel, load_device
from edge_sdk.ops.activation import Relu, Relu6, Tanh
from edge_sdk.ops.control import FullLike, Identity
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Maximum, Sub
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.shape import Concat, Split
from edge_sdk.spec import BATCH, Array, Spec, Value
from edge_sdk.workspace import Workspace

IMAGE = (4, 3, 2)  # height, width, channels
HALVES = (IMAGE[2], IMAGE[2])


def interpret(graph: Graph, workspace: Mapping[str, Array], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Compute every value of a bound graph into an array of its own, by the reference kernels."""
    load_device("reference")
    values: dict[str, Array] = {value: workspace[value].copy() for value in graph.params}
    values |= {value: np.array(feeds[value]) for value in graph.inputs}
    for node in graph.nodes:
        kernel = find_kernel(node.op, "reference", [graph.specs[value] for value in node.inputs])
        assert kernel is not None
        outputs = [np.zeros(graph.specs[value].shape, graph.specs[value].numpy_dtype) for value in node.outputs]
        kernel.bind(node.op, call_arguments(outputs), [values[value] for value in node.inputs])()
        values.update(zip(node.outputs, outputs, strict=True))
    return values


def largest(values: Mapping[str, Array]) -> float:
    """The largest magnitude among all values: what rounding errors are relative to, after any cancellation."""
    return max(1.0, *(float(np.max(np.abs(array))) for array in values.values()))


def feeds_for(graph: Graph, batch: int = 2, seed: int = 0) -> dict[str, Array]:
    """Standard normal numbers for every input of a float graph."""
    random = np.random.default_rng(seed)
    specs = {value: graph.specs[value].bind(batch) for value in graph.inputs}
    return {value: random.standard_normal(spec.shape).astype(spec.numpy_dtype) for value, spec in specs.items()}


class _Program:
    """A graph in the making over images of one shape, so that any operator may follow any other."""

    def __init__(self, draw: Callable[[Any], Any], dtype: str) -> None:
        self.draw = draw
        self.dtype = dtype
        self.random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.g = Builder("random")
        self.workspace = Workspace()
        self.values = [self.g.input(name, Spec((BATCH, *IMAGE), dtype)) for name in ("a", "b")]
        self.kernels: list[Value] = []

    def param(self, name: str, *shape: int, low: float = -0.5, high: float = 0.5) -> Value:
        """A parameter of uniform numbers, its name made free."""
        name = f"{name}{len(self.g.params)}"
        self.workspace[name] = self.random.uniform(low, high, shape).astype(self.dtype)
        return self.g.param(name, Spec(shape, self.dtype))

    def any(self) -> Value:
        """A value computed so far."""
        return self.draw(st.sampled_from(self.values))

    def unary(self) -> None:
        """An operator of one value; dropout without a step is the identity."""
        op = self.draw(st.sampled_from([Relu(), Relu6(), Tanh(), Identity(), Dropout(0.5), FullLike(value=0.5)]))
        self.values.append(self.g.add(op, self.any()))

    def binary(self) -> None:
        """An operator of two values, which may be the same one."""
        self.values.append(self.g.add(self.draw(st.sampled_from([Add(), Sub(), Maximum()])), self.any(), self.any()))

    def conv(self) -> None:
        """A convolution that may share its weights with another one."""
        if self.kernels and self.draw(st.booleans()):
            weight = self.draw(st.sampled_from(self.kernels))
        else:
            weight = self.param("kernel", IMAGE[2], 3, 3, IMAGE[2])
            self.kernels.append(weight)
        bias = (self.param("bias", IMAGE[2]),) if self.draw(st.booleans()) else ()
        self.values.append(self.g.add(Conv2D(padding="same"), self.any(), weight, *bias))

    def depthwise(self) -> None:
        """A convolution of each channel by itself."""
        weight = self.param("depthwise", 1, 3, 3, IMAGE[2])
        self.values.append(self.g.add(DepthwiseConv2D(padding="same"), self.any(), weight))

    def batch_norm(self) -> None:
        """A batch norm, mostly of the newest value, as networks have it."""
        x = self.values[-1] if self.draw(st.booleans()) else self.any()
        parts = [self.param(part, IMAGE[2]) for part in ("scale", "offset", "mean")]
        variance = self.param("variance", IMAGE[2], low=0.5, high=2.0)
        self.values.append(self.g.add(BatchNorm(), x, *parts, variance))

    def wide(self) -> None:
        """Twice as many channels and back again: values of another size, and an operator of two outputs."""
        both = self.g.add(Concat(3), self.any(), self.any())
        self.values.extend(self.g.add_multi(Split(3, HALVES), both))

    def constant(self) -> None:
        """Something that depends on parameters alone."""
        offset = self.g.add(Relu(), self.g.add(Add(), self.param("left", IMAGE[2]), self.param("right", IMAGE[2])))
        self.values.append(self.g.add(Add(), self.any(), offset))

    def state(self) -> None:
        """A parameter that the graph updates, with its old value read before or after."""
        state = self.param("state", IMAGE[2])
        early = self.draw(st.booleans())
        if early:
            self.values.append(self.g.add(Add(), self.any(), state))
        self.g.update(state, self.g.add(Add(), state, self.param("step", IMAGE[2])))
        if not early:
            self.values.append(self.g.add(Sub(), self.any(), state))


@st.composite
def programs(
    draw: Callable[[Any], Any], dtype: str = "float64", *, updates: bool = False, most: int = 12
) -> tuple[Graph, Workspace]:
    """A graph of one to `most` statements with one to three outputs, and its parameters."""
    program = _Program(draw, dtype)
    kinds = ["unary", "binary", "conv", "depthwise", "batch_norm", "wide", "constant", *(["state"] if updates else [])]
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=most)):
        getattr(program, kind)()
    computed = program.values[2:] or program.values
    outputs = draw(st.lists(st.sampled_from(computed), min_size=1, max_size=3, unique=True))
    return program.g.build(*outputs), program.workspace
