"""`edge export`: write a model as a .tflite file and prove it in the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from edge_sdk.cli.output import json_option, percent, print_json, print_table, size


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--quantize", type=click.Choice(["none", "fp16", "dynamic", "int8"]), default="none", show_default=True)
@click.option("--calibrate", type=click.Path(path_type=Path), help="Folder of photos to calibrate int8 on.")
@click.option("--check", type=click.Path(path_type=Path), help="Held-out photos to compare model and file on.")
@click.option(
    "--input-type", type=click.Choice(["uint8", "float32"]), help="What the file takes; int8 files uint8 if left out."
)
@click.option("--output-type", type=click.Choice(["uint8", "float32"]), default="float32", show_default=True)
@click.option("--embed-preprocessing", is_flag=True, help="Take raw pixels 0-255; the file normalises them.")
@click.option("--input-size", metavar="HxW", help="Take photos of this size; the file resizes them.")
@click.option(
    "--output",
    type=click.Choice(["logits", "probabilities"]),
    default="logits",
    show_default=True,
    help="What it gives.",
)
@click.option("--self-test/--no-self-test", default=True, help="Put two check photos and their scores into the file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .tflite file to write.")
@json_option
def command(
    model: Path,
    quantize: Literal["none", "fp16", "dynamic", "int8"],
    calibrate: Path | None,
    check: Path | None,
    input_type: Literal["uint8", "float32"] | None,
    output_type: Literal["uint8", "float32"],
    embed_preprocessing: bool,
    input_size: str | None,
    output: Literal["logits", "probabilities"],
    self_test: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Write MODEL (.edge, .onnx, .tflite or a run's folder) as a .tflite file, re-run it in the runtime and compare.

    \b
    Examples:
      edge export runs/a --out model.tflite
      edge export runs/a --quantize int8 --calibrate photos/train --check photos/val --out model.tflite
    """
    from edge_sdk.converters.tflite.export import export
    from edge_sdk.opening import load

    report = export(
        load(model),
        out,
        quantize,
        calibrate,
        check,
        input_type,
        output_type,
        embed_preprocessing=embed_preprocessing,
        input_size=_size(input_size),
        output=output,
        self_test=self_test,
    )
    if as_json:
        print_json(report.to_dict())
        return
    rows = [
        ("size", size(report.bytes)),
        ("takes", f"{report.takes}, {report.input}"),
        ("gives", f"{report.scores}, {report.output}"),
        ("preprocessing inside", report.embedded),
        ("top-1 agreement with the model", percent(report.agreement)),
        ("accuracy of the model", percent(report.model_accuracy)),
        ("accuracy of the file", percent(report.file_accuracy)),
        (f"largest difference of {report.scores}", f"{report.largest_difference:.2e}"),
        (f"mean difference of {report.scores}", f"{report.mean_difference:.2e}"),
        ("latency", f"{report.milliseconds:.1f} ms"),
        ("tensors left in float", str(len(report.float_tensors) + len(report.float_weights))),
    ]
    print_table(f"{out} ({quantize}), {report.photos} photos in {report.runtime}", ("", ""), rows)
    for name in (*report.float_tensors, *report.float_weights):
        click.echo(f"  float: {name}")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise click.BadParameter(f"{text!r} is not HEIGHTxWIDTH, such as 480x640", param_hint="--input-size")
    return int(height), int(width)
