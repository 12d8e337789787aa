"""How near the kernels of a training step come to what a GPU can do at most, node by node.

    python -m benchmarks.gpu_kernels --networks resnet50,mobilenet_v2 --precisions fp16,float32

The limits are measured first: bytes a second of a copy, and operations a second of a large product of matrices, by the
fastest kernel there is. Then a training step is profiled with the GPU's own events. Operators that are bound by memory
are held against what they read and wrote, each value once, at the bandwidth of the copy; products against the larger
of that and their operations. Only nodes that move more than --least MiB count, for smaller ones lie in caches.
EDGE_OWN_KERNELS=1 leaves NVIDIA's libraries aside. Written into results/gpu-CHIP.json; --smoke FOLDER is for machines
without a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.gpu import BATCHES, PRECISIONS, SMOKE, chip_name, chosen
from benchmarks.interleave import RESULTS, machine, write
from benchmarks.workers.smoke_network import smoke_model
from edge_sdk import pretrained
from edge_sdk.benchmark import Cost
from edge_sdk.builder import Builder
from edge_sdk.cost import node_bytes, node_multiply_adds
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.kernels.gpu.emulated_driver import EmulatedDriver
from edge_sdk.ops.linear import MatMul
from edge_sdk.ops.shape import Cast
from edge_sdk.passes.allow_tf32 import allow_tf32
from edge_sdk.passes.pixel_input import PIXELS, pixel_input
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.step import LABEL, training_step
from edge_sdk.workspace import Workspace

BAR = 1.3
"""Times the limit that a kernel bound by memory may take."""
STORED = {"float32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
RUNS = 10


def bandwidth(size: int) -> float:
    """Return the bytes a second that a copy reads and writes, of the fastest of ten."""
    driver = current_driver()
    source, target = driver.allocate(size), driver.allocate(size)
    driver.write(source, np.arange(size, dtype=np.uint8))
    times = driver.timed([lambda: driver.copy(target, source)] * RUNS)
    return 2 * size / min(times)


def product_rate(side: int, precision: str, *, autotune: bool) -> float:
    """Return the operations a second of a product of two square matrices of normally distributed numbers."""
    g, dtype = Builder("product"), STORED[precision]
    values = [g.input(name, Spec((side, side))) for name in ("a", "b")]
    if dtype != "float32":
        values = [g.add(Cast(dtype), value) for value in values]
    product = g.add(MatMul(), *values)
    graph, workspace = g.build(product if dtype == "float32" else g.add(Cast("float32"), product)), Workspace()
    if precision == "tf32":
        graph, workspace = allow_tf32(graph, workspace)
    session = Session(graph, workspace, "gpu", autotune=autotune)
    random = np.random.default_rng(0)
    feeds = {name: random.standard_normal((side, side), np.float32) for name in ("a", "b")}
    times = {spent.op: spent.seconds for spent in session.profile(feeds, RUNS)}
    return 2 * side**3 * RUNS / times["matmul"]


def profiled(network: str, batch: int, precision: str, *, autotune: bool) -> list[Cost]:
    """Return the nodes of a training step with what they cost."""
    smoke = network == SMOKE
    model = smoke_model(16, 4) if smoke else pretrained.load(network, weights=None)
    step = training_step(model, named_optimizer("sgd", 0.9), learning_rate=1e-3, precision=precision, device="gpu")
    graph, arrays = pixel_input(step.graph, model.preprocess)
    step.workspace.update(arrays)
    session = Session(graph, step.workspace, "gpu", batch, autotune=autotune)
    random = np.random.default_rng(0)
    feeds = {
        PIXELS: random.integers(0, 256, (batch, *model.preprocess.shape), np.uint8),
        LABEL: random.integers(0, len(model.labels), batch).astype(np.int32),
    }
    runs = 1 if smoke else RUNS
    times = session.profile(feeds, runs)
    total = sum(spent.seconds for spent in times)
    return [
        Cost(
            str(spent.value), spent.op, spent.algorithm, spent.seconds / runs, spent.seconds / total,
            node_multiply_adds(session.graph, node), node_bytes(session.graph, node),
        )
        for node, spent in zip(session.graph.nodes, times, strict=True)
    ]  # fmt: skip


def against_limits(costs: list[Cost], per_second: float, operations: float, least: int) -> dict[str, dict[str, Any]]:
    """Return what the nodes of each operator and algorithm take, and how many times what they must take at least."""
    groups: dict[str, list[Cost]] = {}
    for cost in costs:
        groups.setdefault(f"{cost.op} by {cost.algorithm}", []).append(cost)
    found = {}
    for name, members in sorted(groups.items(), key=lambda item: -sum(cost.seconds for cost in item[1])):
        large = [cost for cost in members if cost.bytes >= least]
        limits = [max(cost.bytes / per_second, 2 * cost.multiply_adds / operations) for cost in large]
        by_memory = all(cost.bytes / per_second >= 2 * cost.multiply_adds / operations for cost in large)
        found[name] = {
            "nodes": len(members),
            "milliseconds": round(1e3 * sum(cost.seconds for cost in members), 4),
            "share": round(sum(cost.share for cost in members), 4),
            "large_nodes": len(large),
            "bound_by": "memory" if by_memory else "arithmetic",
            "times_the_limit": round(sum(cost.seconds for cost in large) / sum(limits), 2) if large else None,
        }
    return found


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the operators that take most."""
    for name, group in found.items():
        times = group["times_the_limit"]
        verdict = "" if times is None else f"{times:6.2f} × the limit of {group['bound_by']}"
        verdict += " ✓" if times is not None and group["bound_by"] == "memory" and times <= BAR else ""
        print(
            f"  {100 * group['share']:5.1f} % {group['milliseconds']:9.3f} ms {group['nodes']:4} × {name:48} {verdict}"
        )


