"""What a rule of a delegate is made of: the types that it computes, and checks of one use of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_sdk.converters.tflite.file_graph import FileGraph, FileOperator, FileTensor
from edge_sdk.converters.tflite.options import (
    ConcatenationOptions,
    Pool2DOptions,
    ReducerOptions,
    SoftmaxOptions,
)
from edge_sdk.converters.tflite.schema import Builtin, FusedActivation, Options
from edge_sdk.spec import Array

FLOAT = frozenset({"float32"})
EIGHT_BITS = frozenset({"int8", "uint8"})
FLOAT_OR_EIGHT_BITS = FLOAT | EIGHT_BITS
_DATA_INPUT = {Builtin.FILL: 1, Builtin.SPLIT: 1, Builtin.TRANSPOSE_CONV: 2}


@dataclass(frozen=True)
class Use:
    """One operator of a file, with what is known of its tensors."""

    operator: FileOperator
    graph: FileGraph
    producers: Mapping[int, FileOperator]

    @property
    def data(self) -> FileTensor:
        """The tensor of the numbers that are computed with."""
        inputs = self.operator.inputs
        place = _DATA_INPUT.get(Builtin(self.operator.code), 0)
        return self.graph.tensors[inputs[place] if place < len(inputs) else self.operator.outputs[0]]

    @property
    def output(self) -> FileTensor:
        """The first result."""
        return self.graph.tensors[self.operator.outputs[0]]

    def input(self, place: int) -> FileTensor | None:
        """An input, or None where it is left out."""
        inputs = self.operator.inputs
        return self.graph.tensors[inputs[place]] if place < len(inputs) and inputs[place] >= 0 else None

    def is_constant(self, place: int) -> bool:
        """Whether an input is stored in the file, also as float16 or int8 that a DEQUANTIZE widens."""
        tensor = self.input(place)
        if tensor is None or tensor.data is not None:
            return tensor is not None
        producer = self.producers.get(self.operator.inputs[place])
        return producer is not None and widens_a_constant(producer, self.graph)

    def numbers(self, place: int) -> Array | None:
        """The whole numbers of a constant input, or None for one that is computed or left out."""
        tensor = self.input(place)
        return None if tensor is None or tensor.data is None or tensor.dtype is None else tensor.stored

    @cached_property
    def weights(self) -> FileTensor | None:
        """The second input, which is the weights of what has any."""
        return self.input(1)


Check = Callable[[Use], str | None]
"""Returns why a use is not taken, or None."""


@dataclass(frozen=True)
class Rule:
    """An operator that a delegate has: types of the numbers that go in and come out, and what else must hold."""

    types: frozenset[str]
    checks: tuple[Check, ...] = ()
    changes_type: bool = False
    half_bytes: bool = False
    """Whether it takes weights of 4 bits."""

    def refusal(self, use: Use) -> str | None:
        """Return why this use is not taken, or None."""
        for tensor in (use.data,) if self.changes_type else (use.data, use.output):
            if tensor.dtype not in self.types:
                return f"it computes no {tensor.dtype}"
            if tensor.dtype in EIGHT_BITS and tensor.quant is None:
                return f"it computes no {tensor.dtype} without a scale"
        if not self.half_bytes and use.weights is not None and use.weights.is_narrow:
            return "its weights have 4 bits"
        return next((reason for check in self.checks if (reason := check(use)) is not None), None)


def widens_a_constant(operator: FileOperator, graph: FileGraph) -> bool:
    """Tell whether an operator makes floats of weights that are stored in fewer bits."""
    return operator.code == Builtin.DEQUANTIZE and graph.tensors[operator.inputs[0]].data is not None


def constant(*places: int) -> Check:
    """Inputs that must be stored in the file."""

    def check(use: Use) -> str | None:
        computed = [place for place in places if use.input(place) is not None and not use.is_constant(place)]
        return f"its input {computed[0]} is computed" if computed else None

    return check


def with_bias(use: Use) -> str | None:
    """A third input."""
    return None if use.input(2) is not None else "it has no bias"


def weights_like_data(use: Use) -> str | None:
    """Weights of the type of the data: no int8 weights under float pixels."""
    weights = use.weights
    if weights is not None and weights.dtype != use.data.dtype:
        return f"its weights are {weights.dtype} and its input {use.data.dtype}"
    return None


def version_up_to(highest: int) -> Check:
    """The operator's version."""

    def check(use: Use) -> str | None:
        found = use.operator.version
        return None if found <= highest else f"it is of version {found}, up to {highest} is known"

    return check


def rank_up_to(highest: int) -> Check:
    """The number of axes."""

    def check(use: Use) -> str | None:
        ranks = [len(tensor.shape) for tensor in (use.data, use.output)]
        return None if max(ranks) <= highest else f"it has {max(ranks)} axes, more than {highest}"

    return check


def rank_among(*known: int) -> Check:
    """The number of axes of the data."""

    def check(use: Use) -> str | None:
        rank = len(use.data.shape)
        return None if rank in known else f"its input has {rank} axes, not {' or '.join(map(str, known))}"

    return check


def inputs_between(fewest: int, most: int) -> Check:
    """How many tensors are joined."""

    def check(use: Use) -> str | None:
        count = len(use.operator.inputs)
        return None if fewest <= count <= most else f"it joins {count} tensors, not {fewest} to {most}"

    return check


