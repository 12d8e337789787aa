"""How fast a Session is, and where its time goes: latencies, and the time of every node beside the machine's peaks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_sdk.cost import node_bytes, node_multiply_adds
from edge_sdk.kernel import device_module
from edge_sdk.model import INPUT, Model
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.step import LABEL, training_session


@dataclass(frozen=True)
class Peaks:
    """What the machine can do at most: operations a second of one thread and of all, bytes a second from memory."""

    threads: int
    thread_flops: float
    flops: float
    bytes_per_second: float


@dataclass(frozen=True)
class Cost:
    """Seconds of one run, multiply-adds and bytes of inputs and outputs: of one node, or of all of one kind."""

    name: str
    op: str
    algorithm: str
    seconds: float
    share: float
    multiply_adds: int
    bytes: int

    @property
    def flops(self) -> float:
        """Operations a second; a multiply-add is two. 0 for an operator without any."""
        return 2 * self.multiply_adds / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes moved a second, if each value moves once."""
        return self.bytes / self.seconds if self.seconds else 0.0

    def to_dict(self, **named: str | int) -> dict[str, Any]:
        """Return it as JSON-ready values behind those that say of what it is."""
        return {
            **named,
            "op": self.op,
            "algorithm": self.algorithm,
            "milliseconds": 1e3 * self.seconds,
            "share": self.share,
            "multiply_adds": self.multiply_adds,
            "bytes": self.bytes,
            "gflops": self.flops / 1e9,
            "gigabytes_per_second": self.bytes_per_second / 1e9,
        }


@dataclass(frozen=True)
class Benchmark:
    """Latencies of whole runs in seconds, and the profile of their nodes, in the order of the graph."""

    model: str
    batch: int
    training: bool
    latencies: tuple[float, ...]
    nodes: tuple[Cost, ...]

    def percentile(self, share: float) -> float:
        """Return the latency that a share of the runs does not exceed."""
        return float(np.quantile(self.latencies, share))

    @property
    def photos_per_second(self) -> float:
        """Photos a second at the median latency."""
        return self.batch / statistics.median(self.latencies)

    def by_operator(self) -> tuple[Cost, ...]:
        """Return the nodes summed by operator and algorithm, those that take most first."""
        return by_operator(self.nodes)


def by_operator(costs: Sequence[Cost]) -> tuple[Cost, ...]:
    """Return costs summed by operator and algorithm, those that take most first; the name says how many there are."""
    groups: dict[tuple[str, str], list[Cost]] = {}
    for node in costs:
        groups.setdefault((node.op, node.algorithm), []).append(node)
    summed = [
        Cost(
            name=str(len(members)),
            op=op,
            algorithm=algorithm,
            seconds=sum(member.seconds for member in members),
            share=sum(member.share for member in members),
            multiply_adds=sum(member.multiply_adds for member in members),
            bytes=sum(member.bytes for member in members),
        )
        for (op, algorithm), members in groups.items()
    ]
    return tuple(sorted(summed, key=lambda group: -group.seconds))


def measure_peaks(device: str = "cpu") -> Peaks:
    """Measure what this machine can do, in about a second."""
    return Peaks(**device_module(device, "peaks").measure())


def benchmark_inference(model: Model, batch: int = 1, runs: int = 30, autotune: bool | None = None) -> Benchmark:
    """Time `runs` runs of a model on its device on random photos, as one piece of `batch`, and profile them."""
    chosen = model.autotune if autotune is None else autotune
    session = Session(*model.execution, model.device, batch, autotune=chosen)
    return _benchmark(model.name, session, {INPUT: _photos(model, batch)}, batch, runs, training=False)


def benchmark_training(model: Model, batch: int = 16, runs: int = 30, autotune: bool | None = None) -> Benchmark:
    """Time `runs` training steps of all layers on the model's device on random photos and labels, and profile them.

    The model itself stays as it is: a step trains copies of its weights.
    """
    session = training_session(model, batch, learning_rate=1e-4, autotune=autotune, device=model.device)
    labels = np.random.default_rng(1).integers(0, model.num_classes, batch).astype(np.int32)
    feeds = {INPUT: _photos(model, batch), LABEL: labels}
    return _benchmark(model.name, session, feeds, batch, runs, training=True)


def _photos(model: Model, batch: int) -> Array:
    return np.random.default_rng(0).standard_normal((batch, *model.preprocess.shape), np.float32)


def _benchmark(
    name: str, session: Session, feeds: Mapping[str, Any], batch: int, runs: int, *, training: bool
) -> Benchmark:
    session.run(feeds)
    latencies = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run(feeds)
        latencies.append(time.perf_counter() - start)
    profiled = min(runs, 10)
    nodes = session.profile(feeds, profiled)
    total = sum(node.seconds for node in nodes)
    costs: Sequence[Cost] = [
        Cost(
            name=str(spent.value),
            op=spent.op,
            algorithm=spent.algorithm,
            seconds=spent.seconds / profiled,
            share=spent.seconds / total,
            multiply_adds=node_multiply_adds(session.graph, node),
            bytes=node_bytes(session.graph, node),
        )
        for node, spent in zip(session.graph.nodes, nodes, strict=True)
    ]
    return Benchmark(name, batch, training, tuple(latencies), tuple(costs))
