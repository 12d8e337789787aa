"""`edge benchmark`: latency of a model or of .tflite files, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.cli.output import json_option, note, print_json, print_table
from edge_sdk.errors import UsageError, suggestion

if TYPE_CHECKING:
    from edge_sdk.benchmark import Benchmark, Cost, Peaks
    from edge_sdk.model import Model


@click.command("benchmark")
@click.argument("models", nargs=-1, required=True)
@click.option("--batch", type=click.IntRange(1, 65536), help="Photos at a time.  [default: 1; 16 with --train]")
@click.option("--train", is_flag=True, help="Time a training step of all layers (SGD with momentum) instead.")
@click.option("--runs", type=click.IntRange(2, 100_000), default=30, show_default=True, help="Timed runs.")
@click.option("--nodes", is_flag=True, help="A line for every node too, in the order of the graph.")
@click.option("--session", is_flag=True, help="Time a .tflite file's network on our own kernels, not in the runtime.")
@click.option("--autotune", is_flag=True, help="Choose algorithms by measuring them here, once; EDGE_AUTOTUNE=1 too.")
@json_option
def command(
    models: tuple[str, ...], batch: int | None, train: bool, runs: int, nodes: bool, session: bool, autotune: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Time a model on random photos, and each of its operators.

    MODELS is a zoo network, which gets random weights, an .edge or .onnx file, or a run's folder; or one or more
    .tflite files, which run in the mobile runtime, on 1, 2 and 4 threads, each time in a fresh process: latency, cold
    start (from the path to the first answer) and peak memory. Their operators are timed one by one, cut into files of
    their own.

    GFLOP/s counts a multiply-add as two operations, of the direct sum: Winograd's algorithm does a quarter of them, so
    it may exceed the machine's peak. GB/s counts every input and output of a node once; what stays in caches may exceed
    the peak too. Both peaks are measured first: multiply-adds in registers, and a STREAM triad on arrays that no cache
    holds. Nothing else should be running.

    \b
    Examples:
      edge benchmark resnet18
      edge benchmark float.tflite int8.tflite
      edge benchmark model.tflite --session
      edge benchmark runs/a/best.edge --batch 16 --nodes
      edge benchmark mobilenetv2 --train --batch 16 --json
    """
    if not session and all(model.endswith(".tflite") for model in models):
        if train or batch or autotune:
            raise UsageError("--train, --batch and --autotune are for our own kernels; add --session")
        _files(models, runs, nodes=nodes, as_json=as_json)
        return
    if len(models) > 1:
        raise UsageError("only .tflite files are timed beside each other; name one model")
    loaded = _model(models[0])
    from edge_sdk.benchmark import benchmark_inference, benchmark_training, measure_peaks

    peaks = measure_peaks()
    chosen = True if autotune else None  # else the environment's EDGE_AUTOTUNE decides
    if train:
        found = benchmark_training(loaded, batch or 16, runs, chosen)
    else:
        found = benchmark_inference(loaded, batch or 1, runs, chosen)
    if as_json:
        print_json(_facts(found, peaks))
        return
    _print(found, peaks, nodes=nodes)


def _files(paths: tuple[str, ...], runs: int, *, nodes: bool, as_json: bool) -> None:
    from edge_sdk.cli.file_benchmark_display import print_files
    from edge_sdk.converters.tflite.file_benchmark import benchmark_file

    found = [benchmark_file(path, runs) for path in paths]
    if as_json:
        print_json({"files": [one.to_dict() for one in found]})
    else:
        print_files(found, nodes=nodes)


def _model(name: str) -> Model:
    from edge_sdk import pretrained
    from edge_sdk.opening import load

    if name in pretrained.architectures.ZOO or name in pretrained.architectures.ALIASES:
        return pretrained.load(name, weights=None)
    if not Path(name).exists():
        known = pretrained.list_models()
        raise UsageError(
            f"{name!r} is neither a zoo network nor a file{suggestion(name, known)}; networks: {', '.join(known)}"
        )
    return load(name)


def _print(found: Benchmark, peaks: Peaks, *, nodes: bool) -> None:
    what = "a training step" if found.training else "inference"
    p50, p90 = (1e3 * found.percentile(share) for share in (0.5, 0.9))
    click.echo(f"{found.model}, {what} of {found.batch}: p50 {p50:.2f} ms, p90 {p90:.2f} ms, {_rate(found)}")
    click.echo(
        f"peaks of this machine: {peaks.flops / 1e9:.0f} GFLOP/s on {peaks.threads} threads "
        f"({peaks.thread_flops / 1e9:.0f} on one), {peaks.bytes_per_second / 1e9:.1f} GB/s"
    )
    figures = ("ms", "share", "GFLOP/s", "peak", "GB/s", "peak")
    rows = [(cost.op, _algorithm(cost), cost.name, *_figures(cost, peaks)) for cost in found.by_operator()]
    rows.append(("all", "", str(len(found.nodes)), *_figures(_total(found), peaks)))
    print_table("", ("operator", "algorithm", "nodes", *figures), rows, names=2, compact=True)
    if nodes:
        rows = [(cost.name, cost.op, _algorithm(cost), *_figures(cost, peaks)) for cost in found.nodes]
        print_table("", ("node", "operator", "algorithm", *figures), rows, names=3, compact=True)
    if p90 > 1.5 * p50:
        note("the latencies differ much; something else is running")


def _algorithm(cost: Cost) -> str:
    """The algorithm where it has a name of its own."""
    return "" if cost.algorithm == cost.op else cost.algorithm


def _rate(found: Benchmark) -> str:
    return f"{found.photos_per_second:.1f} photos/s"


def _figures(cost: Cost, peaks: Peaks) -> tuple[str, ...]:
    """Milliseconds, share, and both rates with their shares of the peaks; dashes where there are no multiply-adds."""
    flops = ("–", "–")
    if cost.multiply_adds:
        flops = (f"{cost.flops / 1e9:.1f}", f"{100 * cost.flops / peaks.flops:.0f} %")
    moved = (f"{cost.bytes_per_second / 1e9:.1f}", f"{100 * cost.bytes_per_second / peaks.bytes_per_second:.0f} %")
    return f"{1e3 * cost.seconds:.3f}", f"{100 * cost.share:.1f} %", *flops, *moved


def _total(found: Benchmark) -> Cost:
    from edge_sdk.benchmark import Cost

    sums = {field: sum(getattr(node, field) for node in found.nodes) for field in ("seconds", "multiply_adds", "bytes")}
    return Cost("all", "", "", sums["seconds"], 1.0, sums["multiply_adds"], sums["bytes"])


def _facts(found: Benchmark, peaks: Peaks) -> dict[str, Any]:
    return {
        "model": found.model,
        "batch": found.batch,
        "training": found.training,
        "runs": len(found.latencies),
        "p50_milliseconds": 1e3 * found.percentile(0.5),
        "p90_milliseconds": 1e3 * found.percentile(0.9),
        "photos_per_second": found.photos_per_second,
        "peaks": {
            "threads": peaks.threads,
            "thread_gflops": peaks.thread_flops / 1e9,
            "gflops": peaks.flops / 1e9,
            "gigabytes_per_second": peaks.bytes_per_second / 1e9,
        },
        "operators": [cost.to_dict(nodes=int(cost.name)) for cost in found.by_operator()],
        "nodes": [cost.to_dict(name=cost.name) for cost in found.nodes],
    }
