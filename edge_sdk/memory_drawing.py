"""A Session's memory plan over time as an SVG: steps to the right, offsets in the arena upwards."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_sdk.memory_plan import Block
    from edge_sdk.session import Session

COLOURS = {
    "input": "#59a14f",
    "activation": "#4e79a7",
    "gradient": "#f28e2b",
    "scratch": "#bab0ac",
    "packed weights": "#b07aa1",
}
WIDTH, HEIGHT = 1200, 700
LEFT, RIGHT, TOP, BOTTOM = 80, 24, 96, 56
MIB = 1 << 20
LOSS = "loss"


@dataclass(frozen=True)
class _Rectangle:
    kind: str
    block: Block
    label: str


def draw_memory(session: Session) -> str:
    """Return the plan as the text of an SVG file.

    A rectangle is a part of the arena from the step in which it is first written to the one in which it is last read;
    its tooltip names the values. In a training graph what is computed behind the loss counts as gradient.
    """
    steps, arena = max(len(session.graph.nodes), 1), max(session.memory.arena_bytes, 1)
    across, up = (WIDTH - LEFT - RIGHT) / steps, (HEIGHT - TOP - BOTTOM) / arena
    base = HEIGHT - BOTTOM
    rectangles = list(_rectangles(session))
    heading = escape(_heading(session))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" fill="#333" role="img" aria-label="{heading}">'
    )
    parts = [
        opening,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="28" font-size="17" font-weight="bold">{heading}</text>',
        f'<text x="{LEFT}" y="50">{escape(_figures(session))}</text>',
        *_legend({rectangle.kind for rectangle in rectangles}),
        *_grid(steps, arena, across, up, base),
    ]
    for rectangle in rectangles:
        block = rectangle.block
        first, last = max(block.first, 0), min(block.last, steps - 1)
        x, y = LEFT + first * across, base - (block.offset + block.size) * up
        parts.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{(last - first + 1) * across:.2f}" height="{block.size * up:.2f}" '
            f'fill="{COLOURS[rectangle.kind]}" stroke="white" stroke-width="0.4"><title>{escape(rectangle.label)}, '
            f"{rectangle.kind}, {_mib(block.size)}, steps {first} to {last}</title></rect>"
        )
    parts += [*_border(session, across, base), *_peak(session, steps, across, base), "</svg>"]
    return "\n".join(parts) + "\n"


def _rectangles(session: Session) -> Iterator[_Rectangle]:
    """The blocks of the arena; values that share one, each written over the other, are one rectangle."""
    graph, border = session.graph, _loss_step(session)
    places = {value: step for step, node in enumerate(graph.nodes) for value in node.outputs}
    members: dict[Block, list[str]] = {}
    for value, block in session.memory.blocks.items():
        if block.size:
            members.setdefault(block, []).append(value)
    for block, values in members.items():
        step = places.get(graph.value(values[0]), -1)
        kind = "input" if step < 0 else "activation" if step <= border or _made_again(values[0]) else "gradient"
        yield _Rectangle(kind, block, ", ".join(values))
    for node, blocks, own in zip(graph.nodes, session.memory.scratch, session.scratch_counts, strict=True):
        for index, block in enumerate(blocks):
            if block.size:
                yield _Rectangle(
                    "scratch" if index < own else "packed weights", block, f"{node.outputs[0]} ({node.op.name})"
                )


def _made_again(value: str) -> bool:
    return value.endswith(":again")


def _loss_step(session: Session) -> int:
    """The step of the loss in a training graph, else the last one."""
    graph = session.graph
    if graph.updates and LOSS in graph.outputs:
        return next(step for step, node in enumerate(graph.nodes) if LOSS in node.outputs)
    return len(graph.nodes)


def _heading(session: Session) -> str:
    return f"{session.graph.name}: memory of one run, inputs {_inputs(session) or 'none'}"


def _inputs(session: Session) -> str:
    return ", ".join(f"{value} {session.graph.specs[value]}" for value in session.graph.inputs)


def _figures(session: Session) -> str:
    plan = session.plan
    kept = "parameters and optimizer state" if session.graph.updates else "parameters"
    packed = f", constant weights packed {_mib(plan.packed_bytes)}" if plan.packed_bytes else ""
    return (
        f"arena {_mib(plan.arena_bytes)} (without sharing {_mib(plan.unshared_bytes)}); beside it "
        f"{kept} {_mib(plan.parameter_bytes)}{packed}"
    )


def _legend(kinds: Collection[str]) -> Iterator[str]:
    x = LEFT
    for kind, colour in COLOURS.items():
        if kind not in kinds:
            continue
        yield f'<rect x="{x}" y="66" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="76">{kind}</text>'
        x += 44 + 8 * len(kind)
    yield f'<path d="M{x} 72h24" stroke="#c00" stroke-dasharray="5 3"/><text x="{x + 30}" y="76">peak</text>'
    x += 96
    yield f'<path d="M{x} 72h24" stroke="#222" stroke-width="1.5"/><text x="{x + 30}" y="76">bytes in use</text>'


def _grid(steps: int, arena: int, across: float, up: float, base: int) -> Iterator[str]:
    """Axes with round numbers, and their names."""
    grey = 'stroke="#ddd"'
    for amount in _ticks(arena / MIB):
        y = base - amount * MIB * up
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" {grey}/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{amount:g}</text>'
    for step in _ticks(steps):
        if step == int(step):
            x = LEFT + step * across
            yield f'<path d="M{x:.1f} {base}v5" stroke="#888"/>'
            yield f'<text x="{x:.1f}" y="{base + 19}" text-anchor="middle">{step:g}</text>'
    middle = (TOP + base) / 2
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">step</text>'
    yield (f'<text transform="translate(24 {middle}) rotate(-90)" text-anchor="middle">offset in the arena, MiB</text>')
    yield f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="#888"/>'


def _border(session: Session, across: float, base: int) -> Iterator[str]:
    step = _loss_step(session)
    if step < len(session.graph.nodes):
        x = LEFT + (step + 1) * across
        yield f'<path d="M{x:.1f} {TOP - 6}V{base}" stroke="#222" stroke-dasharray="2 3"/>'
        yield f'<text x="{x - 6:.1f}" y="{TOP - 2}" text-anchor="end" font-size="11">forward</text>'
        yield f'<text x="{x + 6:.1f}" y="{TOP - 2}" font-size="11">backward</text>'


def _peak(session: Session, steps: int, across: float, base: int) -> Iterator[str]:
    """The bytes in use at each step as a line, and the arena's size as a dashed one."""
    arena = max(session.memory.arena_bytes, 1)
    up = (base - TOP) / arena
    live = session.memory.live_bytes(steps)
    line = "".join(
        f"{'M' if step == 0 else 'V'}{f'{LEFT} ' if step == 0 else ''}{base - used * up:.1f}h{across:.3f}"
        for step, used in enumerate(live)
    )
    yield f'<path d="{line}" fill="none" stroke="#222" stroke-width="1.5"/>'
    yield f'<path d="M{LEFT} {TOP}H{WIDTH - RIGHT}" stroke="#c00" stroke-dasharray="5 3"/>'
    label = f"peak {_mib(arena)}, step {live.index(max(live))}"
    yield f'<text x="{WIDTH - RIGHT}" y="{TOP - 6}" text-anchor="end" fill="#c00" font-size="11">{label}</text>'


def _ticks(largest: float) -> list[float]:
    """Four to ten round numbers from 0 to `largest`."""
    rough = largest / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(int(largest / step + 1e-9) + 1)]


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{size / 1024:.1f} KiB"
