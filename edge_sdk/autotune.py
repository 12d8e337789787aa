"""Algorithms chosen by measuring them: once for a machine, then remembered on disk.

A kernel's cost model knows shapes, not machines. An Autotuner runs every candidate of a node on scratch arrays, and
takes the fastest where it is clearly faster than the cost model's choice. Algorithms round differently, so the bytes of
results depend on these timings; once they are on disk, the same machine makes the same choice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.cache_folder import cache_folder
from edge_sdk.device_memory import ON_HOST, DeviceMemory, memory_of
from edge_sdk.kernel import Call, Choice, Kernel, call_arguments, choose_by_cost, device_module, switched_on
from edge_sdk.op import Op
from edge_sdk.spec import Array, Spec

AUTOTUNE = "EDGE_AUTOTUNE"
"""The environment variable that makes every Session measure where its caller does not say."""

FORMAT = 1
ROUNDS = 7  # of interleaved runs of a node's candidates
FEWEST_ROUNDS = 3
BUDGET_SECONDS = 0.4  # for the rounds of one node; the fewest are made all the same
HOPELESS = 2.0  # times the fastest: a candidate that is slower in its first two runs is not run again
MARGIN = 0.05  # of the time: what is gained must be more, or the cost model's choice stays

Times = dict[str, float]


def autotune_by_default() -> bool:
    """Whether Sessions measure where their caller does not say; raises UsageError."""
    return switched_on(AUTOTUNE)


def tuning_folder() -> Path:
    """Where measured times are kept: in the user's cache folder, or `tuning` in $EDGE_CACHE."""
    return cache_folder("tuning")


class Autotuner:
    """Measured milliseconds by node and algorithm, of one machine; `save` keeps new ones on disk.

    The file's name holds the versions of package and kernels, the processor and the threads: what changes any of them
    starts a new file.
    """

    def __init__(self, device: str) -> None:
        self._device, self._machine = device, device_module(device, "machine")
        self._identity: dict[str, str | int] = self._machine.identity()
        digest = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:12]
        self.path = tuning_folder() / f"{device}-{self._identity['processor']}-{digest}.json"
        self._known = self._read()
        self._new: dict[str, Times] = {}

    def measure(
        self, candidates: Sequence[Kernel], op: Op, inputs: Sequence[Spec], constant: Collection[int] = ()
    ) -> None:
        """Time the candidates of a node, unless that has been done."""
        key = _key(op, inputs, constant)
        if _can_measure(candidates, inputs) and not self._knows(key, candidates):
            seconds = measured_seconds(candidates, op, inputs, constant, self._device)
            times = {c.algorithm: round(1e3 * s, 6) for c, s in zip(candidates, seconds, strict=True)}
            self._known[key] = self._new[key] = times | self._known.get(key, {})

    def save(self) -> None:
        """Add what was measured to the file, beside what other processes have added; their times win over ours.

        Where the folder cannot be written, the times are kept for this Autotuner only.
        """
        if not self._new:
            return
        kept = self._read()
        self._known = {key: self._known.get(key, {}) | kept.get(key, {}) for key in {**self._known, **kept}}
        self._new = {}
        content = {"format": FORMAT, "machine": self._identity, "milliseconds": dict(sorted(self._known.items()))}
        with contextlib.suppress(OSError):
            atomic_write_bytes(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def choose(
        self, candidates: Sequence[Kernel], op: Op, inputs: Sequence[Spec], constant: Collection[int] = ()
    ) -> Choice:
        """Choose the candidate of least measured time where it beats the cost models' choice by more than noise."""
        expected = choose_by_cost(candidates, op, inputs, constant)
        key = _key(op, inputs, constant)
        if not _can_measure(candidates, inputs) or not self._knows(key, candidates):
            return expected
        times = self._known[key]
        best = min(candidates, key=lambda candidate: times[candidate.algorithm])
        clear = times[best.algorithm] < (1 - MARGIN) * times[expected.kernel.algorithm]
        chosen = best if clear else expected.kernel
        return Choice(chosen, tuple((c, times[c.algorithm] / 1e3) for c in candidates), measured=True)

    def _knows(self, key: str, candidates: Sequence[Kernel]) -> bool:
        return {candidate.algorithm for candidate in candidates} <= self._known.get(key, {}).keys()

    def _read(self) -> dict[str, Times]:
        """The file's times; none from one that is absent, damaged or of another machine."""
        try:
            content = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict) or (content.get("format"), content.get("machine")) != (FORMAT, self._identity):
            return {}
        times = content.get("milliseconds")
        return {k: t for k, t in times.items() if _are_times(t)} if isinstance(times, dict) else {}


def _are_times(value: Any) -> bool:
    numbers = isinstance(value, dict) and all(type(number) in (int, float) for number in value.values())
    return numbers and all(0 < number < float("inf") for number in value.values())


