"""Time several programs in turns, so that all of them meet the same machine; compare medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.machine import machine

__all__ = ["Program", "Worker", "compare", "machine", "write"]

WORKERS = Path(__file__).parent / "workers"
RESULTS = Path(__file__).parent / "results"
PAUSE = 0.2  # seconds between turns: threads of the program before may still spin


@dataclass(frozen=True)
class Program:
    """A worker to start: a Python interpreter, a file of workers/, its arguments, variables of its own."""

    name: str
    python: str
    worker: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A running worker."""

    def __init__(self, program: Program, threads: int) -> None:
        counts = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(  # noqa: S603 - our own workers
            [program.python, str(WORKERS / program.worker), *program.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **counts, **program.environment},
        )
        self._input, self._output = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)
        self.about = self._answer()["about"]

    def turn(self) -> dict[str, float]:
        """Let it work once."""
        return self.ask("go")

    def ask(self, line: str) -> dict[str, Any]:
        """Write a line, and return the answer."""
        self._input.write(f"{line}\n")
        self._input.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._output.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def compare(programs: Sequence[Program], turns: int, threads: int) -> dict[str, dict[str, Any]]:
    """Run all programs in turns; return for each the median, fastest and slowest seconds and the peak memory."""
    workers = [Worker(program, threads) for program in programs]
    try:
        times: list[list[float]] = [[] for _ in workers]
        memory = [0.0 for _ in workers]
        for _ in range(turns):
            for index, worker in enumerate(workers):
                time.sleep(PAUSE)
                worker.turn()  # wakes its threads and fills the caches
                answer = worker.turn()
                times[index].append(answer["seconds"])
                memory[index] = max(memory[index], answer["peak_rss_mib"])
        return {
            program.name: {
                "median_seconds": round(statistics.median(seconds), 6),
                "fastest_seconds": round(min(seconds), 6),
                "slowest_seconds": round(max(seconds), 6),
                "peak_rss_mib": round(peak, 1),
                "versions": worker.about,
            }
            for program, worker, seconds, peak in zip(programs, workers, times, memory, strict=True)
        }
    finally:
        for worker in workers:
            worker.close()


def write(name: str, key: str, figures: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Put figures under `key` into results/<name>.json, beside those that are there."""
    path = folder / f"{name}.json"
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    known[key] = figures
    path.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n", encoding="utf-8")
    return path
