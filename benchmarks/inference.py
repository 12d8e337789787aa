"""Speed of inference, beside ONNX Runtime, LiteRT and PyTorch.

    python -m benchmarks.inference resnet18 --batch 16 --vs onnxruntime,litert,torch

Random 224×224 photos, each program on its own file of the same network. PyTorch (in both of its layouts) and ONNX
Runtime may live in an environment of their own: --torch-python names its interpreter.

    python -m benchmarks.inference resnet18 --batch 1 --precision int8 --vs litert

compares the network with 8-bit numbers.
"""

from __future__ import annotations

import sys

import click

from benchmarks.interleave import Program, compare, machine, write

PEERS = ("onnxruntime", "litert", "torch")
INT8_PEERS = ("litert",)
"""The peers that run the same quantized network."""
PRECISIONS = ("none", "int8")


def programs(model: str, batch: int, precision: str, peers: tuple[str, ...], torch_python: str) -> list[Program]:
    """Return our worker and those of the peers."""
    size = (model, str(batch))
    found = [Program("edge_sdk", sys.executable, "edge_infer.py", (*size, precision))]
    if "onnxruntime" in peers:
        found.append(Program("onnxruntime", torch_python, "onnxruntime_infer.py", size))
    if "litert" in peers:
        found.append(Program("litert", sys.executable, "litert_infer.py", (*size, precision)))
    if "torch" in peers:
        found += [
            Program(f"torch {layout}", torch_python, "torch_infer.py", (*size, layout))
            for layout in ("plain", "channels_last")
        ]
    return found


@click.command(help=__doc__)
@click.argument("model")
@click.option("--batch", default=16, show_default=True, help="Photos at a time.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="none", show_default=True, help="Of the numbers.")
@click.option("--vs", default=",".join(PEERS), show_default=True, help="Peers, separated by commas.")
@click.option("--torch-python", default=sys.executable, help="Interpreter that has torch, torchvision, onnxruntime.")
@click.option("--threads", default=2, show_default=True)
@click.option("--turns", default=15, show_default=True, help="Timed runs of each program.")
def main(model: str, batch: int, precision: str, vs: str, torch_python: str, threads: int, turns: int) -> None:
    """Measure, print, write results/inference.json."""
    peers = tuple(name for name in vs.split(",") if name)
    unknown = sorted(set(peers) - set(PEERS))
    if unknown:
        raise click.UsageError(f"--vs {unknown[0]} is not one of {', '.join(PEERS)}")
    if precision == "int8" and set(peers) - set(INT8_PEERS):
        raise click.UsageError(f"--precision int8 is compared with {', '.join(INT8_PEERS)} only; give --vs")
    figures = compare(programs(model, batch, precision, peers, torch_python), turns, threads)
    for name, figure in figures.items():
        seconds = figure["median_seconds"]
        print(f"{name:20} {seconds * 1e3:8.2f} ms {batch / seconds:8.1f} photos/s")
    report = {"machine": machine(), "batch": batch, "threads": threads, "turns": turns, "figures": figures}
    others = {name: figure["median_seconds"] for name, figure in figures.items() if name != "edge_sdk"}
    if others:
        best = min(others, key=lambda name: others[name])
        report["best_peer"] = best
        report["times_faster"] = round(others[best] / figures["edge_sdk"]["median_seconds"], 2)
        print(f"{report['times_faster']:.2f} times the speed of {best}")
    write("inference", f"{model} b{batch}" + (" int8" if precision == "int8" else ""), report)


if __name__ == "__main__":
    main()
