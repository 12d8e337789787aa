"""What `edge benchmark` prints of .tflite files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edge_sdk.cli.output import note, print_table, size

if TYPE_CHECKING:
    from edge_sdk.benchmark import Cost
    from edge_sdk.converters.tflite.file_benchmark import FileBenchmark, FileRun


def print_files(found: Sequence[FileBenchmark], *, nodes: bool) -> None:
    """Print the files beside each other, then the operators of each; with `nodes` every operator too."""
    for letter, file in zip(_letters(found), found, strict=True):
        batch = "" if file.batch == 1 else f", batches of {file.batch}"
        click.echo(f"{letter}{file.path}: {size(file.bytes)}, in {file.runtime}{batch}")
    columns = ("file", "threads", "p50 ms", "p90 ms", "to the first", "cold start ms", "peak memory", "of the file")
    rows = [
        (letter.strip(" =") or "–", str(run.threads), *_figures(run, first))
        for letter, file in zip(_letters(found), found, strict=True)
        for run, first in zip(file.runs, found[0].runs, strict=True)
    ]
    print_table("", columns, rows, compact=True)
    for letter, file in zip(_letters(found), found, strict=True):
        _print_operators(letter, file, nodes=nodes)
    if any(run.percentile(0.9) > 1.5 * run.percentile(0.5) for file in found for run in file.runs):
        note("the latencies differ much; something else is running, or there are fewer processors than threads")


def _letters(found: Sequence[FileBenchmark]) -> list[str]:
    return [""] if len(found) == 1 else [f"{chr(ord('A') + index)} = " for index in range(len(found))]


def _figures(run: FileRun, first: FileRun) -> tuple[str, ...]:
    p50, p90 = run.percentile(0.5), run.percentile(0.9)
    ratio = "–" if run is first else f"× {p50 / first.percentile(0.5):.2f}"
    peak, own = "–", "–"
    if run.peak_bytes is not None and run.baseline_bytes is not None:
        peak, own = size(run.peak_bytes), size(run.peak_bytes - run.baseline_bytes)
    return f"{1e3 * p50:.2f}", f"{1e3 * p90:.2f}", ratio, f"{1e3 * run.cold_start:.1f}", peak, own


def _print_operators(letter: str, file: FileBenchmark, *, nodes: bool) -> None:
    def figures(cost: Cost) -> tuple[str, ...]:
        rate = f"{cost.flops / 1e9:.1f}" if cost.multiply_adds else "–"
        return f"{1e3 * cost.seconds:.3f}", f"{100 * cost.share:.1f} %", rate

    total = sum(cost.seconds for cost in file.operators)
    title = f"\n{letter}operators, each in a file of its own, one thread: {1e3 * total:.2f} ms together"
    rows = [(cost.op, cost.algorithm, cost.name, *figures(cost)) for cost in file.by_operator()]
    print_table(title, ("operator", "kernels", "count", "ms", "share", "GFLOP/s"), rows, names=2, compact=True)
    if nodes:
        rows = [(cost.name, cost.op, cost.algorithm, *figures(cost)) for cost in file.operators]
        print_table("", ("result", "operator", "kernels", "ms", "share", "GFLOP/s"), rows, names=3, compact=True)
    for name in file.untimed:
        note(f"not timed alone: {name}")
