"""Speed and memory on an NVIDIA GPU, beside PyTorch on the same one.

    python -m benchmarks.gpu --networks resnet50 --precisions fp16,bf16 --minutes 9
    python -m benchmarks.gpu --networks resnet18,mobilenet_v2 --kinds training,inference --programs own,eager

All programs of a case run in turns of about half a second each; what counts is the median turn. "edge_sdk" uses
NVIDIA's libraries where they are, "edge_sdk own kernels" none of them, both with measured alternatives; PyTorch runs
in channels_last with autocast, fused optimizer and GradScaler, eager and compiled. Photos are bytes on the device,
or, in the kinds "… from the host", in the host's memory, from where they are copied while the step before computes.

Each case is written when it is done, into results/gpu-CHIP.json beside those that are there; after --minutes no other
is begun. --smoke FOLDER is for machines without a GPU: a tiny network on the emulated one, whose file says so.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.interleave import RESULTS, Program, Worker, machine, write

BATCHES = {"resnet18": 256, "resnet50": 128, "vgg16": 64, "alexnet": 512, "mobilenet_v2": 128}
SMOKE = "smoke"
PRECISIONS = ("float32", "tf32", "fp16", "bf16")
KINDS = ("training", "training from the host", "inference", "inference from the host")
OURS, OWN = "edge_sdk", "edge_sdk own kernels"
PROGRAMS = {"libraries": OURS, "own": OWN, "eager": "torch eager", "compiled": "torch compiled"}
TURN = 0.5
"""Seconds of a turn, so that a clock that rises or falls is met by all programs."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    network: str
    precision: str
    kind: str
    batch: int
    side: int
    classes: int
    autotune: bool

    @property
    def key(self) -> str:
        """What its entry is called."""
        return f"{self.network} b{self.batch} {self.precision} {self.kind}"


def programs(names: Sequence[str], torch_python: str, torch_device: str) -> Iterator[Program]:
    """Yield the workers."""
    for name in names:
        if name in ("eager", "compiled"):
            yield Program(PROGRAMS[name], torch_python, "torch_gpu.py", (name, torch_device))
        else:
            own = {"EDGE_OWN_KERNELS": "1" if name == "own" else "0"}
            yield Program(PROGRAMS[name], sys.executable, "edge_gpu.py", (), own)


def started(wanted: Sequence[Program]) -> dict[str, Worker]:
    """Return those that could be started; the others are named."""
    workers = {}
    for program in wanted:
        try:
            workers[program.name] = Worker(program, os.cpu_count() or 1)
        except RuntimeError as error:
            print(f"left out: {program.name}: {error}", flush=True)
    return workers


def measure(case: Case, workers: Mapping[str, Worker], rounds: int, turn: float) -> dict[str, dict[str, Any]]:
    """Measure a case by all workers in turns; one that cannot is left out, with what it says."""
    runs: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    figures: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        begun = time.perf_counter()
        answer = worker.ask(json.dumps({"prepare": asdict(case)}))
        answer = answer if "error" in answer else worker.ask(json.dumps({"runs": 2}))
        if "error" in answer:
            print(f"  {name}: {answer['error']}", flush=True)
            figures[name] = {"error": answer["error"]}
            continue
        runs[name], times[name] = max(1, min(1000, round(turn / max(answer["seconds"], 1e-6)))), []
        figures[name] = {"prepared_in_seconds": round(time.perf_counter() - begun, 1), "versions": worker.about}
    for _ in range(rounds):
        for name, count in runs.items():
            answer = workers[name].ask(json.dumps({"runs": count}))
            times[name].append(answer["seconds"])
            figures[name]["peak_gpu_mib"] = round(answer["peak_gpu_mib"], 3)
    for worker in workers.values():
        worker.ask(json.dumps({"drop": True}))
    for name, seconds in times.items():
        median = statistics.median(seconds)
        figures[name] |= {
            "median_seconds": round(median, 7),
            "fastest_seconds": round(min(seconds), 7),
            "slowest_seconds": round(max(seconds), 7),
            "photos_per_second": round(case.batch / median, 1),
        }
    return figures


