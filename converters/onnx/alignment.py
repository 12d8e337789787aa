"""Operands brought to one order of axes, and reshapes that move as little as they can."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.converters.onnx.layout import Group, Layout, channels_last, common_groups, plain
from edge_sdk.converters.onnx.onnx_graph import IMAGE_RANK, Written
from edge_sdk.converters.onnx.writing import Writing
from edge_sdk.spec import Value


def aligned(t: Writing, values: Sequence[Value]) -> tuple[list[Written], Layout]:
    """Return operands that ONNX broadcasts as the engine does, and the layout of the result.

    The first computed operand of full rank says the layout; constants are turned to it when they are stored.
    """
    rank = max(t.spec(value).rank for value in values)
    computed = [t.read(value) for value in values if not t.is_constant(value) and t.spec(value).rank == rank]
    layout = computed[0].layout if computed else plain(rank)
    if layout.inner and any(x.layout != layout for x in computed):
        layout = plain(rank)
    return [_operand(t, value, layout) for value in values], layout


def _operand(t: Writing, value: Value, layout: Layout) -> Written:
    """A value in a layout, with leading axes of size 1 where it has fewer."""
    missing = layout.rank - t.spec(value).rank
    if not missing:
        return t.read(value, layout)
    x = t.read(value, plain(layout.rank - missing))
    shape = (1,) * missing + x.spec.shape
    if layout.plain or x.spec.shape in ((), (1,)):
        return x  # ONNX adds the axes by itself
    wide = t.temporary(f"{x.name}/wide", plain(layout.rank), x.spec.with_shape(shape))
    t.reshape(x, wide)
    return t.arranged(wide, layout)


def per_channel(t: Writing, value: Value, layout: Layout) -> Written:
    """A parameter (c) that meets the last axis of what is held in a layout."""
    return _operand(t, value, layout)


def reshaped(t: Writing, source: Value, target: Value) -> None:
    """Write `target` as the elements of `source`, in the engine's order, in the shape of `target`.

    Axes that are split or merged stay where they are in the file. A flattened image remembers that its columns are in
    the order channels, rows, columns; only axes that must meet elsewhere are moved.
    """
    x, spec = t.read(source), t.spec(target)
    if x.layout.inner:
        channels, *sizes = x.layout.inner
        if spec.shape == (x.spec.shape[0], *sizes, channels):
            t.reshape(x, t.declare(target, channels_last(IMAGE_RANK)))
            return
        x = t.read(source, plain(2))
    groups = common_groups(x.spec.shape, spec.shape)
    if groups is None:
        x = t.read(source, plain(x.rank))
        t.reshape(x, t.declare(target, plain(spec.rank)))
        return
    if _flattens_an_image(x, groups, spec.shape):
        _, height, width, channels = x.spec.shape
        t.reshape(x, t.declare(target, Layout((0, 1), (channels, height, width))))
        return
    in_order = sorted(groups, key=lambda group: _first(x, group))
    wanted = [held for group in in_order for held in group[0]]
    wide = [x.axis(held) for held in wanted if x.spec.shape[held] != 1]
    if wide != sorted(wide):
        x = t.arranged(x, _layout(wanted))
    t.reshape(x, t.declare(target, _layout([held for group in in_order for held in group[1]])))


def _layout(held: Sequence[int]) -> Layout:
    """The layout in which ONNX's axis i is what the engine holds at held[i]."""
    return Layout(tuple(held.index(axis) for axis in range(len(held))))


def _first(x: Written, group: Group) -> tuple[int, int]:
    """Where a group of axes begins in the file; axes of size 1 say nothing, if there are others."""
    wide = [x.axis(held) for held in group[0] if x.spec.shape[held] != 1]
    return min(wide or [x.axis(held) for held in group[0]]), group[0][0]


def _flattens_an_image(x: Written, groups: list[Group], shape: tuple[int, ...]) -> bool:
    """Whether rows, columns and channels, which lie channels first, become one axis."""
    if x.layout != channels_last(IMAGE_RANK) or len(shape) != 2 or groups != [((0,), (0,)), ((1, 2, 3), (1,))]:
        return False
    _, height, width, channels = x.spec.shape
    return channels > 1 and (height > 1 or width > 1)
