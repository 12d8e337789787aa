"""`edge eval`: the accuracy of a model file on labelled photos."""

from __future__ import annotations

from pathlib import Path

import click

from edge_sdk.cli.output import json_option, print_evaluation, print_json


@click.command("eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--batch", "batch_size", type=click.IntRange(min=1), default=16, show_default=True)
@json_option
def command(model: Path, data: Path, batch_size: int, as_json: bool) -> None:
    """Measure MODEL (.edge, .tflite, .onnx or a run's folder) on DATA, a folder with one sub-folder a class.

    \b
    Examples:
      edge eval runs/a photos/val
      edge eval model.tflite photos/val --json
    """
    from edge_sdk.evaluation import evaluate

    evaluation = evaluate(model, data, batch_size)
    if as_json:
        print_json({"model": str(model), "data": str(data), **evaluation.to_dict()})
    else:
        print_evaluation(str(model), evaluation)
