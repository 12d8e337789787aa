"""`edge inspect`: a model's program, costs, sizes and memory plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_sdk.cli.output import amount, json_option, print_json, size


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--dot", is_flag=True, help="Print the graph in Graphviz' DOT language instead.")
@click.option("--plan", is_flag=True, help="Print the whole memory plan, a line a node.")
@click.option("--optimized", is_flag=True, help="Show the graph folded and fused for inference.")
@click.option("--batch", type=click.IntRange(1, 65536), default=1, show_default=True, help="Batch of the memory plan.")
@json_option
def command(model: Path, dot: bool, plan: bool, optimized: bool, batch: int, as_json: bool) -> None:
    """Print the program of MODEL (an .edge file or a run's folder) with its costs and sizes.

    \b
    Examples:
      edge inspect model.edge
      edge inspect model.edge --dot | dot -Tsvg -o model.svg
    """
    from edge_sdk import printer
    from edge_sdk.cost import multiply_adds
    from edge_sdk.opening import load
    from edge_sdk.session import Session

    loaded = load(model)
    graph = loaded.inference[0] if optimized else loaded.graph
    if dot:
        click.echo(printer.dot(graph))
        return
    memory = Session(*loaded.execution, batch=batch).plan
    weights = loaded.workspace.restricted(loaded.graph)
    parameters = sum(array.size for array in weights.values())
    weight_bytes = sum(array.nbytes for array in weights.values())
    products = multiply_adds(loaded.graph.bind(1))
    facts: dict[str, Any] = {
        "name": loaded.name,
        "parameters": parameters,
        "weight_bytes": weight_bytes,
        "multiply_adds": products,
        "peak_bytes": memory.peak_bytes,
        "arena_bytes": memory.arena_bytes,
        "threads": memory.threads,
        "threading_layer": memory.threading_layer,
        "input": list(loaded.preprocess.shape),
        "labels": list(loaded.labels),
        "preprocess": loaded.preprocess.to_dict(),
        "provenance": dict(loaded.provenance),
    }
    if as_json:
        print_json({**facts, "program": printer.program(graph)})
        return
    click.echo(printer.program(graph))
    click.echo(
        f"\n{amount(parameters)} parameters, {size(weight_bytes)}; "
        f"{amount(products)} multiply-adds a photo; {len(loaded.labels)} classes"
    )
    click.echo(str(memory) if plan else memory.summary())
