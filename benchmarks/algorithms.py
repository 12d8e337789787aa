"""How good the cost models' choices between algorithms are, against measurements of all candidates.

    python -m benchmarks.algorithms resnet18 mobilenetv2 --batch 1 --batch 16 --train 16

Every distinct node of the networks that has a choice is measured once (the machine should be idle), counted as often as
it occurs. Printed are the nodes whose chosen algorithm is more than a tenth slower than the best, and the time that all
choices lose. --times keeps the measured times in a file, and reads them from there when the cost models have changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_sdk import pretrained
from edge_sdk.autotune import measured_seconds
from edge_sdk.graph import Graph
from edge_sdk.kernel import Kernel, applicable_kernels, choose_by_cost, device_module, load_device
from edge_sdk.op import Op
from edge_sdk.packed_weights import constant_params
from edge_sdk.spec import Spec
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.step import training_step

WORTH_NAMING = 1.1  # times the best

Choosable = tuple[Op, list[Kernel], list[Spec], list[int]]


def graphs(model: str, batches: tuple[int, ...], training: tuple[int, ...]) -> Iterator[tuple[str, Graph]]:
    """Return the graphs that are run: inference and training steps of each batch."""
    loaded = pretrained.load(model, weights=None)
    for batch in batches:
        yield f"{model} b{batch}", loaded.execution[0].bind(batch)
    if training:
        step = training_step(loaded, named_optimizer("sgd", 0.9, 0.0), learning_rate=0.01)
        for batch in training:
            yield f"{model} training b{batch}", step.graph.bind(batch)


def choices(graph: Graph) -> Iterator[Choosable]:
    """Return the nodes for which more than one kernel applies: operator, candidates, specs, places of constants."""
    constant = constant_params(graph)
    for node in graph.nodes:
        inputs = [graph.specs[value] for value in node.inputs]
        candidates = applicable_kernels(node.op, "cpu", inputs)
        if len(candidates) > 1:
            yield node.op, candidates, inputs, [i for i, value in enumerate(node.inputs) if value in constant]


def name_of(node: Choosable) -> str:
    """Return a text that equal nodes share."""
    op, _, inputs, constant = node
    return f"{op.name} {json.dumps(op.attributes(), sort_keys=True)} {' '.join(map(str, inputs))} {constant}"


def short(node: Choosable) -> str:
    """Return the node in few words."""
    op, _, inputs, _ = node
    stride = getattr(op, "stride", (1, 1))[0]
    return f"{op.name}{'' if stride == 1 else f' /{stride}'} {' '.join(map(str, inputs[:2]))}"


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 16), show_default=True)
@click.option("--train", "training", multiple=True, type=int, help="Batch of a training step; may be repeated.")
@click.option("--times", type=click.Path(path_type=Path), help="JSON file of measured milliseconds.")
@click.option("--all", "every", is_flag=True, help="Print every node, not only bad choices.")
def main(
    models: tuple[str, ...], batches: tuple[int, ...], training: tuple[int, ...], times: Path | None, every: bool
) -> None:
    """Measure what is not known, print."""
    load_device("cpu")
    known: dict[str, dict[str, float]] = json.loads(times.read_text("utf-8")) if times and times.is_file() else {}
    machine = device_module("cpu", "machine")
    total_best = total_chosen = 0.0
    for model in models:
        for title, graph in graphs(model, batches, training):
            best, chosen = _compare(title, graph, known, machine, every)
            total_best, total_chosen = total_best + best, total_chosen + chosen
            if times:
                times.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    print(f"all: {total_chosen:.2f} ms, {100 * (total_chosen / total_best - 1):.1f} % more than the best choices")


def _compare(title: str, graph: Graph, known: dict[str, Any], machine: Any, every: bool) -> tuple[float, float]:
    """Print one graph's bad choices; return the milliseconds of the best and of the chosen algorithms."""
    best = chosen = 0.0
    named = set()
    for node in choices(graph):
        op, candidates, inputs, constant = node
        key = name_of(node)
        if not {candidate.algorithm for candidate in candidates} <= known.get(key, {}).keys():
            seconds = measured_seconds(candidates, op, inputs, constant, machine)
            known[key] = {c.algorithm: 1e3 * s for c, s in zip(candidates, seconds, strict=True)}
        choice = choose_by_cost(candidates, op, inputs, constant)
        measured = {c.algorithm: known[key][c.algorithm] for c in candidates}
        estimated = {c.algorithm: None if s is None else 1e3 * s for c, s in choice.candidates}
        taken, fastest = measured[choice.kernel.algorithm], min(measured.values())
        best, chosen = best + fastest, chosen + taken
        if key not in named and (every or taken > WORTH_NAMING * fastest):
            named.add(key)
            rest = ", ".join(
                f"{name} {spent:.3f} (estimated {'–' if estimated[name] is None else f'{estimated[name]:.3f}'})"
                for name, spent in sorted(measured.items(), key=lambda item: item[1])
            )
            mark = "  " if taken <= WORTH_NAMING * fastest else "! "
            print(f"{mark}{title} {short(node)}: {choice.kernel.algorithm}; {rest}")
    print(f"{title}: {chosen:.2f} ms by the chosen algorithms, {best:.2f} by the best")
    return best, chosen


if __name__ == "__main__":
    main()