def report(case: Case, figures: Mapping[str, Mapping[str, Any]], chip: str) -> dict[str, Any]:
    """Return a case's entry, with our speed in parts of the fastest peer's; print it."""
    entry: dict[str, Any] = {"machine": machine(), "chip": chip, "case": asdict(case), "figures": figures}
    timed = {name: figure["median_seconds"] for name, figure in figures.items() if "median_seconds" in figure}
    peers = {name: seconds for name, seconds in timed.items() if not name.startswith(OURS)}
    for name, seconds in timed.items():
        photos, memory = figures[name]["photos_per_second"], figures[name]["peak_gpu_mib"]
        ratio = ""
        if name not in peers and peers:
            times = round(min(peers.values()) / seconds, 3)
            entry.setdefault("times_the_fastest_peer", {})[name] = times
            ratio = f"{times:6.2f} × the fastest peer"
        print(f"  {name:22} {1e3 * seconds:9.3f} ms {photos:10.1f} photos/s {memory:9.0f} MiB {ratio}", flush=True)
    return entry


def chip_of(workers: Mapping[str, Worker], *, smoke: bool) -> str:
    """Return the name of the GPU that our workers have, for a file."""
    about: dict[str, Any] = next((worker.about for name, worker in workers.items() if name.startswith(OURS)), {})
    if not about:
        raise click.ClickException("edge-sdk's worker could not be started: see above")
    return chip_name(str(about["device"]), emulated=about["emulated"], smoke=smoke)


def chip_name(description: str, *, emulated: bool, smoke: bool) -> str:
    """Return a GPU's name for a file; raises UsageError where a processor emulates it and nobody asked for that."""
    if emulated and not smoke:
        raise click.UsageError("device 'gpu' is emulated here: its times say nothing of a GPU; --smoke FOLDER tries it")
    name = "emulated" if emulated else description.partition(",")[0]
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia")).strip("-")


def chosen(text: str, known: Sequence[str], option: str) -> list[str]:
    """Return the names in a list separated by commas; raises UsageError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise click.UsageError(f"{option} {name!r} is not one of {', '.join(known)}")
    return names


@click.command(help=__doc__)
@click.option("--networks", default=",".join(BATCHES), show_default=True)
@click.option("--precisions", default=",".join(PRECISIONS), show_default=True)
@click.option("--kinds", default="training", show_default=True, help=f"Some of: {', '.join(KINDS)}.")
@click.option("--programs", "names", default=",".join(PROGRAMS), show_default=True)
@click.option("--batch", type=int, help="Photos a step, of all networks. [default: by network, 64 to 512]")
@click.option("--rounds", default=5, show_default=True, help="Turns of each program.")
@click.option("--minutes", default=60.0, show_default=True, help="After so many no other case is begun.")
@click.option("--autotune/--no-autotune", default=True, show_default=True)
@click.option("--torch-python", default=sys.executable, help="Interpreter that has torch and torchvision.")
@click.option("--torch-device", default="cuda", show_default=True)
@click.option("--smoke", type=click.Path(path_type=Path, file_okay=False), help="Folder for figures of no worth.")
def main(
    networks: str, precisions: str, kinds: str, names: str, batch: int | None, rounds: int, minutes: float,
    autotune: bool, torch_python: str, torch_device: str, smoke: Path | None,
) -> None:  # fmt: skip
    """Measure, print, write results/gpu-CHIP.json."""
    end = time.perf_counter() + 60 * minutes
    wanted = [SMOKE] if smoke else chosen(networks, tuple(BATCHES), "--networks")
    types, measured = chosen(precisions, PRECISIONS, "--precisions"), chosen(kinds, KINDS, "--kinds")
    size = {"side": 16, "classes": 4} if smoke else {"side": 224, "classes": 1000}
    workers = started(list(programs(chosen(names, tuple(PROGRAMS), "--programs"), torch_python, torch_device)))
    try:
        chip = chip_of(workers, smoke=smoke is not None)
        for network, precision, kind in ((n, p, k) for n in wanted for p in types for k in measured):
            case = Case(network, precision, kind, batch or BATCHES.get(network, 2), autotune=autotune, **size)
            if time.perf_counter() > end:
                print(f"left out, since {minutes:g} minutes are over: {case.key}", flush=True)
                continue
            print(case.key, flush=True)
            entry = report(case, measure(case, workers, rounds, 0.0 if smoke else TURN), chip)
            write(f"gpu-{chip}", case.key, entry, smoke or RESULTS)
    finally:
        for worker in workers.values():
            worker.close()


if __name__ == "__main__":
    main()
