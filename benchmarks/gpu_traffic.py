"""What one training step on a GPU must move and compute, by its graph: how short it could be, not how long it is.

    python -m benchmarks.gpu_traffic resnet50 --batch 256 --precision fp16

Nothing is measured or run, and no GPU is needed. Every operator reads and writes the memory that its kernels pass over,
at the bandwidth given, or multiplies at the rate given for its numbers, whichever takes longer. What lies in caches
makes a step shorter, launches and all that is less than perfect make it longer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from edge_sdk import pretrained
from edge_sdk.cost import node_bytes, node_multiply_adds
from edge_sdk.graph import Graph, Node
from edge_sdk.ops.control import Identity
from edge_sdk.ops.conv import DepthwiseConv2D, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight
from edge_sdk.ops.norm import BatchNormTraining, BatchNormTrainingGrad
from edge_sdk.ops.pool import MaxPool2DGrad
from edge_sdk.ops.shape import ExpandDims, Flatten, Reshape, Squeeze
from edge_sdk.ops.statistics import Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.passes.pixel_input import pixel_input
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.step import training_step

VIEWS = (Identity, Reshape, Flatten, ExpandDims, Squeeze)
"""Operators whose result is their input's memory."""
WITHOUT_TENSOR_CORES = (
    DepthwiseConv2D, DepthwiseConv2DStatistics, DepthwiseConv2DGradInput, DepthwiseConv2DGradWeight,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a GPU can do in a second: bytes of its memory, and floating-point operations by precision."""

    bandwidth: float
    operations: Mapping[str, float]


H100 = Limits(3.0e12, {"float32": 60e12, "tf32": 400e12, "float16": 790e12, "bfloat16": 790e12})
"""Of an H100 in its 700 W form: what copies and large products reach there."""


@dataclass
class Share:
    """What the operators of one kind do in a step."""

    nodes: int = 0
    bytes: int = 0
    operations: int = 0
    seconds: float = 0.0


def moved_bytes(graph: Graph, node: Node) -> int:
    """Return the bytes that the kernels of device "gpu" read and write for a node: some pass over an array twice."""
    if isinstance(node.op, VIEWS):
        return 0
    return node_bytes(graph, node) + sum(_again(graph, node))


def _again(graph: Graph, node: Node) -> Iterator[int]:
    """Bytes beyond those of each input and each output once."""
    size = {value: graph.specs[value].bytes for value in (*node.inputs, *node.outputs)}
    match node.op:
        case Conv2DStatistics() | DepthwiseConv2DStatistics():  # statistics are gathered when y is stored
            yield size[node.outputs[0]]
        case BatchNormTraining():  # moments, then y
            yield size[node.inputs[0]]
        case BatchNormTrainingGrad():  # sums, then dx, from what passes where that is stored
            yield size[node.inputs[1]]
            yield size[node.outputs[3] if node.op.residual else node.inputs[0]]
        case MaxPool2DGrad():  # the place of each largest value, a byte, is written and read
            yield 2 * graph.specs[node.inputs[0]].elements
        case _:
            pass


def operations(graph: Graph, node: Node) -> int:
    """Return the additions and multiplications of a node's products."""
    return 2 * node_multiply_adds(graph, node)


def least_seconds(graph: Graph, node: Node, limits: Limits) -> float:
    """Return the time below which a node cannot be computed."""
    moving = moved_bytes(graph, node) / limits.bandwidth
    return max(moving, operations(graph, node) / limits.operations[_arithmetic(graph, node)])


def shares(graph: Graph, limits: Limits) -> dict[str, Share]:
    """Return what operators of each name do in a run of a graph whose batch is bound, the longest first."""
    found: defaultdict[str, Share] = defaultdict(Share)
    for node in graph.nodes:
        share = found[node.op.name]
        share.nodes += 1
        share.bytes += moved_bytes(graph, node)
        share.operations += operations(graph, node)
        share.seconds += least_seconds(graph, node, limits)
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def _arithmetic(graph: Graph, node: Node) -> str:
    """By what numbers a node multiplies."""
    dtype = graph.specs[node.inputs[0]].dtype if node.inputs else "float32"
    if isinstance(node.op, WITHOUT_TENSOR_CORES) or dtype not in H100.operations:
        return "float32"
    return "tf32" if getattr(node.op, "precision", None) == "tf32" else dtype


def step_graph(name: str, batch: int, precision: str, classes: int = 1000) -> Graph:
    """Return the graph of a step of SGD on all layers of a network, fed with bytes of photos."""
    model = pretrained.load(name, weights=None, num_classes=classes)
    optimizer = named_optimizer("sgd", 0.9, 1e-4)
    step = training_step(model, optimizer, learning_rate=0.1, precision=precision, device="gpu")
    return pixel_input(step.graph, model.preprocess)[0].bind(batch)


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
@click.option("--batch", default=256, show_default=True, help="Photos a step.")
@click.option("--precision", type=click.Choice(["float32", "tf32", "fp16", "bf16"]), default="fp16", show_default=True)
@click.option("--bandwidth", default=H100.bandwidth / 1e12, show_default=True, help="TB/s of the GPU's memory.")
def main(models: tuple[str, ...], batch: int, precision: str, bandwidth: float) -> None:
    """Print a table for each network."""
    limits = Limits(bandwidth * 1e12, H100.operations)
    for name in models:
        graph = step_graph(name, batch, precision)
        by_name = shares(graph, limits)
        total = Share(*(sum(getattr(share, field) for share in by_name.values()) for field in vars(Share())))
        click.echo(f"{name}, {batch} photos, {precision}: at least {total.seconds * 1e3:.1f} ms a step")
        click.echo(f"{'':32} {'nodes':>5} {'GB':>8} {'TFLOP':>8} {'ms':>8} {'share':>6}")
        for label, share in [*by_name.items(), ("all", total)]:
            part = share.seconds / total.seconds
            click.echo(
                f"{label:32} {share.nodes:5d} {share.bytes / 1e9:8.2f} {share.operations / 1e12:8.2f} "
                f"{share.seconds * 1e3:8.2f} {part:6.1%}"
            )


if __name__ == "__main__":
    main()
