"""Fine-tuning the head of a network, from the start of the process to its end, beside a typical script of PyTorch.

    python -m benchmarks.finetune resnet18 --vs torch --torch-python /path/to/python

A thousand synthetic JPEG photos of 256×256 pixels in ten classes, a fifth of them held out, mirrored at random, the
backbone frozen, random weights. PyTorch's script reads them with a DataLoader of two worker processes, keeps the
backbone in evaluation mode, without gradients and channels last, and computes it in each epoch; edge-sdk computes its
features once, into a cache that starts empty. Both train and validate for as many epochs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.interleave import PAUSE, WORKERS, Program, machine, write
from benchmarks.workers.jpeg_folder import write_photos
from edge_sdk.cache_folder import cache_folder


def finish(program: Program, threads: int, cache: Path) -> dict[str, Any]:
    """Run a program to its end; return the seconds of the whole process, and what it printed."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    time.sleep(PAUSE)
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own workers
        [program.python, str(WORKERS / program.worker), *program.arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **counts, "EDGE_CACHE": str(cache)},
    )
    seconds = time.perf_counter() - start
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": round(seconds, 3), **printed}


@click.command(help=__doc__)
@click.argument("model")
@click.option("--photos", default=1000, show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--batch", default=32, show_default=True, help="Photos a step.")
@click.option("--vs", type=click.Choice(["torch", "none"]), default="torch", show_default=True)
@click.option("--torch-python", default=sys.executable, help="Interpreter that has torch and torchvision.")
@click.option("--threads", default=2, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes of PyTorch's DataLoader.")
def main(
    model: str, photos: int, epochs: int, batch: int, vs: str, torch_python: str, threads: int, workers: int
) -> None:
    """Measure, print, write results/finetune.json."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "photos", Path(name) / "cache"
        write_photos(folder, photos)
        work = (model, str(folder), str(epochs), str(batch))
        programs = [Program("edge_sdk", sys.executable, "edge_finetune.py", (*work, str(Path(name) / "run")))]
        if vs == "torch":
            programs.append(Program("torch", torch_python, "torch_finetune.py", (*work, str(workers))))
        cache.mkdir()
        for kind in ("kernels", "tuning"):  # all that a second run finds; features are computed anew
            cache_folder(kind).mkdir(parents=True, exist_ok=True)
            (cache / kind).symlink_to(cache_folder(kind), target_is_directory=True)
        figures = {}
        for program in programs:
            figures[program.name] = figure = finish(program, threads, cache)
            parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in figure["parts"].items())
            print(f"{program.name:10} {figure['seconds']:8.2f} s  ({parts})  accuracy {figure['accuracy']:.3f}")
    report = {"machine": machine(), "photos": photos, "epochs": epochs, "threads": threads, "figures": figures}
    if "torch" in figures:
        report["times_faster"] = round(figures["torch"]["seconds"] / figures["edge_sdk"]["seconds"], 2)
        print(f"{report['times_faster']:.2f} times the speed of torch")
    write("finetune", f"{model} b{batch} {photos}x{epochs}", report)


if __name__ == "__main__":
    main()
