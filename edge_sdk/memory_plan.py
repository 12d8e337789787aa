"""Where every value lives: lifetimes, one arena, memory reused in place where the operator allows."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_sdk.graph import Graph, Node
from edge_sdk.spec import Array, Spec, Value

ALIGNMENT = 64  # one cache line, and one AVX-512 register

Request = tuple[int, int, int]
"""Bytes, and the first and the last step of a life."""


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

    Outputs and update values live to the end; the others from their node to their last reader. Blocks are placed one
    after the other where no overlapping lifetime is (greedily, as in Pisarchyk and Lee 2020, arXiv:2001.03288).
    """
    last_use = _last_uses(graph)
    aliases = _updates_in_parameters(graph, last_use)
    owner, first, last = _shared_blocks(graph, last_use, aliases)
    requests = [(graph.specs[value].bytes, first[value], last[value]) for value in owner]
    extra = [(spec.bytes, step, step) for step, specs in enumerate(scratch) for spec in specs]
    placed, arena_bytes = place_blocks([*requests, *extra])
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
        overwritten = node.op.overwrites(node.outputs.index(new))
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
    position = node.op.overwrites(index)
    if position is None or position >= len(node.inputs):
        return None
    source = node.inputs[position]
    dies_here = last_use.get(source, -1) == step and node.inputs.count(source) == 1
    same_size = graph.specs[source].shape == graph.specs[node.outputs[index]].shape
    same_type = graph.specs[source].dtype == graph.specs[node.outputs[index]].dtype
    return source if dies_here and same_size and same_type and source in root else None


def place_blocks(requests: Sequence[Request]) -> tuple[list[Block], int]:
    """Give each request an offset; return the blocks in request order and the arena's size.

    Three orders are tried, until one needs no more than is in use at once: by size; by how full the arena is while a
    block lives, the longest life first; by that and size, where a block goes into the narrowest gap.
    """
    requests = [(-(-size // ALIGNMENT) * ALIGNMENT, first, last) for size, first, last in requests]
    in_use = _bytes_in_use(requests)
    pressure = [max(in_use[first + 1 : last + 2]) for _, first, last in requests]

    def by_size(index: int) -> tuple[int, ...]:
        size, first, _ = requests[index]
        return -size, first, index

    def by_pressure_and_life(index: int) -> tuple[int, ...]:
        size, first, last = requests[index]
        return -pressure[index], first - last, -size, index

    def by_pressure_and_size(index: int) -> tuple[int, ...]:
        return -pressure[index], *by_size(index)

    least = max(in_use, default=0)
    best: tuple[list[Block], int] | None = None
    for key, narrowest in ((by_size, False), (by_pressure_and_life, False), (by_pressure_and_size, True)):
        found = _place_in_order(requests, sorted(range(len(requests)), key=key), narrowest=narrowest)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] == least:
            break
    return best if best is not None else ([], 0)


def _bytes_in_use(requests: Sequence[Request]) -> list[int]:
    """Bytes in use at each step, from the one before the first on."""
    changes = [0] * (max((last for _, _, last in requests), default=0) + 3)
    for size, first, last in requests:
        changes[first + 1] += size
        changes[last + 2] -= size
    return list(itertools.accumulate(changes))


def _place_in_order(requests: Sequence[Request], order: Iterable[int], *, narrowest: bool) -> tuple[list[Block], int]:
    """Place each request at the lowest offset, or in the narrowest gap, that no overlapping lifetime uses."""
    placed: dict[int, Block] = {}
    by_offset: list[Block] = []
    arena = 0
    for index in order:
        size, first, last = requests[index]
        end, chosen, width = 0, -1, 0
        for other in by_offset:
            if other.last < first or last < other.first:
                continue
            gap = other.offset - end
            if gap >= size and (chosen < 0 or gap < width):
                chosen, width = end, gap
                if not narrowest:
                    break
            end = max(end, other.offset + other.size)
        block = Block(end if chosen < 0 else chosen, size, first, last)
        placed[index] = block
        bisect.insort(by_offset, block, key=lambda each: each.offset)
        arena = max(arena, block.offset + size)
    return [placed[index] for index in range(len(requests))], arena


def aligned_bytes(size: int) -> Array:
    """Zeroed bytes that start on a cache line; the slack lets vector code read past the last element."""
    raw = np.zeros(size + 2 * ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size + ALIGNMENT]
