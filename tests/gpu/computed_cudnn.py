"""The real cuDNN with the two things that need a GPU stood in for: proposing engines, and running them.

What runs is computed from the descriptors as cuDNN itself reads them back, at the addresses that a plan was given.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gpu.memory_views import strided

from edge_sdk.kernels.gpu.cudnn import Cudnn, CudnnError, Descriptor
from edge_sdk.kernels.gpu.cudnn_names import (
    PROPAGATE_NAN,
    Attribute,
    Backend,
    Data,
    Heuristic,
    Note,
    Pointwise,
    Type,
)
from edge_sdk.spec import Array

WORKSPACE = 1000  # bytes, which every engine here claims and writes
UNSUPPORTED = 3000
DTYPES = {Data.FLOAT: "float32", Data.HALF: "float16", Data.BFLOAT16: "bfloat16"}

FORWARD, DATA, FILTER = (
    Backend.OPERATION_CONVOLUTION_FORWARD,
    Backend.OPERATION_CONVOLUTION_BACKWARD_DATA,
    Backend.OPERATION_CONVOLUTION_BACKWARD_FILTER,
)
ROLES = {
    FORWARD: ("OPERATION_CONVOLUTION_FORWARD", "X", "W", "Y"),
    DATA: ("OPERATION_CONVOLUTION_BWD_DATA", "DX", "W", "DY"),
    FILTER: ("OPERATION_CONVOLUTION_BWD_FILTER", "X", "DW", "DY"),
}


@dataclass(frozen=True)
class Engine:
    """What stands in for the configuration of an engine."""

    index: int
    knobs: tuple[tuple[int, int], ...] = ((3, 1),)
    notes: frozenset[int] = frozenset()
    fails: int = 0
    """The status of its plan."""
    workspace: int = WORKSPACE


ENGINES = (
    Engine(7, notes=frozenset({Note.NONDETERMINISTIC})),
    Engine(4, notes=frozenset({Note.TENSOR_CORE})),
    Engine(9, fails=UNSUPPORTED),
    Engine(1, knobs=((3, 1), (5, 0)), notes=frozenset({Note.STRICT_NAN_PROP})),
    Engine(2, workspace=2**40),
    Engine(5),
)


class ComputedPlan:
    """A plan that computes on the processor."""

    def __init__(self, graph: Descriptor, engine: Engine) -> None:
        self.graph, self.configuration, self.workspace = graph, engine, engine.workspace

    def bound(self, addresses: dict[int, int], workspace: int) -> tuple[dict[int, int], int]:
        return addresses, workspace

    def run(self, bound: tuple[dict[int, int], int]) -> None:
        addresses, workspace = bound
        ctypes.memset(workspace, 0xAB, self.workspace)
        compute(self.graph, addresses)


@dataclass
class Proposals:
    """What was asked of the stand-in."""

    searches: int = 0
    plans: list[int] = field(default_factory=list)


class ComputedCudnn(Cudnn):
    """cuDNN whose engines are those of a list."""

    def __init__(self, functions: Any, engines: Sequence[Engine] = ENGINES) -> None:
        super().__init__(functions, None)
        self.engines, self.asked = engines, Proposals()

    def proposed(self, graph: Descriptor, mode: Heuristic) -> Any:
        self.asked.searches += 1
        return list(self.engines) if mode == Heuristic.A else []

    def configuration(self, graph: Descriptor, index: int, knobs: Sequence[tuple[int, int]]) -> Any:
        for engine in self.engines:
            if (engine.index, engine.knobs) == (index, tuple(knobs)):
                return engine
        raise CudnnError("configuration", UNSUPPORTED, "no such engine")

    def engine_of(self, configuration: Any) -> tuple[int, list[tuple[int, int]], frozenset[int]]:
        return configuration.index, list(configuration.knobs), configuration.notes

    def plan(self, graph: Descriptor, configuration: Any) -> Any:
        self.asked.plans.append(configuration.index)
        self.check("plan", configuration.fails)
        return ComputedPlan(graph, configuration)


def compute(graph: Descriptor, addresses: dict[int, int]) -> None:
    """Compute a graph, in float64, from what cuDNN says of its descriptors. Virtual tensors lie nowhere."""
    virtual: dict[int, Array] = {}
    for operation in graph._kept[Attribute.OPERATIONGRAPH_OPS]:
        if operation.kind == Backend.OPERATION_POINTWISE:
            _compute_pointwise(operation, addresses, virtual)
        else:
            _compute_products(operation, addresses, virtual)


def _compute_products(operation: Descriptor, addresses: dict[int, int], virtual: dict[int, Array]) -> None:
    prefix, *names = ROLES[operation.kind]
    described = operation._kept[Attribute[f"{prefix}_CONV_DESC"]][0]  # which cuDNN reads, but hands no copy out of

    def pair(name: str) -> tuple[int, ...]:
        return described.numbers(Attribute[f"CONVOLUTION_{name}"], Type.INT64, 2)

    geometry = (pair("FILTER_STRIDES"), pair("DILATIONS"), pair("PRE_PADDINGS"), pair("POST_PADDINGS"))
    sought = {FORWARD: "Y", DATA: "DX", FILTER: "DW"}[operation.kind]
    tensors = {name: _Tensor(operation, f"{prefix}_{name}", addresses, virtual) for name in names}
    x, w, y = (np.zeros(one.shape) if name == sought else one.numbers() for name, one in tensors.items())
    made = {FORWARD: y, DATA: x, FILTER: w}[operation.kind]
    _add_products(x, w, y, *geometry, made=made)
    tensors[sought].write(made)


def _compute_pointwise(operation: Descriptor, addresses: dict[int, int], virtual: dict[int, Array]) -> None:
    described = operation._kept[Attribute.OPERATION_POINTWISE_PW_DESCRIPTOR][0]._kept  # cuDNN reads none of it back
    x = _Tensor(operation, "OPERATION_POINTWISE_XDESC", addresses, virtual).numbers()
    if described[Attribute.POINTWISE_MODE] == (Pointwise.ADD,):
        made = x + _Tensor(operation, "OPERATION_POINTWISE_BDESC", addresses, virtual).numbers()
    else:
        assert described[Attribute.POINTWISE_NAN_PROPAGATION] == (PROPAGATE_NAN,)
        made = np.clip(x, 0, described[Attribute.POINTWISE_RELU_UPPER_CLIP][0])
    _Tensor(operation, "OPERATION_POINTWISE_YDESC", addresses, virtual).write(made)


class _Tensor:
    """A tensor of an operation, in memory or only between two operations."""

    def __init__(self, operation: Descriptor, name: str, addresses: dict[int, int], virtual: dict[int, Array]) -> None:
        given = tensor = operation._kept[Attribute[name]][0]
        if operation.kind in ROLES:  # whose copies have a dimension more, of groups, and no number
            tensor = operation.descriptors(Attribute[name], Backend.TENSOR)[0]
        self._number = given.numbers(Attribute.TENSOR_UNIQUE_ID, Type.INT64)[0]
        self._virtual, self.shape = virtual, tensor.numbers(Attribute.TENSOR_DIMENSIONS, Type.INT64, 8)
        self._memory = None
        if not given.numbers(Attribute.TENSOR_IS_VIRTUAL, Type.BOOLEAN)[0]:
            dtype = DTYPES[Data(tensor.numbers(Attribute.TENSOR_DATA_TYPE, Type.DATA_TYPE)[0])]
            strides = tensor.numbers(Attribute.TENSOR_STRIDES, Type.INT64, 8)
            self._memory = strided(addresses[self._number], dtype, self.shape, strides)

    def numbers(self) -> Array:
        return self._virtual[self._number].reshape(self.shape) if self._memory is None else self._memory.numbers()

    def write(self, numbers: Array) -> None:
        if self._memory is None:
            self._virtual[self._number] = numbers
        else:
            self._memory.write(numbers.reshape(self.shape))


def _add_products(
    x: Array, w: Array, y: Array, stride: Any, dilation: Any, before: Any, after: Any, *, made: Array
) -> None:
    """Add to `made` its products of the others: x (n, group, c, h, w), w (group, k, c, r, s), y (n, group, k, p, q)."""
    h, wide = x.shape[3:]
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))
    for i in range(w.shape[3]):
        for j in range(w.shape[4]):
            rows = slice(i * dilation[0], i * dilation[0] + (y.shape[3] - 1) * stride[0] + 1, stride[0])
            columns = slice(j * dilation[1], j * dilation[1] + (y.shape[4] - 1) * stride[1] + 1, stride[1])
            seen, tap = padded[..., rows, columns], w[..., i, j]
            if made is y:
                y += np.einsum("ngcpq,gkc->ngkpq", seen, tap)
            elif made is w:
                tap += np.einsum("ngcpq,ngkpq->gkc", seen, y)
            else:
                seen += np.einsum("ngkpq,gkc->ngcpq", y, tap)
    if made is x:
        x += padded[..., before[0] : before[0] + h, before[1] : before[1] + wide]
