"""One node of an ONNX file, as the reader's functions see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.table import UnsupportedError
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor, TensorList
from edge_sdk.converters.onnx.translation import OpenBatchError, Translation, elements, known_sizes
from edge_sdk.op import Op
from edge_sdk.ops.shape import Cast
from edge_sdk.spec import BATCH, Array

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto

Number = TypeVar("Number", int, float)


class Call:
    """The inputs and attributes of a node, and the graph that its reader adds to."""

    def __init__(
        self,
        translation: Translation,
        node: NodeProto,
        opset: int,
        inputs: Sequence[Tensor | None],
        inline: Callable[[Any, Sequence[Tensor]], tuple[Tensor, ...]],
        read_by: Callable[[str], set[str]],
    ) -> None:
        self.translation = translation
        self.node = node
        self.opset = opset
        self.inputs = inputs
        self.inline = inline
        """Read a subgraph in place of the node, its inputs given: returns its outputs."""
        self._read_by = read_by
        self._attributes: dict[str, AttributeProto] = {each.name: each for each in node.attribute}

    # What the node says.

    def unsupported(self, why: str, needs: str | None = None) -> UnsupportedError:
        """The error that names this node."""
        return UnsupportedError(f"{described(self.node)}: {why}", needs)

    def has(self, index: int) -> bool:
        """Whether the input was given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int) -> Tensor:
        """An input that must be there."""
        tensor = self.either(index)
        if isinstance(tensor, TensorList):
            raise self.unsupported(f"input {index} is a sequence; wanted a tensor")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An input that may be left out."""
        return self.input(index) if self.has(index) else None

    def sequence(self, index: int) -> TensorList:
        """An input that must be a sequence of tensors."""
        given = self.either(index)
        if not isinstance(given, TensorList):
            raise self.unsupported(f"input {index} is a tensor; wanted a sequence of tensors")
        return given

    def either(self, index: int) -> Tensor:
        """An input that may be a tensor or a sequence of them."""
        given = self.inputs[index] if index < len(self.inputs) else None
        if given is None:
            raise self.unsupported(f"input {index} is missing")
        return given

    def array(self, index: int, what: str) -> Array:
        """An input that must be a constant."""
        array = self.input(index).array
        if array is None:
            raise self.unsupported(f"input {index}, {what}, must be a constant", needs=self.node.input[index])
        return array

    def sizes(self, index: int, what: str) -> tuple[int, ...]:
        """An input of whole numbers that must be constant; an open batch among them is BATCH."""
        array = self.array(index, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise self.unsupported(f"input {index}, {what}, is {array.dtype}{list(array.shape)}; wanted whole numbers")
        return known_sizes([int(size) for size in array.reshape(-1)], described(self.node))

    def wanted(self, index: int) -> bool:
        """Whether the node's output is given a name."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def only_read_by(self, operator: str) -> bool:
        """Whether nodes of one kind, and nothing else, read the node's output."""
        return self._read_by(self.node.output[0]) == {operator}

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number among the attributes."""
        return int(self._attribute(name, "i", 2, default))

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of whole numbers among the attributes."""
        return tuple(int(number) for number in self._attribute(name, "ints", 7, default))

    def real(self, name: str, default: float | None = None) -> float:
        """A number among the attributes."""
        return float(self._attribute(name, "f", 1, default))

    def reals(self, name: str, default: Sequence[float] | None = None) -> tuple[float, ...]:
        """A list of numbers among the attributes."""
        return tuple(float(number) for number in self._attribute(name, "floats", 6, default))

    def text(self, name: str, default: str | None = None) -> str:
        """A string among the attributes."""
        found = self._attribute(name, "s", 3, default)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)

    def texts(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of strings among the attributes."""
        found = self._attribute(name, "strings", 8, default)
        return tuple(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in found)

    def proto(self, name: str, field: str) -> Any:
        """A message among the attributes, such as a tensor or a graph, or None."""
        return getattr(self._attributes[name], field) if name in self._attributes else None

    def given(self, name: str) -> bool:
        """Whether the attribute is there."""
        return name in self._attributes

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from 0."""
        if not -rank <= axis < rank:
            raise self.unsupported(f"axis {axis} of a tensor of rank {rank}")
        return axis % rank

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Different axes counted from 0, in order."""
        found = tuple(sorted(self.axis(axis, rank) for axis in axes))
        if len(set(found)) != len(found):
            raise self.unsupported(f"axes {tuple(axes)} name one twice")
        return found

    def _attribute(self, name: str, field: str, kind: int, default: Any) -> Any:
        found = self._attributes.get(name)
        if found is None:
            if default is None:
                raise self.unsupported(f"attribute {name} is missing")
            return default
        if found.type not in (kind, 0):
            raise self.unsupported(f"attribute {name} is of another type than ONNX says")
        return getattr(found, field)

    # What is added to the graph.

    def apply(self, op: Op, *inputs: Held) -> Held:
        """Add an operator of one output."""
        return self.translation.apply(op, *inputs)

    def tensor(self, held: Held, layout: Layout) -> Tensor:
        """A result."""
        return self.translation.tensor(held, layout)

    def plain(self, tensor: Tensor) -> Held:
        """What holds a tensor in ONNX's order."""
        return self.translation.hold(tensor, plain(tensor.rank))

    def images(self, tensor: Tensor) -> Held:
        """What holds a tensor with its channels last."""
        return self.translation.hold(tensor, channels_last(tensor.rank))

    def result(self, held: Held) -> Tensor:
        """A result in ONNX's order."""
        return self.tensor(held, plain(self.translation.spec(held).rank))

    def shape(self, held: Held) -> tuple[int, ...]:
        """The shape as held."""
        return self.translation.spec(held).shape

    def dtype(self, held: Held) -> str:
        """The element type."""
        return self.translation.spec(held).dtype

    def number(self, value: float, like: Held | Tensor) -> Constant:
        """A scalar constant of the type of another value."""
        dtype = like.dtype if isinstance(like, Tensor) else self.dtype(like)
        return Constant(np.array(value).astype(dtype))

    def cast(self, held: Held, dtype: str) -> Held:
        """What is held in another type."""
        return held if self.dtype(held) == dtype else self.apply(Cast(dtype), held)

    def fixed(self, tensor: Tensor) -> tuple[int, ...]:
        """The shape, which must have no open batch."""
        if BATCH in tensor.shape:
            raise OpenBatchError(f"{described(self.node)}: needs the size of the batch")
        return tensor.shape

    def aligned(self, tensors: Sequence[Tensor]) -> tuple[list[Held], Layout]:
        """Tensors in one layout, ready to be broadcast against each other: the largest computed one's."""
        rank = max(tensor.rank for tensor in tensors)
        computed = [t for t in tensors if t.rank == rank and not isinstance(t.held, Constant)]
        known = [tensor for tensor in tensors if tensor.rank == rank]
        largest = max(computed or known, key=lambda t: (elements(t.shape), not t.layout.plain))
        layout = largest.layout
        if layout.inner and any(t.rank == 2 and t.shape[1] not in (1, largest.shape[1]) for t in tensors):
            layout = plain(rank)
        held = [self._spread(tensor, layout, rank, bool(computed)) for tensor in tensors]
        return held, layout

    def _spread(self, tensor: Tensor, layout: Layout, rank: int, beside_larger: bool) -> Held:
        """A tensor with as many axes as the others; constants lose those that broadcasting gives back."""
        if isinstance(tensor.held, Constant):
            if layout.inner or tensor.layout.inner:
                self.translation.budget.take(tensor.held.array.nbytes, described(self.node))
            array = layout.hold(
                tensor.layout.release(tensor.held.array).reshape((1,) * (rank - tensor.rank) + tensor.shape)
            )
            while beside_larger and array.ndim and array.shape[0] == 1:
                array = array.reshape(array.shape[1:])
            return Constant(array, tensor.held.name)
        if tensor.rank < rank:
            shape = (1,) * (rank - tensor.rank) + tensor.shape
            tensor = self.result(self.translation.reshape(self.plain(tensor), shape))
        return self.translation.hold(tensor, layout)


def described(node: NodeProto) -> str:
    """How messages name a node."""
    name = node.name or (node.output[0] if node.output else "")
    return f"{node.op_type} (node {name[:80]!r})"
