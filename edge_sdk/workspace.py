"""Workspace: the arrays of a graph's parameters, by name."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.errors import GraphError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.spec import Array, Spec

# How often the array at an address was written by a Session or assigned, for what is derived from it. An entry outlives
# its array; the next array at that address is then derived from once more than needed.
_WRITTEN: Counter[int] = Counter()


def address(array: Array) -> int:
    """Return where an array's elements start, on the host or on a device."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


def mark_written(addresses: Iterable[int]) -> None:
    """Note that the arrays at these addresses have new contents."""
    for place in addresses:
        _WRITTEN[place] += 1


def times_written(place: int) -> int:
    """Return how often the contents at an address are known to have changed."""
    return _WRITTEN[place]


@dataclass(frozen=True)
class _Undrawn:
    """An array that nobody has asked for yet."""

    draw: Callable[[], Array]


class Workspace(MutableMapping[str, Array]):
    """An ordinary object, handed to whoever needs it; there is no global one.

    Kernels keep constant weights in forms of their own, made from the arrays here. They are made anew when an array is
    exchanged or a Session updates it. After writing into an array by hand, assign it: `workspace[name] = array`.
    """

    def __init__(self, arrays: Mapping[str, Array] | None = None) -> None:
        self._arrays: dict[str, Array | _Undrawn] = dict(arrays or {})
        self._mirrors: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Workspace: {len(self)} arrays>"

    def draw_later(self, name: str, draw: Callable[[], Array]) -> None:
        """Let `draw` make the array when it is first asked for; one that is replaced before takes no memory."""
        self._arrays[name] = _Undrawn(draw)

    def undrawn(self, name: str) -> Callable[[], Array] | None:
        """Return what makes an array that nobody has asked for yet, None where there is an array."""
        array = self._arrays.get(name)
        return array.draw if isinstance(array, _Undrawn) else None

    def mirrors(self, device: str) -> dict[str, Any]:
        """Return the arrays that Sessions on a device keep of this workspace's, by name (`bound_parameters.Mirror`)."""
        return self._mirrors.setdefault(device, {})

    def __getitem__(self, name: str) -> Array:
        try:
            array = self._arrays[name]
        except KeyError:
            raise GraphError(f"the workspace has no array {name!r}{suggestion(name, self._arrays)}") from None
        if not isinstance(array, _Undrawn):
            return array
        self[name] = drawn = array.draw()
        return drawn

    def __setitem__(self, name: str, array: Array) -> None:
        self._arrays[name] = array = np.asarray(array)
        mark_written((address(array),))

    def __delitem__(self, name: str) -> None:
        del self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def copy(self) -> Workspace:
        """Return a workspace with copies of all arrays."""
        return Workspace({name: array.copy() for name, array in self.items()})

    def restricted(self, graph: Graph) -> Workspace:
        """Return the arrays that `graph` names as parameters, shared and not copied."""
        return Workspace({name: self[name] for name in graph.params})

    def check(self, graph: Graph) -> None:
        """Raise GraphError unless every parameter of `graph` has an array of its shape and dtype."""
        for name in graph.params:
            self.checked(name, graph.specs[name])

    def checked(self, name: str, spec: Spec) -> Array:
        """Return the array of a parameter; raises GraphError unless it has the shape and dtype of `spec`."""
        array = self[name]
        if array.shape != spec.shape or array.dtype != spec.numpy_dtype:
            raise GraphError(f"parameter {name!r} is {spec}, but its array is {array.dtype}{list(array.shape)}")
        return array

    def digest(self) -> str:
        """Return a SHA-256 over names, dtypes, shapes and bytes, the same on every machine."""
        hashed = hashlib.sha256()
        for name in sorted(self._arrays):
            array = self[name]
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            hashed.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            hashed.update(array.tobytes())
        return hashed.hexdigest()
