"""Peak resident memory of training and inference, beside PyTorch's.

    python -m benchmarks.memory --torch-python ~/torch/bin/python

Each figure is that of a process of its own that loads the network, takes a few steps of SGD with momentum (or computes
a few batches), and holds nothing else. PyTorch runs in both of its layouts; the ratio is to the smaller one.
"""

from __future__ import annotations

import sys

import click

from benchmarks.interleave import Program, Worker

TRAINING = {"resnet18": 16, "vgg16": 8, "resnet50": 16, "mobilenet_v2": 16, "alexnet": 16}
INFERENCE = dict.fromkeys(TRAINING, 1)
LAYOUTS = ("plain", "channels_last")


@click.command(help=__doc__)
@click.argument("models", nargs=-1)
@click.option("--torch-python", default=sys.executable, help="Interpreter that has torch and torchvision.")
@click.option("--vs", type=click.Choice(["torch", "none"]), default="torch", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--kept", is_flag=True, help="Train with all activations kept (recompute=None) as well.")
def main(models: tuple[str, ...], torch_python: str, vs: str, threads: int, kept: bool) -> None:
    """Measure one process after the other and print a table."""
    from edge_sdk.pretrained import list_models

    click.echo(f"{'':34} {'edge_sdk':>9} {'torch':>9} {'ratio':>6}")
    for task, batches in (("train", TRAINING), ("infer", INFERENCE)):
        for model in models or tuple(name for name in batches if name in list_models()):
            size = (model, str(batches.get(model, 16)))
            forms: list[tuple[str, ...]] = [()]
            if kept and task == "train":
                forms.append(("float32", "none"))
            peer: float | None = None
            if vs == "torch":
                programs = [
                    Program(f"torch {layout}", torch_python, f"torch_{task}.py", (*size, layout)) for layout in LAYOUTS
                ]
                peer = min(peak_mib(program, threads) for program in programs)
            for form in forms:
                ours = peak_mib(Program("edge_sdk", sys.executable, f"edge_{task}.py", (*size, *form)), threads)
                name = f"{task} {model} b{size[1]} {'kept' if form else ''}"
                other, ratio = ("", "") if peer is None else (f"{peer:.0f}", f"{ours / peer:.2f}")
                click.echo(f"{name:34} {ours:9.0f} {other:>9} {ratio:>6}")
    click.echo("MiB, peak of the whole process")


def peak_mib(program: Program, threads: int) -> float:
    """Let a program work twice more after its start; return the peak of its resident memory."""
    worker = Worker(program, threads)
    try:
        return max(worker.turn()["peak_rss_mib"] for _ in range(2))
    finally:
        worker.close()


if __name__ == "__main__":
    main()