def _can_measure(candidates: Sequence[Kernel], inputs: Sequence[Spec]) -> bool:
    """Whether there is a choice, and scratch arrays of numbers say as much as real ones."""
    return len(candidates) > 1 and all(spec.quant is None for spec in inputs)


def _key(op: Op, inputs: Sequence[Spec], constant: Collection[int]) -> str:
    """What decides a node's time: operator, attributes, shapes, and which inputs are packed once."""
    attributes = json.dumps(op.attributes(), sort_keys=True, separators=(",", ":"), default=str)
    return f"{op.name} {attributes} {' '.join(map(str, inputs))} constant {sorted(constant)}"


def measured_seconds(
    candidates: Sequence[Kernel], op: Op, inputs: Sequence[Spec], constant: Collection[int], device: str
) -> list[float]:
    """Return the seconds of each candidate, run in turns on scratch arrays: the median of the faster half of its runs.

    (The slower half is where other programs had the processor.) Between runs other memory is read, as other nodes do,
    then the inputs that are no weights, as if the node before had just written them. A weight that is not constant is
    packed in every run. On a device of its own memory a run is what a Session makes of it, there a captured graph.
    """
    memory, machine, generator = memory_of(device), device_module(device, "machine"), np.random.default_rng(0)
    arrays = [_filled(spec, generator, memory) for spec in inputs]
    weights = {c.packing.input for c in candidates if c.packing is not None} | set(constant)
    warm = [array for index, array in enumerate(arrays) if index not in weights and array.dtype == np.float32]
    outputs = call_arguments([_empty(spec, memory) for spec in op.infer_outputs(tuple(inputs))])
    works = [_work(candidate, op, inputs, constant, arrays, outputs, memory) for candidate in candidates]

    def run(work: Callable[[], None]) -> float:
        machine.disturb_caches()
        for array in warm:
            machine.read(array)
        return memory.timed([work])[0]

    for work in works:
        work()  # compiles
        if device not in ON_HOST:
            work()  # is captured
    times = [[run(work), run(work)] for work in works]
    fastest = min(map(min, times))
    hopeful = [index for index, first in enumerate(times) if min(first) < HOPELESS * fastest]
    begin = time.perf_counter()
    for turn in range(ROUNDS):
        if turn >= FEWEST_ROUNDS and time.perf_counter() - begin > BUDGET_SECONDS:
            break
        for index in hopeful:
            times[index].append(run(works[index]))
    return [sorted(seconds)[len(seconds) // 4] for seconds in times]


def _work(
    candidate: Kernel, op: Op, inputs: Sequence[Spec], constant: Collection[int], arrays: Sequence[Array], outputs: Any,
    memory: DeviceMemory,
) -> Callable[[], None]:  # fmt: skip
    """The node by one candidate, with the packing of weights that are not constant."""
    scratch = [_empty(spec, memory) for spec in candidate.scratch_specs(op, inputs)]
    packed = [_empty(spec, memory) for spec in candidate.packed_specs(op, inputs)]
    call = candidate.bind(op, outputs, arrays, candidate.keywords(scratch, packed))
    packing = candidate.packing
    if packing is None:
        return memory.program((call,))
    pack = Call(packing.pack, (op, tuple(packed), tuple(inputs), arrays[packing.input]))
    if packing.input in constant:
        pack()
        return memory.program((call,))
    return memory.program((pack, call))


def _empty(spec: Spec, memory: DeviceMemory) -> Array:
    return memory.allocate(spec.bytes)[: spec.bytes].view(spec.numpy_dtype).reshape(spec.shape)


def _filled(spec: Spec, generator: np.random.Generator, memory: DeviceMemory) -> Array:
    """Numbers as they are in a network, or zeros for integers, which may be places."""
    array, content = _empty(spec, memory), np.zeros(spec.shape, spec.numpy_dtype)
    if content.dtype.kind == "f":
        content = generator.standard_normal(spec.shape, dtype=np.float32).astype(content.dtype)
    memory.write(array, content)
    return array


def bound_choices(
    nodes: Sequence[tuple[Op, Sequence[Kernel], Sequence[Spec], Sequence[int]]], device: str
) -> list[Choice]:
    """Choose for each node (operator, candidates, input specs, places of constants), measuring what is not known."""
    if not any(_can_measure(candidates, inputs) for _, candidates, inputs, _ in nodes):
        return [choose_by_cost(candidates, op, inputs, constant) for op, candidates, inputs, constant in nodes]
    tuner = Autotuner(device)
    for op, candidates, inputs, constant in nodes:
        tuner.measure(candidates, op, inputs, constant)
    tuner.save()
    return [tuner.choose(candidates, op, inputs, constant) for op, candidates, inputs, constant in nodes]
