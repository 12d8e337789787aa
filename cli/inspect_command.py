"""`edge inspect`: a model's program, costs, sizes and memory plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from edge_sdk.cli.output import amount, json_option, note, percent, print_json, print_table, size

if TYPE_CHECKING:
    from edge_sdk.training.step import Recompute


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--dot", is_flag=True, help="Print the graph in Graphviz' DOT language instead.")
@click.option("--plan", is_flag=True, help="Print the whole plan, a line a node: kernel and why, memory.")
@click.option("--optimized", is_flag=True, help="Show the graph folded and fused for inference.")
@click.option("--batch", type=click.IntRange(1, 65536), default=1, show_default=True, help="Batch of the memory plan.")
@click.option("--memory", type=click.Path(path_type=Path), help="Draw the memory plan over time into this SVG file.")
@click.option("--train", is_flag=True, help="Plan a training step of all layers (SGD with momentum) instead.")
@click.option(
    "--recompute", type=click.Choice(["auto", "activations", "none"]), help="With --train: what is made twice (auto)."
)
@click.option(
    "--delegates", is_flag=True, help="Say what the accelerators of phones would take of a .tflite file instead."
)
@json_option
def command(
    model: Path, dot: bool, plan: bool, optimized: bool, batch: int, memory: Path | None, train: bool,
    recompute: str | None, delegates: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print the program of MODEL (.edge, .tflite, .onnx or a run's folder) with its costs and sizes.

    \b
    Examples:
      edge inspect model.edge
      edge inspect model.tflite --optimized
      edge inspect model.edge --dot | dot -Tsvg -o model.svg
      edge inspect model.edge --plan --batch 16
      edge inspect model.edge --memory memory.svg --train --batch 16
      edge inspect model.tflite --delegates

    The plan says of each node which algorithm runs it, and the milliseconds of all that could: as the cost model
    estimates them, or as they were measured when EDGE_AUTOTUNE=1 is set.
    """
    _check_alone()
    if delegates:
        _delegates(model, as_json=as_json)
        return
    from edge_sdk import printer
    from edge_sdk.atomic import atomic_write_bytes
    from edge_sdk.cost import multiply_adds
    from edge_sdk.errors import UsageError
    from edge_sdk.memory_drawing import draw_memory
    from edge_sdk.opening import load
    from edge_sdk.session import Session
    from edge_sdk.training.step import training_session

    loaded = load(model)
    graph = loaded.inference[0] if optimized else loaded.graph
    if dot:
        click.echo(printer.dot(graph))
        return
    if recompute and not train:
        raise UsageError("--recompute goes with --train: inference keeps nothing for gradients")
    inference = loaded.execution
    kind = None if recompute == "none" else cast("Recompute", recompute or "auto")
    session = training_session(loaded, batch, recompute=kind) if train else Session(*inference, batch=batch)
    if memory is not None:
        atomic_write_bytes(memory, draw_memory(session).encode())
        note(f"memory plan drawn into {memory}")
    planned = session.plan
    weights = loaded.workspace.restricted(loaded.graph)
    parameters = sum(array.size for array in weights.values())
    weight_bytes = sum(array.nbytes for array in weights.values())
    products = multiply_adds(loaded.graph.bind(1))
    facts: dict[str, Any] = {
        "name": loaded.name,
        "parameters": parameters,
        "weight_bytes": weight_bytes,
        "multiply_adds": products,
        "peak_bytes": planned.peak_bytes,
        "arena_bytes": planned.arena_bytes,
        "packed_bytes": planned.packed_bytes,
        "threads": planned.threads,
        "threading_layer": planned.threading_layer,
        "input": list(loaded.preprocess.shape),
        "labels": list(loaded.labels),
        "preprocess": loaded.preprocess.to_dict(),
        "provenance": dict(loaded.provenance),
    }
    if as_json:
        print_json({**facts, "program": printer.program(graph), "plan": [step.to_dict() for step in planned.steps]})
        return
    click.echo(printer.program(graph))
    click.echo(
        f"\n{amount(parameters)} parameters, {size(weight_bytes)}; "
        f"{amount(products)} multiply-adds a photo; {len(loaded.labels)} classes"
    )
    click.echo(str(planned) if plan else planned.summary())


def _check_alone() -> None:
    """Refuse options that --dot and --delegates would leave out, since they print something else."""
    context = click.get_current_context()
    for chosen, companions in (("dot", ("optimized",)), ("delegates", ("as_json",))):
        if not context.params[chosen]:
            continue
        for option in context.command.params:
            name = option.name or ""
            given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            if given and name not in ("model", chosen, *companions):
                raise click.UsageError(f"--{chosen} prints something else; {option.opts[0]} does not go with it")


def _delegates(path: Path, *, as_json: bool) -> None:
    """Print a line a delegate, and for each what it leaves out, by reason."""
    from edge_sdk.converters.tflite.delegates import readiness

    found = readiness(path)
    if as_json:
        print_json({"file": str(path), "delegates": [one.to_dict() for one in found]})
        return
    rows = [
        (
            one.delegate,
            f"{one.taken} of {one.operators}",
            percent(one.share_of_multiply_adds) if one.multiply_adds else "–",
            str(one.parts),
        )
        for one in found
    ]
    columns = ("delegate", "operators taken", "multiply-adds taken", "parts")
    print_table(f"{path}: what delegates would take, by their published rules", columns, rows)
    for one in found:
        click.echo(f"{one.delegate}: {one.remark}")
        reasons: dict[tuple[str, str], list[str]] = {}
        for left in one.left_out:
            reasons.setdefault((left.operator, left.reason), []).append(left.output)
        for (operator, reason), outputs in reasons.items():
            click.echo(f"  {len(outputs)} × {operator}: {reason} ({outputs[0]}{', …' if len(outputs) > 1 else ''})")
        click.echo(f"  source: {one.source}")
