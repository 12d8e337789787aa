"""Reshape and transpose of tensors that are held in another order than ONNX's."""

from __future__ import annotations

from collections.abc import Sequence

from edge_sdk.converters.onnx.call import Call
from edge_sdk.converters.onnx.layout import Group, Layout, channels_last, common_groups, plain
from edge_sdk.converters.onnx.tensor import Constant, Tensor


def transposed(c: Call, x: Tensor, permutation: Sequence[int]) -> Tensor:
    """Name the axes anew: nothing moves."""
    if sorted(permutation) != list(range(x.rank)):
        raise c.unsupported(f"perm {tuple(permutation)} for x of shape {x.shape}")
    if x.layout.inner:
        x = c.result(c.plain(x))
    order = tuple(permutation.index(axis) for axis in x.layout.order)
    return c.tensor(x.held, Layout(order))


def reshaped(c: Call, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The elements of x, in ONNX's order, in another shape.

    Axes that are split or merged stay where they are held. A flattened image remembers that its columns are held in
    the order rows, columns, channels; only axes that must meet elsewhere are moved.
    """
    if shape == x.shape:
        return x
    if isinstance(x.held, Constant):
        array = c.translation.reshape_array(x.layout.release(x.held.array), shape)
        return c.result(Constant(array, x.held.name))
    if x.layout.inner:
        if shape == (x.shape[0], *x.layout.inner):
            layout = channels_last(len(shape))
            return c.tensor(c.translation.reshape(x.held, layout.held_shape(shape)), layout)
        x = c.result(c.plain(x))
    groups = common_groups(x.shape, shape)
    if groups is None:
        return c.result(c.translation.reshape(c.plain(x), shape))
    flat = len(shape) == 2 and x.rank > 3 and x.layout == channels_last(x.rank)
    if flat and groups == [((0,), (0,)), (tuple(range(1, x.rank)), (1,))] and _scattered(x, groups[1][0]):
        return c.tensor(c.translation.reshape(x.held, shape), Layout((0, 1), x.shape[1:]))
    in_order = _by_first_held(x, groups)
    old = tuple(axis for group in in_order for axis in group[0])
    new = tuple(axis for group in in_order for axis in group[1])
    held = c.translation.hold(x, Layout(old))
    layout = Layout(new)
    return c.tensor(c.translation.reshape(held, layout.held_shape(shape)), layout)


def _by_first_held(x: Tensor, groups: list[Group]) -> list[Group]:
    """The groups in the order in which the engine first meets one of their axes; size 1 says nothing, if it can."""
    places = x.layout.inverse

    def first(group: Group) -> tuple[int, int]:
        wide = [places[axis] for axis in group[0] if x.shape[axis] != 1]
        return min(wide or [places[axis] for axis in group[0]]), group[0][0]

    return sorted(groups, key=first)


def _scattered(x: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether axes that are to be merged are held in another order."""
    places = [x.layout.order.index(axis) for axis in axes if x.shape[axis] != 1]
    return places != sorted(places)


def expanded(c: Call, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Y = x with new axes of size 1 at these places of the result."""
    rank = x.rank + len(axes)
    sizes = iter(x.shape)
    return reshaped(c, x, tuple(1 if axis in axes else next(sizes) for axis in range(rank)))


def plain_tensor(c: Call, x: Tensor) -> Tensor:
    """The tensor held in ONNX's order."""
    return c.tensor(c.plain(x), plain(x.rank))
