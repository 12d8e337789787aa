"""Where every value lives: lifetimes, one arena, memory reused in place where the operator allows."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.spec import Array, Spec, Value

ALIGNMENT = 64  # one cache line, and one AVX-512 register


@dataclass(frozen=True)
class Block:
    """A part of the arena that is in use from step `first` to step `last`, both included."""

    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets in bytes of every arena value and of every node's scratch.

    A value absent from `blocks` lives in a parameter's own array: `aliases` says which. A value that overwrites its
    input shares the input's block.
    """

    blocks: Mapping[Value, Block]
    scratch: tuple[tuple[Block, ...], ...]
    aliases: Mapping[Value, Value]
    arena_bytes: int

    def live_bytes(self, steps: int) -> list[int]:
        """Bytes in use at each step."""
        live = [0] * steps
        blocks = {(b.offset, b.size, b.first, b.last): b for b in self.blocks.values()}
        for block in (*blocks.values(), *(b for node in self.scratch for b in node)):
            for step in range(max(block.first, 0), min(block.last, steps - 1) + 1):
                live[step] += block.size
        return live


def plan_memory(graph: Graph, scratch: Sequence[tuple[Spec, ...]]) -> MemoryPlan:
    """Place every input and computed value of a bound graph, and each node's scratch, in one arena.

    Outputs and update values live to the end; the others from their node to their last reader. Blocks are placed
    largest first at the lowest offset that no overlapping lifetime uses (greedy by size, Pisarchyk and Lee 2020,
    arXiv:2001.03288).
    """
    last_use = _last_uses(graph)
    aliases = _updates_in_parameters(graph, last_use)
    owner, first, last = _shared_blocks(graph, last_use, aliases)
    requests = [(graph.specs[value].bytes, first[value], last[value]) for value in owner]
    extra = [(spec.bytes, step, step) for step, specs in enumerate(scratch) for spec in specs]
    placed, arena_bytes = _place([*requests, *extra])
    by_owner = dict(zip(owner, placed, strict=False))
    rest = iter(placed[len(requests) :])
    return MemoryPlan(
        blocks={value: by_owner[root] for root, members in owner.items() for value in members},
        scratch=tuple(tuple(next(rest) for _ in specs) for specs in scratch),
        aliases=aliases,
        arena_bytes=arena_bytes,
    )


def _last_uses(graph: Graph) -> dict[Value, int]:
    """The last step that reads the contents of each value; outputs and updates are read after the last step."""
    last: dict[Value, int] = {}
    for step, node in enumerate(graph.nodes):
        for index, value in enumerate(node.inputs):
            if _input_name(node, index) not in node.op.shape_only:
                last[value] = step
    for value in (*graph.outputs, *graph.updates.values()):
        last[value] = len(graph.nodes)
    return last


def _input_name(node: Node, index: int) -> str:
    names = node.op.input_names
    return names[min(index, len(names) - 1)]


def _updates_in_parameters(graph: Graph, last_use: Mapping[Value, int]) -> dict[Value, Value]:
    """Update values that can be written straight into their parameter: their operator may overwrite that input,
    and nobody reads the old parameter afterwards.
    """
    aliases: dict[Value, Value] = {}
    steps = {id(node): step for step, node in enumerate(graph.nodes)}
    for state, new in graph.updates.items():
        node = graph.producer(new)
        if node is None or state in graph.outputs:
            continue
        overwritten = node.op.in_place.get(node.outputs.index(new))
        if overwritten is None or overwritten >= len(node.inputs) or node.inputs[overwritten] != state:
            continue
        if last_use.get(state, -1) <= steps[id(node)] and node.inputs.count(state) == 1:
            aliases[new] = state
    return aliases


def _shared_blocks(
    graph: Graph, last_use: Mapping[Value, int], aliases: Mapping[Value, Value]
) -> tuple[dict[Value, list[Value]], dict[Value, int], dict[Value, int]]:
    """Group the values that share memory: an in-place output joins the block of the input that dies at its node."""
    owner: dict[Value, list[Value]] = {}
    root: dict[Value, Value] = {}
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}

    def open_block(value: Value, step: int) -> None:
        root[value], owner[value] = value, [value]
        first[value], last[value] = step, max(last_use.get(value, step), step)

    for value in graph.inputs:
        open_block(value, -1)
    for step, node in enumerate(graph.nodes):
        for index, value in enumerate(node.outputs):
            if value in aliases:
                continue
            source = _overwritten(graph, node, index, step, last_use, root)
            if source is None:
                open_block(value, step)
                continue
            block = root[source]
            root[value] = block
            owner[block].append(value)
            last[block] = max(last[block], last_use.get(value, step))
    return owner, first, last


def _overwritten(
    graph: Graph, node: Node, index: int, step: int, last_use: Mapping[Value, int], root: Mapping[Value, Value]
) -> Value | None:
    position = node.op.in_place.get(index)
    if position is None or position >= len(node.inputs):
        return None
    source = node.inputs[position]
    dies_here = last_use.get(source, -1) == step and node.inputs.count(source) == 1
    same_size = graph.specs[source].shape == graph.specs[node.outputs[index]].shape
    same_type = graph.specs[source].dtype == graph.specs[node.outputs[index]].dtype
    return source if dies_here and same_size and same_type and source in root else None


def _place(requests: Sequence[tuple[int, int, int]]) -> tuple[list[Block], int]:
    """Give each (bytes, first step, last step) an offset; return the blocks in request order and the arena's size."""
    placed: list[Block | None] = [None] * len(requests)
    by_offset: list[tuple[int, Block]] = []
    arena = 0
    for index in sorted(range(len(requests)), key=lambda i: (-requests[i][0], requests[i][1], i)):
        size, first, last = requests[index]
        size = -(-size // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, other in by_offset:
            if other.last < first or last < other.first:
                continue
            if start - offset >= size:
                break
            offset = max(offset, start + other.size)
        block = Block(offset, size, first, last)
        placed[index] = block
        bisect.insort(by_offset, (offset, block), key=lambda pair: pair[0])
        arena = max(arena, offset + size)
    return [block for block in placed if block is not None], arena


def aligned_bytes(size: int) -> Array:
    """Zeroed bytes that start on a cache line; the slack lets vector code read past the last element."""
    raw = np.zeros(size + 2 * ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size + ALIGNMENT]
