"""What a Session takes of a device's memory, whether that is free, and the largest batch for which it is."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.device_memory import DeviceMemory
from edge_sdk.errors import DeviceError
from edge_sdk.graph import Graph
from edge_sdk.op import Op
from edge_sdk.ops.update import GROUPED, OF_DENSE_LAYERS
from edge_sdk.prepared import Prepared, prepare
from edge_sdk.spec import Value

UPDATES: tuple[type[Op], ...] = (*GROUPED, *GROUPED.values(), *OF_DENSE_LAYERS.values())
WEIGHT, GRADIENT = 0, 1
"""Places of both among an optimizer operator's inputs for one weight, and of the new weight among its outputs."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes on a device. `gradients` are a part of `arena`, all those that exist at the end of a training step.

    `parameters` are without `state`, an optimizer's; `packed` are forms of constant weights; `staging` is where the
    inputs of the next run wait.
    """

    parameters: int
    state: int
    arena: int
    gradients: int
    packed: int
    staging: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.state + self.arena + self.packed + self.staging

    def __str__(self) -> str:
        gradients = f", of it gradients {_amount(self.gradients)}" if self.gradients else ""
        parts = {
            "parameters": self.parameters,
            "optimizer state": self.state,
            "packed weights": self.packed,
            "next inputs": self.staging,
        }
        named = [f"{name} {_amount(size)}" for name, size in parts.items() if size]
        return f"{_amount(self.total)} ({', '.join(named)}; arena {_amount(self.arena)}{gradients})"


class DeviceMemoryError(DeviceError):
    """A Session that does not fit into what is free.

    `need` is what it takes, `room` what there is; `largest_batch` is the largest that fits, 0 where none is known.
    """

    def __init__(self, message: str, need: MemoryNeed, room: Room, largest_batch: int = 0) -> None:
        super().__init__(message)
        self.need, self.room, self.largest_batch = need, room, largest_batch

    def with_hint(self, hint: str) -> DeviceMemoryError:
        """Return the error with more to say."""
        return DeviceMemoryError(f"{self}{hint}", self.need, self.room, self.largest_batch)


@dataclass(frozen=True)
class Room:
    """What a device has for a Session: `free` bytes, of which `kept` are for others, and parameters already `there`."""

    device: str
    memory: DeviceMemory
    threads: int
    precise: bool
    free: int
    there: int
    kept: int = 0

    def fits(self, need: MemoryNeed) -> bool:
        """Whether so much can be taken."""
        return need.total - self.there + self.kept <= self.free

    def largest_batch(self, graph: Graph, below: int) -> int:
        """Return the largest batch less than `below` that fits for a graph with an open one; 0 where none does.

        Batches are planned, not tried, and halved: a larger one is taken to need more.
        """
        fitting, too_large = 0, below
        while too_large - fitting > 1:
            batch = (fitting + too_large) // 2
            prepared = prepare(graph.bind(batch), self.device, self.threads, autotune=False, precise=self.precise)
            if self.fits(need_of(prepared, self.memory)):
                fitting = batch
            else:
                too_large = batch
        return fitting


def need_of(prepared: Prepared, memory: DeviceMemory) -> MemoryNeed:
    """Return what a prepared Session takes of a device's memory."""
    graph, taken = prepared.graph, memory.taken
    state = optimizer_state(graph)
    return MemoryNeed(
        parameters=sum(taken(graph.specs[value].bytes) for value in graph.params if value not in state),
        state=sum(taken(graph.specs[value].bytes) for value in state),
        arena=taken(prepared.memory.arena_bytes),
        gradients=sum(graph.specs[value].bytes for value in last_gradients(graph)),
        packed=sum(taken(spec.bytes) for spec in prepared.kept),
        staging=memory.staging_bytes([graph.specs[value].bytes for value in graph.inputs]),
    )


def check_fits(need: MemoryNeed, room: Room, graph: Graph, batch: int | None) -> None:
    """Raise DeviceMemoryError where a Session on `graph` at `batch` (None: it has no open one) does not fit."""
    if room.fits(need):
        return
    size = "" if batch is None else f" in batches of {batch}"
    found = f"device {room.device!r}: {graph.name}{size} needs {need}, and {_amount(room.free)} are free"
    found += f", of which {_amount(room.kept)} are for validation and features" if room.kept else ""
    if batch is None:
        raise DeviceMemoryError(found, need, room)
    largest = room.largest_batch(graph, batch)
    fitting = f"the largest batch that fits is {largest}" if largest else "not even a batch of 1 fits"
    raise DeviceMemoryError(f"{found}; {fitting}", need, room, largest)


def optimizer_state(graph: Graph) -> frozenset[Value]:
    """Return the parameters that an optimizer keeps beside the weights: velocities, moments."""
    state: set[Value] = set()
    for node in graph.nodes:
        if isinstance(node.op, UPDATES):
            each = len(node.outputs) if node.op.members is None else node.op.members.outputs
            places = [node.op.overwrites(index) for index in range(len(node.outputs)) if index % each != WEIGHT]
            state.update(node.inputs[place] for place in places if place is not None)
    return frozenset(state.intersection(graph.params))


def last_gradients(graph: Graph) -> frozenset[Value]:
    """Return the gradients from which weights are updated. A dense layer's may be made tile by tile, and is none."""
    found: set[Value] = set()
    for node in graph.nodes:
        if not isinstance(node.op, UPDATES) or isinstance(node.op, tuple(OF_DENSE_LAYERS.values())):
            continue
        members = node.op.members
        if members is None:
            found.add(node.inputs[GRADIENT])
        else:
            found.update(inputs[GRADIENT] for inputs, _ in members.each(node.inputs, node.outputs))
    return frozenset(found)


def _amount(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size / 1024:.1f} KiB"
