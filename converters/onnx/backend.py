"""The engine as a backend of ONNX's own conformance tests, `onnx.backend.base.Backend`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from edge_sdk.converters.onnx.proto import tensor_array
from edge_sdk.converters.onnx.read_graph import Border, ReadGraph, inputs_behind, read_graph
from edge_sdk.converters.onnx.table import UnsupportedError
from edge_sdk.errors import GraphError, UsageError
from edge_sdk.session import Session
from edge_sdk.spec import Array

COMPUTED_BYTES = 1 << 30
Given: TypeAlias = Array | list[Array]
"""A tensor, or a sequence of them."""


class PreparedModel(BackendRep):
    """A model that is translated when it runs, for the shapes that it is then given.

    Inputs that shapes depend on (a shape, axes, repeats, indices that scatter) become constants with the values that
    were given.
    """

    def __init__(self, model: ModelProto, device: str) -> None:
        self.model = model
        self.asked = device
        self.device = ""
        """On which of the engine's devices the last run was computed."""
        initialised = {tensor.name for tensor in model.graph.initializer}
        self.input_names = [info.name for info in model.graph.input if info.name not in initialised]

    def run(self, inputs: Any, **keywords: Any) -> tuple[Any, ...]:
        """Return the outputs for a list of arrays, or a mapping of names to arrays."""
        if isinstance(inputs, Mapping):
            given = {str(name): _given(array) for name, array in inputs.items()}
        else:
            arrays = inputs if isinstance(inputs, list | tuple) else [inputs]
            given = {name: _given(array) for name, array in zip(self.input_names, arrays, strict=False)}
        read = self._translated(given)
        computed: Mapping[str, Array] = {}
        if read.graph.outputs:
            feeds: dict[str, Array] = {}
            for name, border in read.inputs.items():
                array = given[name]
                pairs = [(border, array)] if border.parts is None else list(zip(border.parts, array, strict=True))
                for part, one in pairs:
                    if part.value is not None:
                        feeds[part.value] = np.array(part.layout.hold(np.asarray(one)), order="C")
            self.device = self.asked
            computed = Session(read.graph, read.workspace, self.device, precise=True).run(feeds)
        names = [info.name for info in self.model.graph.output]
        values = [_released(read.outputs[name], computed) for name in names]
        return tuple(namedtupledict("Outputs", names)(*values))

    def _translated(self, given: Mapping[str, Given]) -> ReadGraph:
        """Translate, making constants of inputs that have to be, until it works."""
        constants: dict[str, Array] = {}
        while True:
            single = {name: array for name, array in given.items() if not isinstance(array, list)}
            try:
                return read_graph(
                    self.model,
                    constants=constants,
                    shapes={name: array.shape for name, array in single.items() if name not in constants},
                    sequences={name: [e.shape for e in a] for name, a in given.items() if isinstance(a, list)},
                    computed_bytes=COMPUTED_BYTES,
                )
            except UnsupportedError as error:
                needed = inputs_behind(self.model, error.needs) if error.needs else ()
                more = {name: single[name] for name in needed if name in single and name not in constants}
                if not more and error.needs:  # it is made inside of a function or subgraph
                    more = {
                        name: array
                        for name, array in single.items()
                        if array.dtype.kind in "iub" and array.ndim <= 1 and name not in constants
                    }
                if not more:
                    raise
                constants |= more


def _array(given: Any) -> Array:
    return tensor_array(given, None) if isinstance(given, TensorProto) else np.asarray(given)


def _given(value: Any) -> Given:
    """An array, or the arrays of a sequence."""
    return [_array(each) for each in value] if isinstance(value, list) else _array(value)


def _released(border: Border, computed: Mapping[str, Array]) -> Given:
    if border.parts is not None:
        return [np.asarray(_released(part, computed)) for part in border.parts]
    array = border.array if border.value is None else border.layout.release(computed[border.value])
    if array is None:
        raise GraphError("an output that is neither a constant nor computed")
    return np.array(array, order="C")


class EdgeBackend(Backend):
    """`prepare`, `run_model`, `run_node` and `supports_device` as ONNX's test runner calls them."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **_keywords: Any) -> PreparedModel:
        """Return the model ready to run; shapes are bound, and mistakes found, when it does."""
        return PreparedModel(model, _device(device))

    @classmethod
    def run_model(cls, model: ModelProto, inputs: Any, device: str = "CPU", **_keywords: Any) -> tuple[Any, ...]:
        """Run a model once."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,  # noqa: ARG003 - the interface's
        **keywords: Any,
    ) -> tuple[Any, ...]:
        """Run one operator of the newest opset that is read."""
        arrays = [_array(array) for array in (inputs if isinstance(inputs, list | tuple) else [inputs])]
        names = [name for name in node.input if name]
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, arrays, strict=True)
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        opset = int(keywords.get("opset_version", NEWEST_OPSET))
        graph = helper.make_graph([node], node.op_type, infos, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        return cls.run_model(model, dict(zip(names, arrays, strict=True)), device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether `device` is a processor; the engine's "reference" kernels may be asked for by name."""
        return device in _DEVICES


NEWEST_OPSET = 21
_DEVICES = {"CPU": "cpu", "CPU:0": "cpu", "cpu": "cpu", "reference": "reference"}


def _device(name: str) -> str:
    if name not in _DEVICES:
        raise UsageError(f"device {name!r} is not one of {', '.join(_DEVICES)}")
    return _DEVICES[name]
