"""Operators that are functions of others: by the file itself, or by ONNX's own definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edge_sdk.converters.onnx.proto import onnx_package
from edge_sdk.converters.onnx.tensor import Tensor, TensorList
from edge_sdk.errors import FormatError

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, NodeProto

_CODES = {
    "float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11,
}  # fmt: skip


def defined_by_onnx(name: str, opset: int) -> bool:
    """Whether ONNX defines the operator by a function of others."""
    schema = _schema(name, opset)
    return schema is not None and bool(schema.has_function or schema.has_context_dependent_function)


def definition(node: NodeProto, opset: int, inputs: Sequence[Tensor | None]) -> FunctionProto | None:
    """The newest definition of a node's operator that its file's opset knows, or None."""
    onnx = onnx_package()
    schema = _schema(node.op_type, opset)
    if schema is None:
        return None
    function = onnx.FunctionProto()
    if plain := [version for version in schema.function_opset_versions if version <= opset]:
        function.ParseFromString(schema.get_function_with_opset_version(max(plain)))
    elif contextual := [version for version in schema.context_dependent_function_opset_versions if version <= opset]:
        types = [b"" if tensor is None else _type(onnx, tensor) for tensor in inputs]
        asked = onnx.NodeProto()
        asked.CopyFrom(node)
        try:
            found = schema.get_context_dependent_function_with_opset_version(
                max(contextual), asked.SerializeToString(), types
            )
        except (ValueError, RuntimeError, TypeError) as error:  # what ONNX says of inputs that do not fit
            raise FormatError(f"{node.op_type} (node {node.name[:80]!r}): {str(error)[:200]}") from error
        function.ParseFromString(found)
    else:
        return None
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name and name not in {given.name for given in node.attribute}:
            function.attribute_proto.append(attribute.default_value)
    result: FunctionProto = function
    return result


def _schema(name: str, opset: int) -> Any:
    onnx = onnx_package()
    try:
        return onnx.defs.get_schema(name, opset, "")
    except onnx.defs.SchemaError:
        return None


def _type(onnx: Any, tensor: Tensor) -> bytes:
    if isinstance(tensor, TensorList):
        element = onnx.helper.make_tensor_type_proto(_CODES[tensor.parts[0].dtype] if tensor.parts else 1, None)
        sequence: bytes = onnx.helper.make_sequence_type_proto(element).SerializeToString()
        return sequence
    shape = [None if size < 0 else size for size in tensor.shape]
    serialized: bytes = onnx.helper.make_tensor_type_proto(_CODES[tensor.dtype], shape).SerializeToString()
    return serialized


def with_attributes(node: NodeProto, given: Mapping[str, AttributeProto]) -> NodeProto:
    """A node of a function's body with the attributes of the node that calls it, in its subgraphs too."""
    if not _refers(node):
        return node
    result = type(node)()
    result.CopyFrom(node)
    _fill(result, given)
    return result


def _refers(node: NodeProto) -> bool:
    return any(
        attribute.ref_attr_name or any(_refers(inner) for graph in _graphs(attribute) for inner in graph.node)
        for attribute in node.attribute
    )


def _fill(node: NodeProto, given: Mapping[str, AttributeProto]) -> None:
    attributes = list(node.attribute)
    del node.attribute[:]
    for attribute in attributes:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in given:
                filled = node.attribute.add()
                filled.CopyFrom(given[attribute.ref_attr_name])
                filled.name = attribute.name
            continue
        kept = node.attribute.add()
        kept.CopyFrom(attribute)
        for graph in _graphs(kept):
            for inner in graph.node:
                _fill(inner, given)


def _graphs(attribute: AttributeProto) -> Iterable[Any]:
    return (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)
