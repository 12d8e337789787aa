"""The graph that is being built from an ONNX file, and what is computed while reading."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.converters.onnx.layout import Layout, channels_last, plain
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.errors import FormatError
from edge_sdk.kernel import call_arguments, find_kernel, load_device
from edge_sdk.op import Op
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.norm import LocalResponseNorm
from edge_sdk.ops.pool import AvgPool2D, MaxPool2D
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import BroadcastTo, Reshape, Transpose
from edge_sdk.spec import BATCH, Array, Spec, Value

OPEN = (1 << 44) + 7
"""What an open batch is in shapes that the file computes with. What is computed from it is as large, and is noticed."""
_DERIVED_FROM_OPEN = range(1 << 36, 1 << 60)
_RESULT_OVERHEAD = 128  # bytes of an array object, so that even millions of tiny constants are noticed


MOST_NODES = 200_000
"""Operators of a network, after loops and functions are written out."""


# Their reference kernels loop over pixels; a file that applies them to large constants would hang its reader.
_SLOW = (Conv2D, DepthwiseConv2D, ConvTranspose2D, MaxPool2D, AvgPool2D, LocalResponseNorm, Resize)
MOST_SLOW_RESULTS = 1 << 16


class OpenBatchError(FormatError):
    """The file computes with the size of the batch in a way that an open batch cannot have."""


@dataclass
class Budget:
    """Bytes that constants which the file computes may still take."""

    left: int

    def allow(self, size: int, what: str) -> None:
        """Raise FormatError where `size` bytes are more than are left; what takes no memory yet is not counted."""
        if size > self.left:
            self.take(size, what)

    def take(self, size: int, what: str) -> None:
        """Note that `size` bytes are needed; raises FormatError when there are no more."""
        self.left -= size + _RESULT_OVERHEAD
        if self.left < 0:
            raise FormatError(
                f"{what}: the constants that the file computes need {size} bytes more than are allowed; if the file is "
                "meant to, give read(…, computed_bytes=…)"
            )


class Translation:
    """Adds operators to a graph; what depends on constants alone is computed at once, by the reference kernels."""

    def __init__(self, name: str, budget: Budget) -> None:
        load_device("reference")
        self.builder = Builder(name)
        self.arrays: dict[str, Array] = {}
        self.budget = budget
        self.where = name
        self.label = ""
        self._params: dict[tuple[object, ...], tuple[Value, Array]] = {}
        self._ordered: dict[tuple[Value, Op], Value] = {}
        self._reshaped: dict[Value, Value] = {}

    def spec(self, held: Held) -> Spec:
        """Shape and type of what is held."""
        if isinstance(held, Constant):
            return Spec(held.array.shape, held.array.dtype.name)
        return self.builder.spec(held)

    def tensor(self, held: Held, layout: Layout) -> Tensor:
        """What is held as an ONNX tensor."""
        return Tensor(held, layout, self.spec(held))

    def value(self, held: Held) -> Value:
        """A constant as a parameter of the graph; the same array only once."""
        if not isinstance(held, Constant):
            return held
        array = held.array
        if array.dtype.kind == "i" and array.size and int(np.abs(array).max()) in _DERIVED_FROM_OPEN:
            raise OpenBatchError(f"{self.where}: computes with the size of the batch")
        key = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        if key not in self._params:
            if not array.flags.c_contiguous or array.dtype.byteorder == ">":
                self.budget.take(array.nbytes, self.where)
                array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
            name = self._free(printable(held.name) or "constant")
            value = self.builder.param(name, Spec(array.shape, array.dtype.name))
            self.arrays[name] = array
            self._params[key] = value, held.array  # the array is kept, so that its address stays its own
        return self._params[key][0]

    def apply(self, op: Op, *inputs: Held) -> Held:
        """Add an operator of one output."""
        return self.apply_multi(op, *inputs)[0]

    def apply_multi(self, op: Op, *inputs: Held) -> tuple[Held, ...]:
        """Add an operator, or compute it where all of its inputs are constants."""
        if all(isinstance(held, Constant) for held in inputs):
            return self._compute(op, [held.array for held in inputs if isinstance(held, Constant)])
        if len(self.builder.nodes) >= MOST_NODES:
            raise FormatError(f"{self.where}: the network comes to more than {MOST_NODES} operators")
        return self.builder.add_multi(op, *(self.value(held) for held in inputs), name=self.label or op.name)

    def hold(self, tensor: Tensor, layout: Layout) -> Held:
        """What holds `tensor` in another layout: constants are turned at once, moved axes of size 1 are a reshape."""
        if tensor.layout == layout or (tensor.rank == 2 and tensor.shape[1] == 1 and layout.order == (0, 1)):
            return tensor.held
        if isinstance(tensor.held, Constant):
            array = layout.hold(tensor.layout.release(tensor.held.array))
            return Constant(array, tensor.held.name)
        if tensor.layout.inner:
            c, *sizes = tensor.layout.inner
            images = self.reshape(tensor.held, (tensor.shape[0], *sizes, c))
            flat = self.reshape(self._permute(images, channels_last(2 + len(sizes)).inverse), tensor.shape)
            return self.hold(self.tensor(flat, plain(2)), layout)
        if layout.inner:
            images = self.reshape(self.hold(tensor, plain(2)), (tensor.shape[0], *layout.inner))
            return self.reshape(
                self._permute(images, channels_last(1 + len(layout.inner)).order), layout.held_shape(tensor.shape)
            )
        return self._permute(tensor.held, tuple(tensor.layout.order.index(axis) for axis in layout.order))

    def reshape(self, held: Held, shape: tuple[int, ...]) -> Held:
        """The elements in another shape; a chain of reshapes is one, and none that changes nothing."""
        if self.spec(held).shape == shape:
            return held
        if isinstance(held, Constant):
            return Constant(self.reshape_array(held.array, shape), held.name)
        if held in self._reshaped:
            return self.reshape(self._reshaped[held], shape)
        reshaped = self._once(held, Reshape(shape))
        self._reshaped[reshaped] = held
        return reshaped

    def reshape_array(self, array: Array, shape: tuple[int, ...]) -> Array:
        """A constant in another shape; what must be copied for that is counted."""
        if not array.flags.c_contiguous:
            self.budget.take(array.nbytes, self.where)
        return array.reshape(shape)

    def count(self, count: int) -> Array:
        """The whole numbers below `count`, int64."""
        self.budget.take(8 * count, self.where)
        return np.arange(count, dtype=np.int64)

    def broadcast(self, held: Held, shape: tuple[int, ...]) -> Held:
        """What is held, broadcast to a shape."""
        if self.spec(held).shape == shape:
            return held
        if isinstance(held, Constant):
            self.budget.allow(elements(shape) * held.array.itemsize, self.where)
            return Constant(np.broadcast_to(held.array, shape), held.name)
        return self.apply(BroadcastTo(shape), held)

    def _permute(self, held: Held, permutation: tuple[int, ...]) -> Held:
        shape = self.spec(held).shape
        moving = [axis for axis in permutation if shape[axis] != 1]
        if moving == sorted(moving):
            return self.reshape(held, tuple(shape[axis] for axis in permutation))
        if isinstance(held, Constant):
            return Constant(held.array.transpose(permutation), held.name)
        return self._once(held, Transpose(permutation))

    def _once(self, held: Value, op: Op) -> Value:
        if (held, op) not in self._ordered:
            self._ordered[held, op] = self.builder.add(op, held, name=f"{held}/{op.name}")
        return self._ordered[held, op]

    def _compute(self, op: Op, arrays: list[Array]) -> tuple[Held, ...]:
        specs = op.infer_outputs(inputs := [Spec(array.shape, array.dtype.name) for array in arrays])
        self.budget.take(sum(spec.bytes for spec in specs), f"{self.where}: {op.name}")
        if isinstance(op, _SLOW) and specs[0].elements > MOST_SLOW_RESULTS:
            raise FormatError(f"{self.where}: {op.name} of constants, {specs[0]}; that belongs into the file")
        kernel = find_kernel(op, "reference", inputs)
        if kernel is None:
            raise FormatError(f"{self.where}: {op.name} cannot be computed on constants")
        outputs = [np.zeros(spec.shape, spec.numpy_dtype) for spec in specs]
        with np.errstate(all="ignore"):
            kernel.bind(op, call_arguments(outputs), arrays)()
        return tuple(Constant(output) for output in outputs)

    def _free(self, name: str) -> str:
        count, free = 0, name
        while free in self.builder.specs:
            count += 1
            free = f"{name}.{count}"
        return free


def printable(name: str) -> str:
    """An ONNX name as a name of a graph's value: letters, digits and _ . / : -, at most 200 of them."""
    return re.sub(r"[^A-Za-z0-9_./:\-]", "_", name).lstrip("./:-")[-200:].lstrip("./:-")


def known_sizes(shape: Sequence[int], where: str) -> tuple[int, ...]:
    """Sizes that the file computed, the open batch as BATCH; raises OpenBatchError where it was computed with."""
    if any(abs(size) in _DERIVED_FROM_OPEN and size != OPEN for size in shape):
        raise OpenBatchError(f"{where}: computes with the size of the batch")
    return tuple(BATCH if size == OPEN else int(size) for size in shape)


def elements(shape: Sequence[int]) -> int:
    """Number of elements; an open batch counts as one."""
    return math.prod(1 if size == BATCH else size for size in shape)
