"""The one place where an operator is declared: attributes, shape inference, gradient."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from edge_sdk.errors import FormatError, GraphError, ShapeError, suggestion
from edge_sdk.spec import Spec, Value

if TYPE_CHECKING:
    from edge_sdk.builder import Builder
    from edge_sdk.graph import Node

Item = TypeVar("Item")

OPERATORS: dict[str, type[Op]] = {}
"""Every declared operator by name; an op declared outside the package joins by being imported."""


@dataclasses.dataclass(frozen=True)
class Members:
    """How the inputs of a variadic operator fall into members that are treated alike, behind `shared` ones for all."""

    shared: int
    inputs: int
    """Of each member, in a row."""
    outputs: int

    def each(self, inputs: Sequence[Item], outputs: Sequence[Item]) -> Iterator[tuple[Sequence[Item], Sequence[Item]]]:
        """Yield the inputs and the outputs of one member after the other, of names or arrays."""
        for number in range((len(inputs) - self.shared) // self.inputs):
            first, to = self.shared + number * self.inputs, number * self.outputs
            yield inputs[first : first + self.inputs], outputs[to : to + self.outputs]


@dataclasses.dataclass(frozen=True)
class Op:
    """An operator and its attributes. A subclass is a frozen dataclass whose fields are the attributes.

    A subclass defines `infer(self, x: Spec, …) -> Spec | tuple[Spec, …]`, whose parameters name the inputs
    (those with the default None are optional and come last), and, when it can be differentiated,
    `grad(self, g: Builder, node: Node, dy: Value, …)`, which adds nodes to g and returns one value or None per input.
    """

    name: ClassVar[str]
    input_names: ClassVar[tuple[str, ...]]
    required_inputs: ClassVar[int]
    variadic: ClassVar[bool]
    in_place: ClassVar[Mapping[int, int]] = {}
    """Output index → index of the input whose memory that output may overwrite; of one with members, in a member."""
    shape_only: ClassVar[frozenset[str]] = frozenset()
    """Names of inputs of which only the shape is used: their contents need not live until this op."""
    pure: ClassVar[bool] = True
    """Whether equal inputs give equal outputs, so that two nodes may be merged."""
    infer: ClassVar[Callable[..., Spec | tuple[Spec, ...]]]
    grad: ClassVar[Callable[..., Sequence[Value | None]]]

    @property
    def members(self) -> Members | None:
        """How the inputs of a variadic operator fall into members, if they do."""
        return None

    def __init_subclass__(cls, name: str, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if name in OPERATORS:
            raise TypeError(f"operator {name!r} is declared twice: {OPERATORS[name].__module__} and {cls.__module__}")
        if "infer" not in cls.__dict__:
            raise TypeError(f"operator {name!r} declares no infer()")
        parameters = list(inspect.signature(cls.infer).parameters.values())[1:]
        cls.name = name
        cls.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        cls.input_names = tuple(p.name for p in parameters)
        cls.required_inputs = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in parameters)
        OPERATORS[name] = cls

    def overwrites(self, output: int) -> int | None:
        """Return the index of the input whose memory an output may overwrite, or None."""
        if self.members is None:
            return self.in_place.get(output)
        member, place = divmod(output, self.members.outputs)
        source = self.in_place.get(place)
        return None if source is None else self.members.shared + member * self.members.inputs + source

    def infer_outputs(self, specs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Return the specs of the outputs; raises ShapeError when the inputs do not fit the operator."""
        wanted, most = self.required_inputs, len(self.input_names)
        if len(specs) < wanted or (len(specs) > most and not self.variadic):
            count = str(wanted) if wanted == most else f"{wanted} to {most}"
            raise ShapeError(f"{self.name} takes {count} inputs ({', '.join(self.input_names)}), got {len(specs)}")
        result = self.infer(*specs)
        return result if isinstance(result, tuple) else (result,)

    def gradients(self, g: Builder, node: Node, cotangents: Sequence[Value | None]) -> Sequence[Value | None]:
        """Add the backward program of `node` to g: one value, or None for no gradient, per input."""
        if not hasattr(type(self), "grad"):
            raise GraphError(f"{self.name} has no gradient (node {node.outputs[0]!r}); put stop_gradient before it")
        return self.grad(g, node, *cotangents)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes by name, in declaration order."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def operator_from_attributes(name: str, attributes: Mapping[str, Any]) -> Op:
    """Rebuild an operator from its name and JSON attributes; raises FormatError when they do not fit."""
    cls = OPERATORS.get(name)
    if cls is None:
        raise FormatError(
            f"operator {name!r} is not known{suggestion(name, OPERATORS)}; "
            "if it is your own, import the module that declares it first"
        )
    fields = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(attributes) - fields)
    if unknown:
        raise FormatError(f"{name}: unknown attribute {unknown[0]!r}{suggestion(unknown[0], fields)}")
    declared = _attribute_types(name)
    values = {key: _as_declared(name, key, value, declared[key]) for key, value in attributes.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{name}: {error}") from error


@functools.cache
def _attribute_types(name: str) -> Mapping[str, Any]:
    """The annotations of an operator's attributes, evaluated once: a file has hundreds of nodes of a few operators."""
    return typing.get_type_hints(OPERATORS[name])


def _as_declared(op: str, key: str, value: Any, declared: Any) -> Any:
    """Turn a JSON value into the declared attribute type: lists become tuples, and the kind is checked."""
    if _fits(value := _tuples(value), declared):
        try:
            return float(value) if declared is float else value
        except OverflowError as error:
            raise FormatError(f"{op}: attribute {key} is too large for a number with a decimal point") from error
    raise FormatError(f"{op}: attribute {key} is {value!r}, wanted {declared}")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _fits(value: Any, declared: Any) -> bool:
    """Tell whether a JSON value is of a declared type made of numbers, strings, tuples, unions and literals."""
    if isinstance(declared, typing.TypeAliasType) if hasattr(typing, "TypeAliasType") else False:
        declared = declared.__value__
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if declared is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if declared is None or declared is type(None):
        return value is None
    return isinstance(value, declared)
