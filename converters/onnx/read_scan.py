"""Running sums and products, and loops whose number of rounds is known: they are written out."""

from __future__ import annotations

import numpy as np

from edge_sdk.converters.onnx.call import Call, described
from edge_sdk.converters.onnx.layout import plain
from edge_sdk.converters.onnx.reshaping import expanded, reshaped
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor, constant
from edge_sdk.op import Op
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.shape import Concat, Pad, Slice
from edge_sdk.spec import BATCH

MOST_ROUNDS = 1024


@reads("CumSum", "CumProd")
def running(c: Call) -> Tensor:
    """Each element combined with all before it: by ever longer strides (Hillis and Steele 1986)."""
    x = c.input(0)
    axis = c.axis(int(c.array(1, "the axis").reshape(-1)[0]), x.rank)
    layout = plain(x.rank) if x.layout.inner else x.layout
    held, place = c.translation.hold(x, layout), layout.order.index(axis)
    size = c.shape(held)[place]
    if size == BATCH:
        raise c.unsupported("it runs over an open batch")
    op, neutral = (Add(), 0.0) if c.node.op_type == "CumSum" else (Mul(), 1.0)
    backward = Constant(c.translation.count(size)[::-1].copy())
    turned = bool(c.integer("reverse", 0))
    if turned:
        held = c.apply(Gather(place), held, backward)
    if c.integer("exclusive", 0):
        held = _shifted(c, held, place, 1, neutral)
    held = _combined(c, held, place, op, neutral)
    return c.tensor(c.apply(Gather(place), held, backward) if turned else held, layout)


def _combined(c: Call, held: Held, place: int, op: Op, neutral: float) -> Held:
    step = 1
    while step < c.shape(held)[place]:
        held = c.apply(op, held, _shifted(c, held, place, step, neutral))
        step *= 2
    return held


def _shifted(c: Call, held: Held, place: int, step: int, fill: float) -> Held:
    """Everything `step` places on along an axis, with `fill` before it."""
    rank, size = len(c.shape(held)), c.shape(held)[place]
    if not size:
        return held
    sizes = tuple(size - step if axis == place else -1 for axis in range(rank))
    kept = c.apply(Slice((0,) * rank, sizes), held)
    return c.apply(Pad(tuple((step, 0) if axis == place else (0, 0) for axis in range(rank)), fill), kept)


@reads("Scan")
def scan(c: Call) -> tuple[Tensor | None, ...]:
    """A subgraph for each step of a sequence, written out."""
    if c.opset < 9:
        raise c.unsupported("the form before opset 9")
    body, count = c.proto("body", "g"), c.integer("num_scan_inputs")
    inputs = [c.input(index) for index in range(len(c.inputs))]
    if body is None or not 1 <= count <= len(inputs):
        raise c.unsupported(f"{count} sequences of {len(inputs)} inputs")
    states, sequences = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    outputs = len(body.output) - len(states)
    axes = [c.axis(a, s.rank) for a, s in zip(c.integers("scan_input_axes", (0,) * count), sequences, strict=True)]
    steps = {sequence.shape[axis] for axis, sequence in zip(axes, sequences, strict=True)}
    length = max(steps)
    if len(steps) != 1 or not 0 < length <= MOST_ROUNDS or outputs < 0:
        raise c.unsupported(f"sequences of {sorted(steps)} steps; wanted equally many, from 1 to {MOST_ROUNDS}")
    backward = c.integers("scan_input_directions", (0,) * count)
    collected: list[list[Tensor]] = [[] for _ in range(outputs)]
    for step in range(length):
        given = [
            _step(c, sequence, axis, length - 1 - step if turned else step)
            for sequence, axis, turned in zip(sequences, axes, backward, strict=True)
        ]
        results = c.inline(body, [*states, *given])
        states = list(results[: len(states)])
        for each, result in zip(collected, results[len(states) :], strict=True):
            each.append(result)
    turned = c.integers("scan_output_directions", (0,) * outputs)
    places = c.integers("scan_output_axes", (0,) * outputs)
    stacked = [
        _stacked(c, each[::-1] if back else each, c.axis(axis, each[0].rank + 1))
        for each, back, axis in zip(collected, turned, places, strict=True)
    ]
    return (*states, *stacked)


@reads("Loop")
def loop(c: Call) -> tuple[Tensor | None, ...]:
    """A subgraph repeated a known number of times, written out."""
    body = c.proto("body", "g")
    if body is None:
        raise c.unsupported("a loop without a body")
    limit = int(c.array(0, "the number of rounds").reshape(())) if c.has(0) else MOST_ROUNDS + 1
    going = bool(c.array(1, "the condition").reshape(())) if c.has(1) else True
    states = [c.either(index) for index in range(2, len(c.inputs))]
    collected: list[list[Tensor]] = [[] for _ in range(len(body.output) - 1 - len(states))]
    number = 0
    while going and number < limit:
        if number >= MOST_ROUNDS:
            raise c.unsupported(f"it runs for more than {MOST_ROUNDS} rounds")
        c.translation.where = described(c.node)
        given = [constant(np.array(number, np.int64)), constant(np.array(1, bool)), *states]
        condition, *results = c.inline(body, given)
        if condition.array is None:
            raise c.unsupported("its end depends on what only a run computes")
        going = bool(condition.array.reshape(()))
        states = results[: len(states)]
        for each, result in zip(collected, results[len(states) :], strict=True):
            each.append(result)
        number += 1
    if collected and not number:
        raise c.unsupported("no round makes its sequences")
    return (*states, *(_stacked(c, each, 0) for each in collected))


def _step(c: Call, sequence: Tensor, axis: int, step: int) -> Tensor:
    begin = tuple(step if each == axis else 0 for each in range(sequence.rank))
    size = tuple(1 if each == axis else n for each, n in enumerate(sequence.shape))
    one = c.result(c.apply(Slice(begin, size), c.plain(sequence)))
    return reshaped(c, one, sequence.shape[:axis] + sequence.shape[axis + 1 :])


def _stacked(c: Call, parts: list[Tensor], axis: int) -> Tensor:
    held = [c.plain(expanded(c, part, (axis,))) for part in parts]
    return c.result(c.apply(Concat(axis), *held))
