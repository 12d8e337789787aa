"""Session: a graph bound to a workspace, a device and a batch size, ready to run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from edge_sdk.autotune import autotune_by_default
from edge_sdk.bound_parameters import bound_parameters, bytes_there
from edge_sdk.device_memory import memory_of
from edge_sdk.errors import ShapeError, UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.kernel import Call, call_arguments, load_device, precise_by_default
from edge_sdk.memory_need import Room, check_fits, need_of
from edge_sdk.memory_plan import Block
from edge_sdk.packed_weights import PackedWeights
from edge_sdk.plan import Plan, PlanStep
from edge_sdk.prepared import prepare
from edge_sdk.quantization.profile import DEFAULT, Profile, checked_profile
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.threads import checked_threads, computing, threading_layer, turn
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class NodeTime:
    """Time spent in one node, summed over the profiled runs."""

    value: Value
    op: str
    algorithm: str
    seconds: float


class Session:
    """Binds kernels, plans memory and raises everything that can be wrong before the first run.

    Parameters live in the workspace and are changed there by the graph's updates; inputs, computed values and scratch
    share one arena that is allocated here, once. A run allocates nothing but the copies of the outputs it returns.

    Of several algorithms for a node, a Session takes the one that its cost model expects to be fastest. With `autotune`
    it runs each of them once on this machine, and remembers the times on disk (`edge_sdk.autotune`); where that is
    None, the environment's EDGE_AUTOTUNE decides.

    A `precise` Session leaves out kernels that round more than a direct sum of products, for some speed: their results
    are within 5e-5 of the largest, all others' within 1e-5. Where it is None, the environment's EDGE_PRECISE decides.

    `threads` compute; where it is left out, as many as `edge_sdk.get_threads` says. No result depends on it. Several
    Python threads may call `run`, of one Session or of several: runs that write weights go alone, the others at the
    same time as long as there are processors for all their threads.

    What is taken of the device's memory is `need`. It must be there, with `kept_free` bytes to spare.

    Raises:
        UsageError: the batch is open and none is given, the device is unknown, or `threads` cannot be had.
        GraphError: an operator has no kernel on the device, or a parameter has no fitting array.
        DeviceError: the device is not here.
        DeviceMemoryError: the device has less memory free than is needed; the message has the largest batch that fits.
    """

    def __init__(
        self,
        graph: Graph,
        workspace: Workspace,
        device: str = "cpu",
        batch: int | None = None,
        *,
        autotune: bool | None = None,
        precise: bool | None = None,
        threads: int | None = None,
        profile: Profile = DEFAULT,
        kept_free: int = 0,
    ) -> None:
        load_device(device)
        self._profile = checked_profile(profile)
        self.threads = checked_threads(threads, "Session")
        symbolic = [value for value in (*graph.inputs, *graph.params) if graph.specs[value].symbolic]
        if symbolic and batch is None:
            raise UsageError(f"graph {graph.name!r}: input {symbolic[0]!r} has an open batch; give Session(batch=…)")
        self.graph = graph.bind(batch) if symbolic and batch is not None else graph
        self.workspace = workspace
        self.device = device
        workspace.check(self.graph)
        self._memory = memory_of(device)
        precise = precise_by_default() if precise is None else precise
        autotune = autotune_by_default() if autotune is None else autotune
        prepared = prepare(self.graph, device, self.threads, autotune=autotune, precise=precise)
        self.need = need_of(prepared, self._memory)
        """What is taken of the device's memory."""
        if (free := self._memory.free_bytes()) is not None:
            free = max(0, free - self._memory.reserve) if self.graph.updates else free
            there = bytes_there(self.graph, workspace, device, self._memory)
            room = Room(device, self._memory, self.threads, precise, free, there, kept_free)
            check_fits(self.need, room, graph, batch if symbolic else None)
        self._choices, self.memory = prepared.choices, prepared.memory
        self._kernels = [choice.kernel for choice in self._choices]
        with computing(self.threads):
            self._packed = PackedWeights(self.graph, self._kernels, self._memory)
        self.scratch_counts = tuple(len(scratch) for scratch in prepared.scratch)
        """How many of a node's blocks in `memory.scratch` are scratch; the others hold weights packed at each run."""
        self._arena = self._memory.allocate(self.memory.arena_bytes)
        self._computed = {
            value: self._view(block, self.graph.specs[value]) for value, block in self.memory.blocks.items()
        }
        self._keywords: list[dict[str, Any]] = []
        placed = zip(self.memory.scratch, prepared.scratch, prepared.packed, strict=True)
        for step, (blocks, scratch, packed) in enumerate(placed):
            views = [self._view(block, spec) for block, spec in zip(blocks, (*scratch, *packed), strict=True)]
            own, changing = views[: len(scratch)], views[len(scratch) :]
            keywords = self._kernels[step].keywords(own, self._packed.get(step, changing))
            self._keywords.append(keywords | self._constants(step))
        self._own = threading.RLock()
        self._parameters = bound_parameters(self.graph, workspace, device, self._memory)
        self._steps: list[tuple[Call, ...]] = []
        with computing(self.threads):
            self._parameters.refresh()
            self._bind()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once on one array per input; returns copies of the outputs by name and applies the updates.

        Raises:
            UsageError: an input is missing or unknown.
            ShapeError: an array does not have its input's shape.
        """
        with self._turn():
            return self._start(feeds)()

    def start(self, feeds: Mapping[str, Array]) -> Callable[[], dict[str, Array]]:
        """Launch a run, and return what waits for its outputs and gives copies of them by name; raises as `run` does.

        A GPU computes while the caller goes on: feeds may be changed, and further runs be launched, `runs_ahead` of
        them without waiting for anything. On the CPU the run is over when this returns.
        """
        with self._turn():
            return self._start(feeds)

    @property
    def runs_ahead(self) -> int:
        """How many runs can be launched before outputs are asked for, so that the device never stands idle."""
        return self._memory.runs_ahead

    def profile(self, feeds: Mapping[str, Array], runs: int = 3) -> list[NodeTime]:
        """Run `runs` times, updates included, after one run to warm up, and return the time of each node."""
        self.run(feeds)
        seconds = [0.0] * len(self._steps)
        with self._turn():
            for _ in range(runs):
                self._begin(feeds)
                taken = self._memory.timed([partial(_make, step) for step in self._steps])
                seconds = [before + now for before, now in zip(seconds, taken, strict=True)]
                self._apply()
        return [
            NodeTime(node.outputs[0], node.op.name, kernel.algorithm, spent)
            for node, kernel, spent in zip(self.graph.nodes, self._kernels, seconds, strict=True)
        ]

    def time_on_device(self, feeds: Mapping[str, Array], runs: int) -> float:
        """Return the seconds of one of `runs` runs on the same feeds, updates included, which lie on the device.

        Nothing is copied from or to the host meanwhile, and the host waits for nothing between runs.
        """
        for _ in range(2):  # the first loads, of the second a GPU makes its program
            self.run(feeds)

        def work() -> None:
            for _ in range(runs):
                self._transfer.send_again()
                self._program()
                self._apply()

        with self._turn():
            self._begin(feeds)
            return self._memory.timed([work])[0] / runs

    @contextmanager
    def _turn(self) -> Generator[None, None, None]:
        with self._own, turn(self.threads, alone=bool(self.graph.updates)):
            yield

    @property
    def plan(self) -> Plan:
        """What runs, by which kernel, and where its result lives; printable."""
        steps = tuple(
            PlanStep(node.op.name, choice, node.outputs, tuple(self._place(value) for value in node.outputs))
            for node, choice in zip(self.graph.nodes, self._choices, strict=True)
        )
        values = [value for value in self.graph.specs if value not in self.graph.params]
        return Plan(
            graph=self.graph.name,
            device=self.device,
            threads=self.threads,
            threading_layer=threading_layer() if self.device == "cpu" else None,
            steps=steps,
            need=self.need,
            unshared_bytes=sum(self.graph.specs[value].bytes for value in values),
        )

    def _place(self, value: Value) -> tuple[int | None, int]:
        block = self.memory.blocks.get(value)
        return (None if block is None else block.offset), self.graph.specs[value].bytes

    def _constants(self, step: int) -> dict[str, Any]:
        """What a node's kernel works out of scales and zero points."""
        node = self.graph.nodes[step]
        inputs, outputs = ([self.graph.specs[value] for value in values] for values in (node.inputs, node.outputs))
        return self._kernels[step].constant_keywords(node.op, inputs, outputs, self._profile)

    def _view(self, block: Block, spec: Spec) -> Array:
        raw = self._arena[block.offset : block.offset + spec.bytes]
        return raw.view(spec.numpy_dtype).reshape(spec.shape)

    def _bind(self) -> None:
        """Point every step at the parameters' arrays, which a caller may have exchanged since."""
        parameters = self._parameters.arrays

        def bound(value: Value) -> Array:
            value = self.memory.aliases.get(value, value)
            return parameters[value] if value in parameters else self._computed[value]

        self._steps = []
        for step, (node, kernel) in enumerate(zip(self.graph.nodes, self._kernels, strict=True)):
            inputs = [bound(value) for value in node.inputs]
            calls: tuple[Call, ...] = ()
            if kernel.packing is not None and step not in self._packed:
                specs = tuple(self.graph.specs[value] for value in node.inputs)
                forms, weights = self._keywords[step]["packed"], inputs[kernel.packing.input]
                calls = (Call(kernel.packing.pack, (node.op, forms, specs, weights)),)
            outputs = call_arguments([bound(value) for value in node.outputs])
            self._steps.append((*calls, kernel.bind(node.op, outputs, inputs, self._keywords[step])))
        inputs, outputs = ([bound(value) for value in values] for values in (self.graph.inputs, self.graph.outputs))
        self._transfer = self._memory.transfer(inputs, outputs)
        copies = [
            Call(self._memory.copy, (bound(state), bound(new)))
            for state, new in self.graph.updates.items()
            if self.memory.aliases.get(new) != state
        ]
        self._program = self._memory.program([call for step in self._steps for call in step])
        self._apply = self._memory.program(copies)

    def _begin(self, feeds: Mapping[str, Array]) -> None:
        if self._parameters.refresh():
            self._bind()
        self._packed.refresh(self._parameters.arrays)
        self._parameters.will_write(self.graph.updates)
        unknown = [name for name in feeds if name not in self.graph.inputs]
        missing = [value for value in self.graph.inputs if value not in feeds]
        if unknown or missing:
            problem = f"no input {unknown[0]!r}" if unknown else f"input {missing[0]!r} was not fed"
            hint = suggestion(unknown[0], self.graph.inputs) if unknown else ""
            raise UsageError(f"graph {self.graph.name!r}: {problem}; it takes {', '.join(self.graph.inputs)}{hint}")
        arrays = []
        for value in self.graph.inputs:
            source, target = np.asarray(feeds[value]), self._computed[value]
            if source.shape != target.shape:
                raise ShapeError(
                    f"input {value!r} is {self.graph.specs[value]}, but the array fed is {list(source.shape)}"
                )
            if not np.can_cast(source.dtype, target.dtype, "same_kind"):
                raise ShapeError(f"input {value!r} is {self.graph.specs[value]}, but the array fed is {source.dtype}")
            arrays.append(source.astype(target.dtype, casting="same_kind", copy=False))
        self._transfer.send(arrays)

    def _start(self, feeds: Mapping[str, Array]) -> Callable[[], dict[str, Array]]:
        self._begin(feeds)
        self._program()
        outputs = self._transfer.receive()  # before the updates, which may overwrite what they are copied from
        self._apply()
        names = [str(value) for value in self.graph.outputs]
        return lambda: dict(zip(names, outputs(), strict=True))


def _make(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


def run_once(graph: Graph, workspace: Workspace, feeds: Mapping[str, Array], device: str = "cpu") -> dict[str, Array]:
    """Bind and run a graph a single time, taking the batch size from the feeds."""
    batches: Sequence[int] = [np.shape(feeds[v])[0] for v in graph.inputs if graph.specs[v].symbolic and v in feeds]
    return Session(graph, workspace, device, batches[0] if batches else None).run(feeds)
