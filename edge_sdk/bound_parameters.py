"""The parameters of a graph where a device's kernels read and write them, kept in step with a Workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_sdk.device_memory import ON_HOST, DeviceMemory
from edge_sdk.graph import Graph
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.workspace import Workspace, address, mark_written, times_written


class BoundParameters(Protocol):
    """The arrays that a Session binds."""

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The parameters by name, on the device."""

    def refresh(self) -> bool:
        """Bring the arrays to what the workspace holds now; return whether they are other arrays than before."""

    def will_write(self, names: Iterable[str]) -> None:
        """Note that a run is about to write these parameters, wholly or, when it is interrupted, in part."""


def bound_parameters(graph: Graph, workspace: Workspace, device: str, memory: DeviceMemory) -> BoundParameters:
    """Return the parameters of `graph` on a device, not yet refreshed."""
    if device in ON_HOST:
        return HostParameters(graph, workspace)
    return DeviceParameters(graph, workspace, workspace.mirrors(device), memory)


def bytes_there(graph: Graph, workspace: Workspace, device: str, memory: DeviceMemory) -> int:
    """Return how much of a device's memory the parameters of a graph take already."""
    there: Iterable[Value] = graph.params
    if device not in ON_HOST:
        mirrors = workspace.mirrors(device)
        there = (name for name in graph.params if _fits(mirrors.get(name), graph.specs[name]))
    return sum(memory.taken(graph.specs[name].bytes) for name in there)


class HostParameters:
    """The workspace's own arrays: a Session's updates change them in place."""

    def __init__(self, graph: Graph, workspace: Workspace) -> None:
        self._graph, self._workspace = graph, workspace
        self.arrays: dict[str, Array] = {}
        self._new = True

    def refresh(self) -> bool:
        """Bind the workspace's arrays anew where any was exchanged: in C order, and writable where updated."""
        workspace = self._workspace
        if not self._new and all(workspace[name] is array for name, array in self.arrays.items()):
            return False
        self._new = False
        workspace.check(self._graph)
        self.arrays = {name: workspace[name] for name in self._graph.params}
        for name, array in self.arrays.items():
            if not array.flags.c_contiguous or (name in self._graph.updates and not array.flags.writeable):
                workspace[name] = self.arrays[name] = np.array(array, order="C")
        return True

    def will_write(self, names: Iterable[str]) -> None:
        """Note that these arrays change."""
        mark_written(address(self.arrays[name]) for name in names)


@dataclass
class Mirror:
    """A parameter's array on a device, and which contents of the host it holds."""

    array: Array
    holds: tuple[int, int] | None = None
    """Address and count of writes of the host's array that was copied here; None: newer than the host."""
    fetch: Callable[[], Array] | None = None
    """What the workspace calls for an array that is newer here."""


class DeviceParameters:
    """Arrays on the device, shared by all Sessions on the workspace: copied there when the host's are newer.

    What a run has written stays on the device until somebody asks the workspace for it.
    """

    def __init__(self, graph: Graph, workspace: Workspace, mirrors: dict[str, Mirror], memory: DeviceMemory) -> None:
        self._graph, self._workspace, self._memory = graph, workspace, memory
        self._mirrors: dict[str, Mirror] = {}
        for name in graph.params:
            spec = graph.specs[name]
            if not _fits(mirrors.get(name), spec):
                raw = memory.allocate(spec.bytes)
                mirrors[name] = Mirror(raw.view(spec.numpy_dtype).reshape(spec.shape))
            self._mirrors[name] = mirrors[name]
        self._new = True

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The parameters by name, on the device."""
        return {name: mirror.array for name, mirror in self._mirrors.items()}

    def refresh(self) -> bool:
        """Copy to the device what is newer on the host; true the first time alone, since the arrays stay."""
        for name, mirror in self._mirrors.items():
            if mirror.fetch is not None and self._workspace.undrawn(name) is mirror.fetch:
                continue  # newer here than on the host
            array = self._workspace.checked(name, self._graph.specs[Value(name)])
            place = address(array)
            if mirror.holds != (place, times_written(place)):
                self._memory.write(mirror.array, array)
                mark_written((address(mirror.array),))
                mirror.holds, mirror.fetch = (place, times_written(place)), None
        was_new, self._new = self._new, False
        return was_new

    def will_write(self, names: Iterable[str]) -> None:
        """Let the workspace fetch these parameters from the device when it is asked for them."""
        for name in names:
            mirror = self._mirrors[name]
            mark_written((address(mirror.array),))
            if mirror.fetch is None or self._workspace.undrawn(name) is not mirror.fetch:
                mirror.holds, mirror.fetch = None, _reader(self._memory, mirror.array)
                self._workspace.draw_later(name, mirror.fetch)


def _fits(mirror: Mirror | None, spec: Spec) -> bool:
    return mirror is not None and mirror.array.shape == spec.shape and mirror.array.dtype == spec.numpy_dtype


def _reader(memory: DeviceMemory, array: Array) -> Callable[[], Array]:
    def fetch() -> Array:
        return memory.read(array)

    return fetch
