"""`edge eval`: the accuracy of a model file on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_sdk.cli.device_option import device_option
from edge_sdk.cli.output import json_option, note, print_evaluation, print_json
from edge_sdk.quantization.profile import PROFILES

if TYPE_CHECKING:
    from edge_sdk.quantization.profile import Profile


@click.command("eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--batch", "batch_size", type=click.IntRange(min=1), default=16, show_default=True, help="Photos at a time."
)
@click.option(
    "--profile", type=click.Choice(PROFILES),
    help="Compute an 8-bit model here, with the arithmetic of these kernels of the mobile runtime.",
)  # fmt: skip
@device_option
@json_option
def command(model: Path, data: Path, batch_size: int, profile: Profile | None, device: str, as_json: bool) -> None:
    """Measure MODEL (.edge, .tflite, .onnx or a run's folder) on DATA, a folder with one sub-folder a class.

    A .tflite file is run in the runtime that is installed. With --profile an int8 file, or a model that was trained
    with --quantization-aware, is computed here instead, bit for bit as one set of the runtime's kernels does: reference
    (microcontrollers), litert (without delegate) or xnnpack (what phones do by default). With --device gpu an int8 file
    is computed here too, by xnnpack unless another is named.

    \b
    Examples:
      edge eval runs/a photos/val
      edge eval runs/a photos/val --device auto
      edge eval model.tflite photos/val --json
      edge eval model.tflite photos/val --profile reference
    """
    from edge_sdk.evaluation import evaluate
    from edge_sdk.opening import open_quantized

    opened = model if profile is None else open_quantized(model, profile)
    evaluation = evaluate(opened, data, batch_size, device=device, on_note=note)
    if as_json:
        about = {} if profile is None else {"profile": profile}
        print_json({"model": str(model), "data": str(data), **about, **evaluation.to_dict()})
    else:
        print_evaluation(str(model), evaluation)
