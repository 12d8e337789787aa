"""An ONNX graph in the making: nodes, stored tensors, names, and tensors in other orders of axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.proto import onnx_package
from edge_sdk.errors import ExportError
from edge_sdk.spec import BATCH, Array, Spec

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

IMAGE_RANK = 4


@dataclass(frozen=True)
class Written:
    """A tensor of the file: its name, in which order of axes the engine holds it, and its spec as held."""

    name: str
    layout: Layout
    spec: Spec

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in ONNX's order."""
        return self.layout.onnx_shape(self.spec.shape)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.spec.rank

    def axis(self, held: int) -> int:
        """The ONNX axis of one that the engine holds at `held`."""
        return self.layout.order[held]


class OnnxGraph:
    """Collects nodes and initializers.

    Attributes:
        opset: The version of ONNX's operators.
        operators: How many nodes of each operator were written.
    """

    def __init__(self, opset: int, taken: Iterable[str]) -> None:
        self.opset = opset
        self.operators: Counter[str] = Counter()
        self._onnx = onnx_package()
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._names = set(taken)
        self._numbers: dict[tuple[str, bytes, tuple[int, ...]], Written] = {}
        self._arranged: dict[tuple[str, Layout], Written] = {}

    def emit(
        self,
        operator: str,
        inputs: Sequence[Written | None],
        outputs: Written | Sequence[Written],
        **attributes: Any,
    ) -> None:
        """Append a node; raises ExportError where the opset has no such operator. None is an input left out."""
        made = [outputs] if isinstance(outputs, Written) else list(outputs)
        self._check_operator(operator, made[0].name)
        read = ["" if tensor is None else tensor.name for tensor in inputs]
        names = [tensor.name for tensor in made]
        self._nodes.append(self._onnx.helper.make_node(operator, read, names, made[0].name, **attributes))
        self.operators[operator] += 1

    def has(self, operator: str) -> bool:
        """Tell whether the opset has an operator."""
        return bool(self._onnx.defs.has(operator, self.opset))

    def free(self, hint: str) -> str:
        """Return a name that nothing has yet."""
        name, count = hint, 0
        while name in self._names:
            count += 1
            name = f"{hint}.{count}"
        self._names.add(name)
        return name

    def temporary(self, name: str, layout: Layout, spec: Spec) -> Written:
        """Name a tensor that is no value of the graph."""
        return Written(self.free(name), layout, spec)

    def before(self, y: Written, what: str) -> Written:
        """Name a tensor of y's kind, from which y is computed."""
        return self.temporary(f"{y.name}/{what}", y.layout, y.spec)

    def initializer(self, name: str, array: Array, layout: Layout, spec: Spec) -> Written:
        """Store an array, which lies in ONNX's order, under a free name."""
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        self._names.add(name)
        self._initializers.append(self._onnx.numpy_helper.from_array(stored, name))
        return Written(name, layout, spec)

    def numbers(self, array: Array) -> Written:
        """Return small numbers that an operator takes as an input, such as limits; equal ones are stored once."""
        key = (array.dtype.name, array.tobytes(), array.shape)
        if key not in self._numbers:
            spec = Spec(array.shape, array.dtype.name)
            self._numbers[key] = self.initializer(self.free("constant"), array, plain(array.ndim), spec)
        return self._numbers[key]

    def number(self, number: float, like: Written) -> Written:
        """Return a number of the type of a tensor."""
        return self.numbers(np.array(number, like.spec.numpy_dtype))

    def stored_number(self, number: float, like: Written) -> TensorProto:
        """Return a number of the type of a tensor as an attribute."""
        stored: TensorProto = self._onnx.numpy_helper.from_array(np.array([number], like.spec.numpy_dtype))
        return stored

    def integers(self, numbers: Sequence[int]) -> Written:
        """Return whole numbers, such as axes or a shape."""
        return self.numbers(np.array(numbers, np.int64))

    def reshape(self, x: Written, y: Written) -> None:
        """Write y as x in y's shape, in which -1 is the open batch."""
        self.emit("Reshape", [x, self.integers(y.shape)], y)

    def arranged(self, x: Written, layout: Layout) -> Written:
        """Return x in another layout; equal copies are made once."""
        if x.layout == layout:
            return x
        if (x.name, layout) not in self._arranged:
            what = "channels_first" if layout == channels_last(x.rank) else "moved"
            y = self.temporary(f"{x.name}/{what}", layout, x.spec)
            self.move(x, y)
            self._arranged[x.name, layout] = y
        return self._arranged[x.name, layout]

    def move(self, x: Written, y: Written) -> None:
        """Write y as x in y's layout; a Reshape is enough where only axes of size 1 move."""
        if x.layout == y.layout:
            self.emit("Identity", [x], y)
        elif x.layout.inner:
            # (n, c · h · w) is (n, c, h, w), moved to (n, h, w, c), and flat again.
            channels, *sizes = x.layout.inner
            held = x.spec.with_shape((x.spec.shape[0], *sizes, channels))
            images = self.temporary(f"{x.name}/images", channels_last(IMAGE_RANK), held)
            self.reshape(x, images)
            self.reshape(self.arranged(images, plain(IMAGE_RANK)), y)
        elif y.layout.inner:
            raise ExportError(f"{y.name!r}: only images are flattened channels first")
        else:
            # The new ONNX axis i is what the engine holds at inverse[i].
            order = [x.layout.order[held] for held in y.layout.inverse]
            wide = [axis for axis in order if x.shape[axis] != 1]
            if wide == sorted(wide):
                self.reshape(x, y)
            else:
                self.emit("Transpose", [x], y, perm=order)

    def dtype_code(self, dtype: str) -> int:
        """ONNX's number of an element type."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def build(self, name: str, inputs: Sequence[Written], outputs: Sequence[Written]) -> GraphProto:
        """Return the whole graph."""
        sides = [[self._value_info(tensor) for tensor in side] for side in (inputs, outputs)]
        result: GraphProto = self._onnx.helper.make_graph(self._nodes, name, *sides, self._initializers)
        return result

    def _check_operator(self, operator: str, name: str) -> None:
        if not self.has(operator):
            versions = [s.since_version for s in self._onnx.defs.get_all_schemas_with_history() if s.name == operator]
            raise ExportError(
                f"{name!r} needs ONNX's operator {operator}, which opset {self.opset} does not have; choose opset "
                f"{min(versions)} or later"
            )

    def _value_info(self, tensor: Written) -> Any:
        sizes = ["batch" if size == BATCH else size for size in tensor.shape]
        return self._onnx.helper.make_tensor_value_info(tensor.name, self.dtype_code(tensor.spec.dtype), sizes)