@click.command(help=__doc__)
@click.option("--networks", default="resnet50,mobilenet_v2", show_default=True)
@click.option("--precisions", default="fp16,float32", show_default=True)
@click.option("--batch", type=int, help="Photos a step. [default: by network, 64 to 512]")
@click.option("--least", default=128, show_default=True, help="MiB that a node must move to be held against limits.")
@click.option("--autotune/--no-autotune", default=True, show_default=True)
@click.option("--smoke", type=click.Path(path_type=Path, file_okay=False), help="Folder for figures of no worth.")
def main(
    networks: str, precisions: str, batch: int | None, least: int, autotune: bool, smoke: Path | None
) -> None:  # fmt: skip
    """Measure, print, write."""
    driver, types = current_driver(), chosen(precisions, PRECISIONS, "--precisions")
    wanted = [SMOKE] if smoke else chosen(networks, tuple(BATCHES), "--networks")
    chip = chip_name(driver.description, emulated=isinstance(driver, EmulatedDriver), smoke=smoke is not None)
    per_second = bandwidth(1 << (20 if smoke else 30))
    print(f"copy: {per_second / 1e12:.3f} TB/s read and written", flush=True)
    own = " own kernels" if os.environ.get("EDGE_OWN_KERNELS") == "1" else ""
    for precision in types:
        operations = product_rate(32 if smoke else 8192, precision, autotune=autotune)
        print(f"{precision}: {operations / 1e12:.1f} TFLOP/s in a product of matrices", flush=True)
        for network in wanted:
            size = batch or BATCHES.get(network, 2)
            costs = profiled(network, size, precision, autotune=autotune)
            found = against_limits(costs, per_second, operations, 0 if smoke else least << 20)
            print(f"{network} b{size} {precision}{own}: {1e3 * sum(cost.seconds for cost in costs):.3f} ms", flush=True)
            show(found)
            entry = {
                "machine": machine(), "chip": chip, "copy_bytes_per_second": per_second,
                "product_operations_per_second": operations, "least_mib": least, "kernels": found,
            }  # fmt: skip
            write(f"gpu-{chip}", f"{network} b{size} {precision} kernels{own}", entry, smoke or RESULTS)


if __name__ == "__main__":
    main()
