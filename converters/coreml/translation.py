"""From ONNX's operators to those of Core ML's model intermediate language (MIL).

Core ML takes images channels first, as ONNX does. So a network is first put in ONNX's form, by the writers of
edge_sdk/converters/onnx, which know where axes lie, and each of its nodes becomes one or a few MIL operations.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edge_sdk.converters.coreml.palette import lookup
from edge_sdk.converters.onnx.proto import onnx_package
from edge_sdk.errors import ExportError, MissingExtraError
from edge_sdk.spec import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Result = Any
"""A MIL variable, or an array that is known now."""
Translate = Callable[["MILNode"], "Result | Sequence[Result]"]
F = TypeVar("F", bound=Translate)
TRANSLATIONS: dict[str, Translate] = {}
"""Every ONNX operator that has a form in Core ML, by name."""
_FAMILIES = ("conv", "elementwise", "shape")


def translates(*operators: str) -> Callable[[F], F]:
    """Register the function that writes ONNX operators of these names with MIL's."""

    def register(function: F) -> F:
        for operator in operators:
            if operator in TRANSLATIONS:
                raise TypeError(f"ONNX {operator} is translated to Core ML twice")
            TRANSLATIONS[operator] = function
        return function

    return register


def translations() -> Mapping[str, Translate]:
    """The whole table, from every family's file."""
    for family in _FAMILIES:
        importlib.import_module(f"edge_sdk.converters.coreml.translate_{family}")
    return TRANSLATIONS


def coreml_package() -> Any:
    """The package `coremltools`; raises MissingExtraError where it is not installed."""
    # On systems other than Apple's it warns of every library that could run a model.
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    try:
        import coremltools
    except ImportError as error:
        raise MissingExtraError(
            "Core ML packages need the package coremltools: pip install 'edge-sdk[coreml]'"
        ) from error
    return coremltools


class MILNode:
    """One ONNX node, as the function that translates it sees it.

    Attributes:
        mb: MIL's builder.
        name: What the main MIL operation is to be called.
    """

    def __init__(
        self,
        node: NodeProto,
        values: Mapping[str, Result],
        shapes: Mapping[str, tuple[int, ...]],
        palette_bits: int | None,
    ) -> None:
        from coremltools.converters.mil import Builder

        self.mb = Builder
        self.operator = node.op_type
        self.name = node.output[0]
        self.outputs = tuple(node.output)
        self._node, self._values, self._shapes, self._palette_bits = node, values, shapes, palette_bits
        helper = onnx_package().helper
        self._attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}

    def has(self, index: int) -> bool:
        """Tell whether an input was given."""
        return index < len(self._node.input) and bool(self._node.input[index])

    def input(self, index: int) -> Result:
        """A MIL variable or an array."""
        return self._values[self._node.input[index]]

    def inputs(self) -> list[Result]:
        """All of them."""
        return [self.input(index) for index in range(len(self._node.input))]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of an input."""
        return tuple(int(size) for size in self.input(index).shape)

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output."""
        return self._shapes[self.outputs[index]]

    def array(self, index: int) -> Array:
        """An input that must be known now."""
        found = self.input(index)
        if not isinstance(found, np.ndarray):
            raise self.no_form(f"whose input {self._node.input[index]!r} is computed")
        return found

    def weight(self, index: int) -> Result:
        """A layer's weight: where weights are palettes, read from its table."""
        found = self.input(index)
        if self._palette_bits is None or not isinstance(found, np.ndarray):
            return found
        return lookup(self.mb, found, self._palette_bits, self.name)

    def integers(self, index: int) -> list[int]:
        """A known input as whole numbers."""
        return [int(number) for number in self.array(index).reshape(-1)]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the ONNX node."""
        found = self._attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else found

    def no_form(self, why: str = "") -> ExportError:
        """The error that names the node."""
        return ExportError(f"no form in Core ML of {self.operator} (node {self.name!r}) {why}".rstrip())


def translate(model: ModelProto, image: Result, palette_bits: int | None = None) -> Result:
    """Add the nodes of an ONNX model of one input and one output to the MIL program that is being built.

    With `palette_bits` weights of so few values as indices of that many bits can tell apart are stored as tables.

    Raises:
        ExportError: operators without a form in Core ML, all of them named.
    """
    onnx = onnx_package()
    known = translations()
    unknown = [f"{node.op_type} (node {node.name!r})" for node in model.graph.node if node.op_type not in known]
    if unknown:
        raise ExportError(f"no form in Core ML of {', '.join(unknown)}")
    values: dict[str, Result] = {model.graph.input[0].name: image}
    for tensor in model.graph.initializer:
        values[tensor.name] = onnx.numpy_helper.to_array(tensor)
    shapes = _shapes(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))
    for node in model.graph.node:
        call = MILNode(node, values, shapes, palette_bits)
        made = known[node.op_type](call)
        results = list(made) if isinstance(made, list | tuple) else [made]
        values.update(zip(node.output, results, strict=True))
    return values[model.graph.output[0].name]


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    infos = (*model.graph.value_info, *model.graph.output, *model.graph.input)
    return {info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in infos}
