"""From the start of a process to the end of its first training step, beside PyTorch's; and its parts.

    python -m benchmarks.coldstart resnet18 --batch 16 --vs torch

Each start is a fresh process that imports, makes the network with random weights for ten classes, binds a training step
and takes it. Kernels have been compiled before, by a start that is not counted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks.interleave import PAUSE, WORKERS, Program, machine, write


def start(program: Program, threads: int) -> dict[str, float]:
    """Start a program; return the seconds since then at which it had reached each of its parts."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "EDGE_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    began = time.time()
    result = subprocess.run(  # noqa: S603 - our own workers
        [program.python, str(WORKERS / program.worker), *program.arguments],
        env={**os.environ, **counts}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    reached: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return {part: at - began for part, at in reached.items()}


def measure(programs: list[Program], turns: int, threads: int) -> dict[str, dict[str, float]]:
    """Return each program's median seconds to each part, over starts in turns."""
    found: dict[str, list[dict[str, float]]] = {program.name: [] for program in programs}
    for program in programs:
        start(program, threads)
    for _ in range(turns):
        for program in programs:
            time.sleep(PAUSE)
            found[program.name].append(start(program, threads))
    return {
        name: {part: round(statistics.median(run[part] for run in runs), 4) for part in runs[0]}
        for name, runs in found.items()
    }


@click.command(help=__doc__)
@click.argument("model")
@click.option("--batch", default=16, show_default=True, help="Photos a step.")
@click.option("--vs", type=click.Choice(["torch", "none"]), default="torch", show_default=True)
@click.option("--torch-python", default=sys.executable, help="Interpreter that has torch and torchvision.")
@click.option("--threads", default=2, show_default=True)
@click.option("--turns", default=5, show_default=True, help="Timed starts of each program.")
def main(model: str, batch: int, vs: str, torch_python: str, threads: int, turns: int) -> None:
    """Measure, print, write results/coldstart.json."""
    programs = [Program("edge_sdk", sys.executable, "edge_coldstart.py", (model, str(batch)))]
    if vs == "torch":
        programs.append(Program("torch", str(Path(torch_python)), "torch_coldstart.py", (model, str(batch))))
    figures = measure(programs, turns, threads)
    for name, parts in figures.items():
        print(name + ": " + ", ".join(f"{part} {seconds:.3f} s" for part, seconds in parts.items()))
    report = {"machine": machine(), "batch": batch, "threads": threads, "turns": turns, "figures": figures}
    write("coldstart", f"{model} b{batch}", report)


if __name__ == "__main__":
    main()