def outputs_between(fewest: int, most: int) -> Check:
    """Into how many tensors one is cut."""

    def check(use: Use) -> str | None:
        count = len(use.operator.outputs)
        return None if fewest <= count <= most else f"it makes {count} tensors, not {fewest} to {most}"

    return check


def same_inputs(use: Use) -> str | None:
    """Two inputs of one type."""
    a, b = use.input(0), use.input(1)
    if a is not None and b is not None and a.dtype != b.dtype:
        return f"its inputs are {a.dtype} and {b.dtype}"
    return None


def plain_softmax(use: Use) -> str | None:
    """A factor of 1."""
    beta = use.operator.options(SoftmaxOptions).beta
    return None if beta == 1 else f"its beta is {beta:g}, not 1"


def window_covers_stride(use: Use) -> str | None:
    """Pools that leave no pixel out."""
    options = use.operator.options(Pool2DOptions)
    if options.stride_w > options.filter_width or options.stride_h > options.filter_height:
        return "its stride is larger than its window"
    return None


def plain(kind: type[Options]) -> Check:
    """No activation of its own."""

    def check(use: Use) -> str | None:
        found = getattr(use.operator.options(kind), "fused_activation_function", FusedActivation.NONE)
        return None if found == FusedActivation.NONE else f"it has a fused {found.name}"

    return check


def over_pixels(use: Use) -> str | None:
    """A reduction along rows or columns of images alone."""
    axes, rank = use.numbers(1), len(use.data.shape)
    if axes is None or rank != 4 or not {int(axis) % rank for axis in axes.ravel()} <= {1, 2}:
        return "it does not reduce rows and columns of images alone"
    return None


def not_the_batch(use: Use) -> str | None:
    """A reduction, or a padding, that leaves the first axis alone."""
    numbers, rank = use.numbers(1), max(1, len(use.data.shape))
    if numbers is None:
        return "along which axes it goes is computed"
    if use.operator.code in (Builtin.PAD, Builtin.PADV2):
        return "it pads the batch" if numbers.reshape(-1, 2)[0].any() else None
    return "it reduces the batch" if any(int(axis) % rank == 0 for axis in numbers.ravel()) else None


def keeps_axes(use: Use) -> str | None:
    """A reduction whose axes stay, with size 1."""
    return None if use.operator.options(ReducerOptions).keep_dims else "it drops the axes that it reduces"


def pads_pixels(use: Use) -> str | None:
    """Rows and columns of images, and nothing else, are added."""
    amounts = use.numbers(1)
    if amounts is None or amounts.shape != (4, 2):
        return "it does not pad images by constant amounts"
    return None if not amounts[[0, 3]].any() else "it pads the batch or the channels"


def positive_sizes(use: Use) -> str | None:
    """A slice whose sizes are all given."""
    sizes = use.numbers(2)
    if sizes is None or use.numbers(1) is None:
        return "where it cuts is computed"
    return None if bool((sizes > 0).all()) else "a size of it is left open (-1), as the open batch is"


def joins_channels(use: Use) -> str | None:
    """A concatenation along the last axis of images or rows."""
    axis, rank = use.operator.options(ConcatenationOptions).axis, len(use.data.shape)
    if rank in (3, 4) and axis in (rank - 1, -1):
        return None
    return f"it joins along axis {axis} of {rank}, not along channels"


def one_example(use: Use) -> str | None:
    """A dense layer on one vector."""
    count = int(np.prod(use.data.shape[:-1], dtype=np.int64))
    return None if count == 1 else f"it has {count} vectors, not one"


def to_axes(*ranks: int) -> Check:
    """Reshaping to so many axes."""

    def check(use: Use) -> str | None:
        rank = len(use.output.shape)
        return None if rank in ranks else f"its result has {rank} axes, not {' or '.join(map(str, ranks))}"

    return check


def scale_ratio(lowest: float, highest: float) -> Check:
    """How many times the output's scale an input's is."""

    def check(use: Use) -> str | None:
        output = use.output.quant
        for place in (0, 1):
            tensor = use.input(place)
            if tensor is None or tensor.quant is None or output is None:
                continue
            ratio = tensor.quant.scale[0] / output.scale[0]
            if not lowest <= ratio < highest:
                return f"the scale of its input {place} is {ratio:g} of its output's, not {lowest:g} to {highest:g}"
        return None

    return check


def product_ratio(lowest: float, highest: float) -> Check:
    """How many times the output's scale the product of the inputs' is."""

    def check(use: Use) -> str | None:
        quants = [tensor.quant for tensor in (use.input(0), use.input(1), use.output) if tensor is not None]
        if len(quants) < 3 or any(quant is None for quant in quants):
            return None
        a, b, y = (quant.scale[0] for quant in quants if quant is not None)
        ratio = a * b / y
        return None if lowest <= ratio < highest else f"the product of its scales is {ratio:g} of its output's"

    return check


def same_eight_bits(use: Use) -> str | None:
    """From floats, or between numbers of one type: no step from uint8 to int8."""
    if use.data.dtype == "float32" or use.data.dtype == use.output.dtype:
        return None
    return f"it makes {use.output.dtype} of {use.data.dtype}"


def eight_bit_result(use: Use) -> str | None:
    """A result in 8 bits."""
    return None if use.output.dtype in EIGHT_BITS else f"it makes {use.output.dtype}"


def same_parameters(use: Use) -> str | None:
    """One scale and zero point for input and output."""
    if use.data.dtype in EIGHT_BITS and use.data.quant != use.output.quant:
        return "its input and its output have different scales"
    return None
