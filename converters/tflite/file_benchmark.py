"""How fast a .tflite file is in the mobile runtime on this machine: from a cold start, by threads and by operator."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.benchmark import Cost, by_operator
from edge_sdk.converters.tflite.delegate_tables import XNNPACK
from edge_sdk.converters.tflite.delegates import operator_multiply_adds, readiness
from edge_sdk.converters.tflite.file_graph import FileGraph, FileOperator, read_file_graph
from edge_sdk.converters.tflite.runtime import TFLiteModel, load_runtime
from edge_sdk.converters.tflite.single_operators import single_operator_files
from edge_sdk.errors import EdgeError, FormatError

THREADS = (1, 2, 4)
PROCESS_SECONDS = 600
"""How long one process may take: the largest networks need a second a run."""


@dataclass(frozen=True)
class FileRun:
    """A file in a process of its own, with one number of threads.

    Attributes:
        latencies: Seconds of each run after the first few.
        load: Seconds from the path to an interpreter that is ready, with the runtime imported already.
        first_run: Seconds of the first run.
        imported: Seconds that importing the runtime's Python package took.
        peak_bytes: Most memory that the process ever held, or None where the system does not say.
        baseline_bytes: Most memory that it held before the file was opened: Python, NumPy and the runtime.
    """

    threads: int
    latencies: tuple[float, ...]
    load: float
    first_run: float
    imported: float
    peak_bytes: int | None
    baseline_bytes: int | None

    @property
    def cold_start(self) -> float:
        """Seconds from the path to the first answer."""
        return self.load + self.first_run

    def percentile(self, share: float) -> float:
        """Return the latency that a share of the runs does not exceed."""
        return float(np.quantile(self.latencies, share))


@dataclass(frozen=True)
class FileBenchmark:
    """A file in the runtime: a run for each number of threads, and each operator alone on one thread.

    `operators` were timed in files of one operator each: what the runtime saves by fusing neighbours, and what it loses
    because they fight for the caches, is not in them. `untimed` names operators that cannot be cut out.
    """

    path: str
    bytes: int
    runtime: str
    batch: int
    runs: tuple[FileRun, ...]
    operators: tuple[Cost, ...]
    untimed: tuple[str, ...]

    def by_operator(self) -> tuple[Cost, ...]:
        """Return the operators summed by name and by who computes them, those that take most first."""
        return by_operator(self.operators)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values, times in milliseconds."""
        return {
            "file": self.path,
            "bytes": self.bytes,
            "runtime": self.runtime,
            "batch": self.batch,
            "threads": {str(run.threads): _run_facts(run) for run in self.runs},
            "operators": [cost.to_dict(count=int(cost.name)) for cost in self.by_operator()],
            "nodes": [cost.to_dict(name=cost.name) for cost in self.operators],
            "untimed": list(self.untimed),
        }


def benchmark_file(
    path: Path | str, runs: int = 30, threads: Sequence[int] = THREADS, *, operators: bool = True
) -> FileBenchmark:
    """Time a .tflite file on one example: `runs` runs for each number of threads, in a fresh process each.

    The input is zeros; times of convolutions do not depend on it.

    Raises:
        FormatError: the file is damaged, or the runtime does not run it.
        MissingExtraError: no runtime is installed.
    """
    path = Path(path)
    opened = TFLiteModel.open(path)  # damage is said here, in our words
    data = path.read_bytes()
    graph = read_file_graph(data, str(path))
    measured = tuple(_in_a_process(path, count, runs) for count in threads)
    costs, untimed = _operator_costs(graph, data, runs) if operators else ((), ())
    shape = opened.inputs[0].shape if opened.inputs else ()
    return FileBenchmark(
        str(path), len(data), opened.runtime, max(1, shape[0]) if shape else 1, measured, tuple(costs), tuple(untimed)
    )


def _in_a_process(path: Path, threads: int, runs: int) -> FileRun:
    package, _ = load_runtime()
    worker = Path(__file__).with_name("benchmark_worker.py")
    arguments = [sys.executable, str(worker), package, str(path), str(threads), str(runs)]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, a file of ours
            arguments, capture_output=True, text=True, encoding="utf-8", timeout=PROCESS_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FormatError(f"{path}: {runs} runs took longer than {PROCESS_SECONDS} s; ask for fewer --runs") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise FormatError(f"{path}: the runtime cannot run it: {said[-1] if said else f'exit {done.returncode}'}")
    found = json.loads(done.stdout.splitlines()[-1])
    return FileRun(threads=threads, latencies=tuple(found.pop("latencies")), **found)


def _operator_costs(graph: FileGraph, data: bytes, runs: int) -> tuple[list[Cost], list[str]]:
    (taken,) = readiness(data, [XNNPACK])
    on_builtin_kernels = {left.index for left in taken.left_out}
    timed: list[tuple[FileOperator, float]] = []
    untimed = []
    for operator, file in single_operator_files(graph):
        seconds = None if file is None else _seconds(file, operator.name, runs)
        if seconds is None:
            untimed.append(f"{operator.name} ({graph.tensors[operator.outputs[0]].name})")
        else:
            timed.append((operator, seconds))
    total = sum(seconds for _, seconds in timed) or 1.0
    costs = [
        Cost(
            name=graph.tensors[operator.outputs[0]].name,
            op=operator.name,
            algorithm="builtin" if operator.index in on_builtin_kernels else "xnnpack",
            seconds=seconds,
            share=seconds / total,
            multiply_adds=operator_multiply_adds(operator, graph),
            bytes=_bytes(graph, (*operator.inputs, *operator.outputs)),
        )
        for operator, seconds in timed
    ]
    return costs, untimed


def _seconds(file: bytes, name: str, runs: int) -> float | None:
    try:
        return statistics.median(TFLiteModel(file, name, threads=1).latency(min(runs, 20)))
    except EdgeError:
        return None


def _bytes(graph: FileGraph, places: Iterable[int]) -> int:
    tensors = [graph.tensors[place] for place in places if place >= 0]
    return sum(math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in tensors if t.dtype is not None)


def _run_facts(run: FileRun) -> dict[str, Any]:
    return {
        "runs": len(run.latencies),
        "p50_milliseconds": 1e3 * run.percentile(0.5),
        "p90_milliseconds": 1e3 * run.percentile(0.9),
        "cold_start_milliseconds": 1e3 * run.cold_start,
        "load_milliseconds": 1e3 * run.load,
        "first_run_milliseconds": 1e3 * run.first_run,
        "import_milliseconds": 1e3 * run.imported,
        "peak_bytes": run.peak_bytes,
        "baseline_bytes": run.baseline_bytes,
    }
