"""A Session's plan as a table: node, kernel and why that one, place in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_sdk.kernel import Choice
from edge_sdk.memory_need import MemoryNeed
from edge_sdk.spec import Value


@dataclass(frozen=True)
class PlanStep:
    """One node: the kernel that runs it and, per output, its arena offset (None: a parameter's own array) and bytes."""

    op: str
    choice: Choice
    outputs: tuple[Value, ...]
    places: tuple[tuple[int | None, int], ...]

    @property
    def algorithm(self) -> str:
        """The name of the kernel."""
        return self.choice.kernel.algorithm

    @property
    def milliseconds(self) -> dict[str, float | None]:
        """The time of every kernel that could have run it, None where nothing is known of it."""
        return {kernel.algorithm: None if s is None else 1e3 * s for kernel, s in self.choice.candidates}

    @property
    def reason(self) -> str:
        """Why that kernel, as in `0.42 ms estimated; patches 0.61`; empty where it is the only one."""
        others = {name: spent for name, spent in self.milliseconds.items() if name != self.algorithm}
        if not others:
            return ""
        spent = self.milliseconds[self.algorithm]
        if spent is None or None in others.values():
            return f"the first that applies; also {', '.join(others)}"
        ranked = sorted(others.items(), key=lambda item: item[1] or 0.0)
        rest = ", ".join(f"{name} {time:.3g}" for name, time in ranked)
        return f"{spent:.3g} ms {'measured' if self.choice.measured else 'estimated'}; {rest}"

    def to_dict(self) -> dict[str, Any]:
        """The step as JSON-ready data."""
        return {
            "op": self.op,
            "algorithm": self.algorithm,
            "milliseconds": self.milliseconds,
            "measured": self.choice.measured,
            "outputs": [
                {"name": str(value), "bytes": size, "offset": offset}
                for value, (offset, size) in zip(self.outputs, self.places, strict=True)
            ],
        }


@dataclass(frozen=True)
class Plan:
    """What a Session will do, on `threads` that `threading_layer` runs (None: in the caller's).

    `need` is what it takes of the device's memory: the arena holds inputs, computed values and scratch; packed are
    constant weights once more, in the forms that kernels read them in. `unshared_bytes` is what the values alone would
    take if none shared memory.
    """

    graph: str
    device: str
    threads: int
    threading_layer: str | None
    steps: tuple[PlanStep, ...]
    need: MemoryNeed
    unshared_bytes: int

    @property
    def parameter_bytes(self) -> int:
        """Memory of the parameters, an optimizer's state included."""
        return self.need.parameters + self.need.state

    @property
    def arena_bytes(self) -> int:
        """Memory of inputs, computed values and scratch."""
        return self.need.arena

    @property
    def packed_bytes(self) -> int:
        """Memory of constant weights in the forms that kernels read them in."""
        return self.need.packed

    @property
    def peak_bytes(self) -> int:
        """Memory of the whole run."""
        return self.need.total

    @property
    def place(self) -> str:
        """Where it runs: the device, with how many threads of which library."""
        if self.threading_layer is None:
            return self.device
        return f"{self.device}, {self.threads} thread{'s' if self.threads > 1 else ''} ({self.threading_layer})"

    def __str__(self) -> str:
        width = max((len(step.op) for step in self.steps), default=0)
        lines = [f"plan of {self.graph} on {self.place}"]
        for number, step in enumerate(self.steps):
            for value, (offset, size) in zip(step.outputs, step.places, strict=True):
                place = "in its parameter" if offset is None else f"at {offset}"
                line = f"{number:5d}  {step.op:<{width}}  {step.algorithm:<24}  {value}: {size} bytes {place}"
                lines.append(f"{line}  ({step.reason})" if step.reason and value == step.outputs[0] else line)
        if self.packed_bytes:
            lines.append(f"packed weights: {_mib(self.packed_bytes)}, made anew when the parameters change")
        lines.append(self.summary())
        return "\n".join(lines)

    def summary(self) -> str:
        """One line: the planned peak and what it is made of."""
        state = f" (optimizer state {_mib(self.need.state)})" if self.need.state else ""
        packed = f"packed weights {_mib(self.packed_bytes)}, " if self.packed_bytes else ""
        gradients = f"gradients at the end {_mib(self.need.gradients)}, " if self.need.gradients else ""
        staging = f", next inputs {_mib(self.need.staging)}" if self.need.staging else ""
        return (
            f"planned peak {_mib(self.peak_bytes)}: parameters {_mib(self.parameter_bytes)}{state}, {packed}"
            f"arena {_mib(self.arena_bytes)} ({gradients}values without sharing {_mib(self.unshared_bytes)}){staging}; "
            f"{self.place}"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
