"""One thread against two (or as many as --threads says), training and inference, edge-sdk alone.

    python -m benchmarks.scaling resnet18 --batch 16

Both numbers run in turns in processes of their own, on random photos.
"""

from __future__ import annotations

import sys

import click

from benchmarks.interleave import Program, compare, machine, write


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--turns", default=7, show_default=True)
def main(models: tuple[str, ...], batch: int, threads: int, turns: int) -> None:
    """Measure, print, write results/scaling.json."""
    for model in models:
        for kind, worker in (("training", "edge_train.py"), ("inference", "edge_infer.py")):
            arguments = (model, str(batch), "float32")
            programs = [
                Program(str(count), sys.executable, worker, arguments, {"EDGE_NUM_THREADS": str(count)})
                for count in (1, threads)
            ]
            figures = compare(programs, turns, threads)
            one, many = (figures[str(count)]["median_seconds"] for count in (1, threads))
            print(
                f"{model:20} {kind:10} {one * 1e3:8.1f} ms → {many * 1e3:8.1f} ms on {threads}: {one / many:.2f} times"
            )
            report = {"machine": machine(), "batch": batch, "turns": turns, "figures": figures}
            write("scaling", f"{model} b{batch} {kind}", {**report, "times_faster": round(one / many, 2)})


if __name__ == "__main__":
    main()
