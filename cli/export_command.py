"""`edge export`: write a model as a .tflite, .onnx or .mlpackage file and prove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from edge_sdk.cli.byte_size import byte_size
from edge_sdk.cli.output import check_not_itself, json_option, note, percent, print_json, print_table, size
from edge_sdk.errors import UsageError, suggestion

if TYPE_CHECKING:
    from edge_sdk.converters.coreml.export import Report as CoreMLReport
    from edge_sdk.converters.gate import Attempt
    from edge_sdk.converters.onnx.report import Report as ONNXReport
    from edge_sdk.converters.precision import CoreMLPrecision, Precision, TFLitePrecision
    from edge_sdk.converters.tflite.report import Report
    from edge_sdk.quantization.ladder import RungName


TFLITE_ONLY = (
    "embed_preprocessing", "input_size", "output", "self_test", "fixed_batch", "min_runtime", "weights", "prune",
    "prune_epochs",
)  # fmt: skip
GATED = ("max_drop", "min_agreement", "max_size", "rungs", "train")
"""Options for files whose runtime is there to judge them."""
NOT_FOR = {".onnx": TFLITE_ONLY, ".mlpackage": (*TFLITE_ONLY, *GATED, "opset", "input_type", "output_type")}
"""Options that a kind of file does not have, by its ending; .tflite files have all but --opset."""
ENDINGS = (".tflite", *NOT_FOR)


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--quantize", type=click.Choice(["none", "fp16", "dynamic", "int8", "int16x8", "palette4", "palette6"]),
    default="none", show_default=True, help="int16x8 is for .tflite files, palettes of weights for .mlpackage.",
)  # fmt: skip
@click.option("--calibrate", type=click.Path(path_type=Path), help="Folder of photos to calibrate int8 or int16x8 on.")
@click.option("--check", type=click.Path(path_type=Path), help="Held-out photos to compare model and file on.")
@click.option(
    "--input-type", type=click.Choice(["uint8", "float32"]), help="What the file takes; int8 files uint8 if left out."
)
@click.option(
    "--output-type", type=click.Choice(["uint8", "float32"]), default="float32", show_default=True,
    help="How the file gives its scores; uint8 is for int8 files.",
)  # fmt: skip
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
@click.option("--fixed-batch", is_flag=True, help="Take one photo at a time, as LiteRT.js asks for.")
@click.option(
    "--min-runtime", metavar="2.14|latest", help="Oldest TensorFlow Lite that must run it; else the oldest possible."
)
@click.option(
    "--weights",
    type=click.Choice(["int8", "int4"]),
    default="int8",
    show_default=True,
    help="How an int8 file stores weights; int4 for runtimes from 2.11 on.",
)
@click.option(
    "--max-drop", type=float, metavar="POINTS", help="Accuracy that the finished file may lose on --check photos."
)
@click.option(
    "--min-agreement", type=float, metavar="PERCENT", help="Answers on --check photos that must be the model's own."
)
@click.option(
    "--max-size",
    callback=byte_size,
    metavar="SIZE",
    help="How large the file may be: 4MB, 500kB, bytes; int8 falls back to int4 weights.",
)
@click.option("--rungs", metavar="NAMES", help="What may be tried, separated by commas; everything if left out.")
@click.option(
    "--train", type=click.Path(path_type=Path), help="Labelled photos to train on, if nothing else is enough."
)
@click.option(
    "--prune", is_flag=True, help="Remove channels where --max-size asks for it, and train on --train photos."
)
@click.option(
    "--prune-epochs", type=int, default=5, show_default=True, help="Times that a pruned network sees all of them."
)
@click.option("--opset", type=int, help="Of an .onnx file; 17 if left out.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), required=True, help="The .tflite, .onnx or .mlpackage to write."
)
@json_option
def command(
    model: Path,
    quantize: TFLitePrecision | CoreMLPrecision,
    calibrate: Path | None,
    check: Path | None,
    input_type: Literal["uint8", "float32"] | None,
    output_type: Literal["uint8", "float32"],
    embed_preprocessing: bool,
    input_size: str | None,
    output: Literal["logits", "probabilities"],
    self_test: bool,
    fixed_batch: bool,
    min_runtime: str | None,
    weights: Literal["int8", "int4"],
    max_drop: float | None,
    min_agreement: float | None,
    max_size: int | None,
    rungs: str | None,
    train: Path | None,
    prune: bool,
    prune_epochs: int,
    opset: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Write MODEL (.edge, .onnx, .tflite or a run's folder) as a file for a runtime, re-run it there and compare.

    The ending of --out decides for which: .tflite for LiteRT (TensorFlow Lite), .onnx for ONNX Runtime, .mlpackage for
    Core ML, which is read back instead of run. Options from --embed-preprocessing to --prune-epochs are for .tflite
    files; --max-drop, --min-agreement, --max-size, --rungs and --train are for .onnx files too.

    With --max-drop an int8 file is made better, step by step, until it loses no more than that; if nothing is enough,
    no file gets the name, and the best one lies beside it as NAME.rejected.tflite with a report of every layer. With
    --min-agreement 98.5 so many of its answers must be the model's, too.

    With --max-size a file that is too large gets weights of 4 bits, and with --prune a network with fewer channels:
    the largest whose finished file is small enough, trained on --train photos, and held against MODEL itself.

    \b
    Examples:
      edge export runs/a --out model.tflite
      edge export runs/a --quantize int8 --calibrate photos/train --check photos/val --max-drop 0.5 --out m.tflite
      edge export runs/a --quantize int8 --calibrate t/ --check v/ --max-size 2MB --prune --train t/ --out m.tflite
      edge export runs/a --out model.onnx
      edge export runs/a --quantize palette4 --check photos/val --out model.mlpackage
    """
    from edge_sdk.converters.coreml.export import export_coreml
    from edge_sdk.converters.onnx.export import export_onnx
    from edge_sdk.converters.onnx.write_model import DEFAULT_OPSET
    from edge_sdk.converters.tflite.export import export
    from edge_sdk.opening import load
    from edge_sdk.quantization.scheme import Scheme

    _check_ending(out)
    check_not_itself(out, model)
    if max_drop is None and min_agreement is None and max_size is None:
        _check_without("--max-drop, --min-agreement or --max-size", "rungs", "train")
    if not prune:
        _check_without("--prune", "prune_epochs")
    if weights == "int4" and quantize != "int8":
        raise click.UsageError(f"--weights int4 is for --quantize int8; this file would be {quantize}")
    if min_agreement is not None and 0 < min_agreement <= 1:
        raise click.UsageError(f"--min-agreement is a percentage: {100 * min_agreement:g}, not {min_agreement:g}")
    if quantize == "int16x8" and out.suffix in NOT_FOR:
        raise click.UsageError(f"--quantize int16x8 is for .tflite files; {out.suffix} files have int8")
    if quantize.startswith("palette") and out.suffix != ".mlpackage":
        raise click.UsageError(f"--quantize {quantize} is for .mlpackage files; others store no tables of weights")
    if out.suffix == ".mlpackage":
        package = export_coreml(load(model), out, cast("CoreMLPrecision", quantize), calibrate, check)
        _print_package(package, as_json=as_json)
        _tell_unlabelled(check, package.model_accuracy)
    elif out.suffix == ".onnx":
        precision = cast("Precision", quantize)
        opset = opset or DEFAULT_OPSET
        exported = export_onnx(
            load(model), out, precision, calibrate, check, input_type, output_type, opset=opset, max_drop=max_drop,
            min_agreement=min_agreement, max_size=max_size, rungs=_rungs(rungs), train=train, listener=_tell,
        )  # fmt: skip
        _print_onnx(exported, as_json=as_json)
        _tell_unlabelled(check, exported.model_accuracy)
    else:
        report = export(
            load(model), out, cast("TFLitePrecision", quantize), calibrate, check, input_type, output_type,
            embed_preprocessing=embed_preprocessing, input_size=_size(input_size), output=output, self_test=self_test,
            min_runtime=min_runtime, max_drop=max_drop, train=train, scheme=Scheme(weights=weights), listener=_tell,
            fixed_batch=fixed_batch, rungs=_rungs(rungs), max_size=max_size, prune=prune,
            prune_epochs=prune_epochs, min_agreement=min_agreement,
        )  # fmt: skip
        _print_file(report, as_json=as_json)
        _tell_unlabelled(check, report.model_accuracy)


