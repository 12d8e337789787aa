"""Recurrent layers, written out step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.reshaping import transposed
from edge_sdk.converters.onnx.table import reads
from edge_sdk.converters.onnx.tensor import Constant, Held, Tensor
from edge_sdk.op import Op
from edge_sdk.ops.activation import Relu, Sigmoid, Tanh
from edge_sdk.ops.elementwise import Add, Maximum, Minimum, Mul, Sub
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.shape import Concat, Slice

MOST_STEPS = 1024
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS: dict[str, Op] = {"sigmoid": Sigmoid(), "tanh": Tanh(), "relu": Relu()}


@dataclass(frozen=True)
class _Cell:
    """The weights of one direction: w (g · h, in), r (g · h, h), biases and peepholes (k · h) or None."""

    c: Call
    hidden: int
    activations: tuple[Op, ...]
    w: Held
    r: Held
    biases: Held | None
    peepholes: Held | None

    def gate(self, weights: Held, index: int) -> Held:
        """The rows of one gate."""
        rank = len(self.c.shape(weights))
        begin, size = (index * self.hidden, 0)[:rank], (self.hidden, -1)[:rank]
        return self.c.apply(Slice(begin, size), weights)

    def product(self, x: Held, weights: Held, index: int, bias: int) -> Held:
        """Multiply x (n, in) by the rows of a gate, plus a bias."""
        y = self.c.apply(MatMul(transpose_b=True), x, self.gate(weights, index))
        return y if self.biases is None else self.add(y, self.gate(self.biases, bias))

    def add(self, a: Held, b: Held) -> Held:
        """Sum."""
        return self.c.apply(Add(), a, b)

    def mul(self, a: Held, b: Held) -> Held:
        """Product."""
        return self.c.apply(Mul(), a, b)

    def activate(self, index: int, x: Held) -> Held:
        """An activation, of what `clip` bounds."""
        if self.c.given("clip"):
            bound = self.c.real("clip")
            x = self.c.apply(Maximum(), x, self.c.number(-bound, x))
            x = self.c.apply(Minimum(), x, self.c.number(bound, x))
        return self.c.apply(self.activations[index], x)

    def peep(self, index: int, state: Held) -> Held | None:
        """What a gate sees of the cell's state."""
        return None if self.peepholes is None else self.mul(self.gate(self.peepholes, index), state)

    def rnn(self, x: Held, h: Held) -> Held:
        """f(W x + R h)."""
        return self.activate(0, self.add(self.product(x, self.w, 0, 0), self.product(h, self.r, 0, 1)))

    def gru(self, x: Held, h: Held) -> Held:
        """Cho et al. 2014; with linear_before_reset the candidate's bias is inside of the reset gate."""
        update = self.activate(0, self.add(self.product(x, self.w, 0, 0), self.product(h, self.r, 0, 3)))
        reset = self.activate(0, self.add(self.product(x, self.w, 1, 1), self.product(h, self.r, 1, 4)))
        if self.c.integer("linear_before_reset", 0):
            seen = self.mul(reset, self.product(h, self.r, 2, 5))
        else:
            seen = self.product(self.mul(reset, h), self.r, 2, 5)
        candidate = self.activate(1, self.add(self.product(x, self.w, 2, 2), seen))
        kept = self.c.apply(Sub(), self.c.number(1.0, update), update)
        return self.add(self.mul(kept, candidate), self.mul(update, h))

    def lstm(self, x: Held, h: Held, state: Held) -> tuple[Held, Held]:
        """Hochreiter and Schmidhuber 1997, with peepholes: gates in the order input, output, forget, cell."""
        sums = [self.add(self.product(x, self.w, k, k), self.product(h, self.r, k, k + 4)) for k in range(4)]

        def gate(index: int, place: int, seen: Held) -> Held:
            peep = self.peep(place, seen)
            return self.activate(0, sums[index] if peep is None else self.add(sums[index], peep))

        let_in, forget = gate(0, 0, state), gate(2, 2, state)
        if self.c.integer("input_forget", 0):
            forget = self.c.apply(Sub(), self.c.number(1.0, let_in), let_in)
        new = self.add(self.mul(forget, state), self.mul(let_in, self.activate(1, sums[3])))
        return self.mul(gate(1, 1, new), self.activate(2, new)), new


