"""Speed and memory of one training step of all layers, beside PyTorch's.

    python -m benchmarks.train_step resnet18 --batch 16 --vs torch

SGD with momentum on random 224×224 photos of ten classes, float32; --precision bf16 and --recompute are about
edge-sdk's step alone, whose usual form then runs beside it. PyTorch runs in both of its layouts; the ratio is to the
faster one. It may live in an environment of its own: --torch-python names its interpreter.
"""

from __future__ import annotations

import sys

import click

from benchmarks.interleave import Program, compare, machine, write

USUAL = "edge_sdk usual"


@click.command(help=__doc__)
@click.argument("model")
@click.option("--batch", default=16, show_default=True, help="Photos a step.")
@click.option("--vs", type=click.Choice(["torch", "none"]), default="torch", show_default=True)
@click.option("--torch-python", default=sys.executable, help="Interpreter that has torch and torchvision.")
@click.option("--threads", default=2, show_default=True)
@click.option("--precision", type=click.Choice(["float32", "bf16"]), default="float32", show_default=True)
@click.option("--recompute", type=click.Choice(["auto", "activations", "none"]), default="auto", show_default=True)
@click.option("--turns", default=7, show_default=True, help="Timed steps of each program.")
def main(
    model: str, batch: int, vs: str, torch_python: str, threads: int, precision: str, recompute: str, turns: int
) -> None:
    """Measure, print, write results/train_step.json."""
    size = (model, str(batch))
    form = (precision, recompute)
    programs = [Program("edge_sdk", sys.executable, "edge_train.py", (*size, *form))]
    if form != ("float32", "auto"):
        programs.append(Program(USUAL, sys.executable, "edge_train.py", size))
    if vs == "torch":
        programs += [
            Program(f"torch {layout}", torch_python, "torch_train.py", (*size, layout))
            for layout in ("plain", "channels_last")
        ]
    figures = compare(programs, turns, threads)
    for name, figure in figures.items():
        seconds = figure["median_seconds"]
        print(f"{name:20} {seconds * 1e3:8.1f} ms {batch / seconds:8.1f} photos/s {figure['peak_rss_mib']:8.0f} MiB")
    report = {"machine": machine(), "batch": batch, "threads": threads, "turns": turns, "figures": figures}
    ours = figures["edge_sdk"]
    if USUAL in figures:
        report["times_usual"] = round(figures[USUAL]["median_seconds"] / ours["median_seconds"], 2)
        print(f"{report['times_usual']:.2f} times the speed of the usual step")
    peers = [figure for name, figure in figures.items() if name.startswith("torch")]
    if peers:
        best = min(peers, key=lambda figure: figure["median_seconds"])
        report["times_faster"] = round(best["median_seconds"] / ours["median_seconds"], 2)
        report["memory_ratio"] = round(ours["peak_rss_mib"] / best["peak_rss_mib"], 2)
        print(f"{report['times_faster']:.2f} times torch's speed in {report['memory_ratio']:.2f} of its memory")
    variant = ("" if precision == "float32" else f" {precision}") + ("" if recompute == "auto" else f" {recompute}")
    write("train_step", f"{model} b{batch}{variant}", report)


if __name__ == "__main__":
    main()