def _check_ending(out: Path) -> None:
    """Refuse unknown kinds of files, and options that a kind does not have, instead of leaving them out."""
    ending = out.suffix
    if ending not in ENDINGS:
        raise UsageError(
            f"{out}: the name of the file to write must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
            f"{suggestion(ending, ENDINGS)}"
        )
    for name in NOT_FOR.get(ending, ("opset",)):
        if _is_given(name):
            raise click.UsageError(f"--{name.replace('_', '-')} is no option of {ending} files")


def _check_without(companion: str, *names: str) -> None:
    """Refuse options that change nothing without another one."""
    for name in filter(_is_given, names):
        raise click.UsageError(f"--{name.replace('_', '-')} goes with {companion}, and changes nothing without")


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _rungs(names: str | None) -> tuple[RungName, ...]:
    from edge_sdk.quantization.ladder import RUNGS

    return RUNGS if names is None else cast("tuple[RungName, ...]", tuple(names.split(",")))  # export checks them


def _tell(rung: str) -> None:
    note(f"edge: {rung.replace('-', ' ')} …")


def _tell_unlabelled(check: Path | None, accuracy: float | None) -> None:
    """Say why there is no accuracy, where photos were given for it."""
    if check is not None and accuracy is None:
        note(f"edge: {check}: no folders named as the model's classes, so the answers are compared, but not judged")


