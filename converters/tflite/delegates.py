"""What the delegates of phones would take of a file: read from its operators, by the published rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_sdk.converters.tflite.delegate_rules import Use, widens_a_constant
from edge_sdk.converters.tflite.delegate_tables import DELEGATES, Delegate
from edge_sdk.converters.tflite.file_graph import FileGraph, FileOperator, read_file_graph
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError


@dataclass(frozen=True)
class LeftOut:
    """An operator that a delegate does not take: its place in the file, its name and result, and why."""

    index: int
    operator: str
    output: str
    reason: str


@dataclass(frozen=True)
class Readiness:
    """How much of a file a delegate takes.

    Attributes:
        operators: How many operators there are, `taken` of which it takes.
        multiply_adds: Those of one example, `taken_multiply_adds` of which are in operators that it takes.
        parts: Into how many pieces of its own the file is cut; each costs a way there and back.
        left_out: The operators that stay with the runtime, in their order.
        source: Where its rules are published.
        remark: What else to know.
    """

    delegate: str
    operators: int
    taken: int
    multiply_adds: int
    taken_multiply_adds: int
    parts: int
    left_out: tuple[LeftOut, ...]
    source: str
    remark: str

    @property
    def share_of_operators(self) -> float:
        """Share of the operators that it takes."""
        return self.taken / self.operators if self.operators else 0.0

    @property
    def share_of_multiply_adds(self) -> float:
        """Share of the multiply-adds that it takes."""
        return self.taken_multiply_adds / self.multiply_adds if self.multiply_adds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values, with both shares."""
        shares = {"share_of_operators": self.share_of_operators, "share_of_multiply_adds": self.share_of_multiply_adds}
        return {**asdict(self), **shares}


def readiness(file: bytes | Path | str, delegates: Sequence[Delegate] = DELEGATES) -> tuple[Readiness, ...]:
    """Return what each delegate would take of a .tflite file, of its main subgraph.

    Raises:
        FormatError: the file cannot be read or is damaged.
    """
    if isinstance(file, bytes):
        graph = read_file_graph(file, "model.tflite")
    else:
        try:
            graph = read_file_graph(Path(file).read_bytes(), str(file))
        except OSError as error:
            raise FormatError(f"{file}: cannot be read ({error.strerror or error})") from error
    return tuple(_readiness(delegate, graph) for delegate in delegates)


def operator_multiply_adds(operator: FileOperator, graph: FileGraph) -> int:
    """Return the multiply-adds of an operator for the batch that the file was written for; 0 of what has no weights."""
    code, tensors = operator.code, graph.tensors
    made = math.prod(tensors[operator.outputs[0]].shape) if operator.outputs else 0
    if code not in _SUMMED or len(operator.inputs) < 2 or min(operator.inputs[:2]) < 0:
        return 0
    weights = tensors[operator.inputs[1]].shape
    if code == Builtin.TRANSPOSE_CONV and len(operator.inputs) > 2:  # each pixel that goes in meets the whole kernel
        return math.prod(tensors[operator.inputs[2]].shape) * math.prod(weights[:3])
    if code == Builtin.BATCH_MATMUL:
        left, right = (math.prod(tensors[place].shape) for place in operator.inputs[:2])
        rows_and_columns = tensors[operator.outputs[0]].shape[-2:]
        batch = math.prod(tensors[operator.outputs[0]].shape[:-2])
        return made * math.isqrt(left * right // max(1, batch * batch * math.prod(rows_and_columns)))
    return made * math.prod(weights[slice(*_SUMMED[Builtin(code)])])


_SUMMED: Mapping[Builtin, tuple[int, int | None]] = {
    Builtin.CONV_2D: (1, None),
    Builtin.DEPTHWISE_CONV_2D: (1, 3),
    Builtin.FULLY_CONNECTED: (1, None),
    Builtin.TRANSPOSE_CONV: (0, None),
    Builtin.BATCH_MATMUL: (0, None),
}
"""The axes of the weights along which one number of the result is summed."""


def _readiness(delegate: Delegate, graph: FileGraph) -> Readiness:
    reasons = _reasons(delegate, graph)
    products = {operator.index: operator_multiply_adds(operator, graph) for operator in graph.operators}
    left_out = tuple(
        LeftOut(operator.index, operator.name, graph.tensors[operator.outputs[0]].name, reasons[operator.index] or "")
        for operator in graph.operators
        if reasons[operator.index] is not None
    )
    missing = sum(products[operator.index] for operator in left_out)
    return Readiness(
        delegate=delegate.name,
        operators=len(graph.operators),
        taken=len(graph.operators) - len(left_out),
        multiply_adds=sum(products.values()),
        taken_multiply_adds=sum(products.values()) - missing,
        parts=_parts(graph, reasons),
        left_out=left_out,
        source=delegate.source,
        remark=delegate.remark,
    )


def _reasons(delegate: Delegate, graph: FileGraph) -> dict[int, str | None]:
    """Why each operator is left out, by its place; None for one that is taken."""
    producers = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    reasons: dict[int, str | None] = {}
    stopped: str | None = None
    widening = []
    for operator in graph.operators:
        if delegate.widens and widens_a_constant(operator, graph):
            widening.append(operator)
            continue
        reason = _reason(delegate, Use(operator, graph, producers))
        if stopped is not None and reason is None:
            reason = f"it comes after {stopped}, which is not taken"
        if delegate.stops and reason is not None and stopped is None and None in reasons.values():
            stopped = operator.name
        reasons[operator.index] = reason
    for operator in widening:
        readers = [other for other in graph.operators if operator.outputs[0] in other.inputs]
        refused = [other.name for other in readers if reasons.get(other.index) is not None]
        reasons[operator.index] = f"{refused[0]}, which reads it, is not taken" if refused else None
    return dict(sorted(reasons.items()))


def _reason(delegate: Delegate, use: Use) -> str | None:
    operator = use.operator
    if not operator.outputs or operator.code not in Builtin.__members__.values():
        return "it is not among the operators of the delegate"
    rule = delegate.rules.get(Builtin(operator.code))
    if rule is None:
        return "it is not among the operators of the delegate"
    try:
        return rule.refusal(use)
    except FormatError as error:
        return str(error)


def _parts(graph: FileGraph, reasons: Mapping[int, str | None]) -> int:
    """Count the runs of operators that are taken one after the other, as the runtime forms them.

    An operator goes into the running part as long as nothing that is left out lies between it and what it reads.
    """
    depth: dict[int, int] = {}
    taken_depths = set()
    for operator in graph.operators:
        level = max((depth.get(tensor, 0) for tensor in operator.inputs), default=0)
        taken = reasons[operator.index] is None
        # Even depths are taken, odd ones left out: a change of side is one deeper.
        level += (level % 2 == 1) if taken else (level % 2 == 0)
        if taken:
            taken_depths.add(level)
        depth.update(dict.fromkeys(operator.outputs, level))
    return len(taken_depths)