@reads("RNN", "GRU", "LSTM")
def recurrent(c: Call) -> tuple[Tensor | None, ...]:
    """The states of every step, the last state, and with LSTM the last cell."""
    kind, batch_first = c.node.op_type, bool(c.integer("layout", 0))
    x = transposed(c, c.input(0), (1, 0, 2)) if batch_first else c.input(0)
    if x.rank != 3:
        raise c.unsupported(f"x has shape {x.shape}; wanted (steps, n, in)")
    steps, n, _ = c.fixed(x)
    if not 1 <= steps <= MOST_STEPS:
        raise c.unsupported(f"{steps} steps; wanted 1 to {MOST_STEPS}")
    if c.has(4) and np.any(c.array(4, "the lengths") != steps):
        raise c.unsupported("sequences of different lengths")
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    backward = directions[c.text("direction", "forward")]
    inputs = [_part(c, c.plain(x), step) for step in range(steps)]
    rows: list[list[Held]] = []
    lasts: list[tuple[Held, ...]] = []
    for index, turned in enumerate(backward):
        states, last = _run(c, kind, inputs[::-1] if turned else inputs, index, n, len(backward), batch_first)
        rows.append(states[::-1] if turned else states)
        lasts.append(last)
    hidden = c.integer("hidden_size")
    shape = (1, 1, n, hidden)
    each = [
        c.apply(Concat(1), *(c.translation.reshape(row[step], shape) for row in rows)) if len(rows) > 1
        else c.translation.reshape(rows[0][step], shape)
        for step in range(steps)
    ]  # fmt: skip
    y = c.result(c.apply(Concat(0), *each))
    ends = [
        c.result(c.apply(Concat(0), *(c.translation.reshape(last[place], shape[1:]) for last in lasts)))
        for place in range(len(lasts[0]))
    ]
    if batch_first:
        return transposed(c, y, (2, 0, 1, 3)), *(transposed(c, end, (1, 0, 2)) for end in ends)
    return y, *ends


def _run(
    c: Call, kind: str, inputs: list[Held], index: int, n: int, count: int, batch_first: bool
) -> tuple[list[Held], tuple[Held, ...]]:
    """One direction: the state after each step, and the last state and cell."""
    hidden = c.integer("hidden_size")
    names = [name.lower() for name in c.texts("activations", ())]
    wanted = names[index * len(names) // count :][: len(names) // count] or {
        "RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"],
    }[kind]  # fmt: skip
    unknown = [name for name in wanted if name not in ACTIVATIONS]
    if unknown or hidden < 1:
        raise c.unsupported(f"activation {', '.join(unknown)}, hidden size {hidden}")
    w, r = _part(c, c.plain(c.input(1)), index), _part(c, c.plain(c.input(2)), index)
    biases = _part(c, c.plain(c.input(3)), index) if c.has(3) else None
    peepholes = _part(c, c.plain(c.input(7)), index) if c.has(7) else None
    cell = _Cell(c, hidden, tuple(ACTIVATIONS[name] for name in wanted), w, r, biases, peepholes)
    zeros: Held = Constant(np.zeros((n, hidden), c.input(0).dtype))
    start = [
        _part(c, c.plain(transposed(c, c.input(place), (1, 0, 2)) if batch_first else c.input(place)), index)
        if c.has(place) else zeros
        for place in (5, 6)
    ]  # fmt: skip
    h, state = start
    states = []
    for x in inputs:
        if kind == "LSTM":
            h, state = cell.lstm(x, h, state)
        else:
            h = cell.gru(x, h) if kind == "GRU" else cell.rnn(x, h)
        states.append(h)
    return states, (h, state) if kind == "LSTM" else (h,)


def _part(c: Call, held: Held, index: int) -> Held:
    """What stands at an index of the first axis."""
    shape = c.shape(held)
    if index >= shape[0]:
        raise c.unsupported(f"weights for {shape[0]} directions")
    begin, size = (index, *(0,) * (len(shape) - 1)), (1, *(-1,) * (len(shape) - 1))
    return c.translation.reshape(c.apply(Slice(begin, size), held), shape[1:])
