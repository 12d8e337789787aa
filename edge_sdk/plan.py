"""A Session's plan as a table: node, kernel, place in memory."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.spec import Value


@dataclass(frozen=True)
class PlanStep:
    """One node: the kernel that runs it and, per output, its arena offset (None: a parameter's own array) and bytes."""

    op: str
    algorithm: str
    outputs: tuple[Value, ...]
    places: tuple[tuple[int | None, int], ...]


@dataclass(frozen=True)
class Plan:
    """What a Session will do, on `threads` that `threading_layer` runs (None: in the caller's).

    `arena_bytes` holds inputs, computed values and scratch; `unshared_bytes` is what the values alone take if none
    shared memory.
    """

    graph: str
    device: str
    threads: int
    threading_layer: str | None
    steps: tuple[PlanStep, ...]
    parameter_bytes: int
    arena_bytes: int
    unshared_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Memory of the whole run: parameters and arena."""
        return self.parameter_bytes + self.arena_bytes

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
                lines.append(f"{number:5d}  {step.op:<{width}}  {step.algorithm:<24}  {value}: {size} bytes {place}")
        lines.append(self.summary())
        return "\n".join(lines)

    def summary(self) -> str:
        """One line: the planned peak and what it is made of."""
        return (
            f"planned peak {_mib(self.peak_bytes)}: parameters {_mib(self.parameter_bytes)}, "
            f"arena {_mib(self.arena_bytes)} (values without sharing {_mib(self.unshared_bytes)}); {self.place}"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