def _rung_of(attempt: Attempt) -> str:
    """The name of a rung, with how many layers it left on real numbers."""
    rung = attempt.rung or "–"
    return f"{rung} ({attempt.real_layers} layers)" if rung == "mixed-precision" else rung


def _print_file(report: Report, *, as_json: bool) -> None:
    edges = (
        ("takes", f"{report.takes}, {report.input}"),
        ("gives", f"{report.scores}, {report.output}"),
        ("preprocessing inside", report.embedded),
    )
    _print(report, edges, report.scores, as_json=as_json)
    _print_tried(report, as_json=as_json)


def _print_onnx(report: ONNXReport, *, as_json: bool) -> None:
    _print(report, (("takes", report.input), ("gives", report.output)), "logits", as_json=as_json)
    _print_tried(report, as_json=as_json)


def _print_tried(report: Report | ONNXReport, *, as_json: bool) -> None:
    if not as_json and report.attempts:
        tried = [
            (one.stage, _rung_of(one), size(one.bytes), percent(one.drop / 100), percent(one.agreement),
             percent(one.accuracy))
            for one in report.attempts
        ]  # fmt: skip
        columns = ("file", "rung", "size", "drop", "agreement", "accuracy")
        print_table("what was tried", columns, tried, names=2, compact=True)
    for finding in report.findings:
        note(f"edge: calibration: {finding}")


def _print(report: Report | ONNXReport, edges: tuple[tuple[str, str], ...], scores: str, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    rows = [
        ("size", size(report.bytes)),
        *edges,
        ("top-1 agreement with the model", percent(report.agreement)),
        ("accuracy of the model", percent(report.model_accuracy)),
        ("accuracy of the file", percent(report.file_accuracy)),
        (f"largest difference of {scores}", f"{report.largest_difference:.2e}"),
        (f"mean difference of {scores}", f"{report.mean_difference:.2e}"),
        ("latency", f"{report.milliseconds:.1f} ms"),
        ("oldest runtime", report.minimum_runtime),
    ]
    if report.precision != "none":
        rows.insert(-1, ("tensors left in float", str(len(report.float_tensors) + len(report.float_weights))))
    print_table(f"{report.path} ({report.precision}), {report.photos} photos in {report.runtime}", ("", ""), rows)
    for name in (*report.float_tensors, *report.float_weights):
        click.echo(f"  float: {name}")


def _print_package(report: CoreMLReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
        return
    rows = [
        ("size", size(report.bytes)),
        ("takes", report.input),
        ("gives", report.output),
        ("oldest system", report.minimum_runtime),
        ("run", report.runtime),
    ]
    if report.agreement is not None:
        rows += [
            (f"agreement of its numbers, {report.photos} photos", percent(report.agreement)),
            ("accuracy of the model", percent(report.model_accuracy)),
            ("accuracy of its numbers", percent(report.stored_accuracy)),
        ]
    print_table(f"{report.path} ({report.precision})", ("", ""), rows)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise click.BadParameter(f"{text!r} is not HEIGHTxWIDTH, such as 480x640", param_hint="--input-size")
    return int(height), int(width)
