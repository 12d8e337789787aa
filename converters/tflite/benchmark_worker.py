"""A process that opens a .tflite file as an app would, runs it and prints how that went, as one line of JSON.

    python benchmark_worker.py PACKAGE FILE THREADS RUNS

It imports nothing of edge-sdk, so that its memory and its times are the runtime's.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

WARMUP = 2
"""Runs behind the first one that are not counted."""


def peak_bytes() -> int | None:
    """Return the most memory that this process has held, or None where the system does not say.

    Linux's getrusage is not asked: it counts what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def measure(package: str, path: str, threads: int, runs: int) -> dict[str, object]:
    """Return seconds and bytes, named as the fields of `FileRun`."""
    start = time.perf_counter()
    import numpy as np

    interpreter_of = importlib.import_module(f"{package}.interpreter").Interpreter
    imported = time.perf_counter() - start
    baseline = peak_bytes()
    start = time.perf_counter()
    interpreter = interpreter_of(path, num_threads=threads)
    interpreter.allocate_tensors()
    load = time.perf_counter() - start
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    seconds = []
    for _ in range(1 + WARMUP + runs):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return {
        "latencies": seconds[1 + WARMUP :],
        "load": load,
        "first_run": seconds[0],
        "imported": imported,
        "peak_bytes": peak_bytes(),
        "baseline_bytes": baseline,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))) + "\n")
