"""`edge prune`: a smaller network, its least important channels removed and what is left trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_sdk.cli.byte_size import byte_size
from edge_sdk.cli.output import (
    TrainingDisplay,
    amount,
    check_not_itself,
    json_option,
    note,
    percent,
    print_json,
    print_table,
    size,
)
from edge_sdk.cli.training_options import augment_option, seed_option, validation_option
from edge_sdk.errors import ExportError, UsageError

if TYPE_CHECKING:
    from edge_sdk.compression.prune import Measure, Pruned
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.model import Model

Precision = Literal["none", "fp16", "dynamic", "int8"]


@click.command("prune")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--keep", type=click.FloatRange(0, 1, min_open=True), metavar="SHARE",
    help="Share of the cost that may be left, such as 0.5.",
)  # fmt: skip
@click.option(
    "--of", type=click.Choice(["multiply-adds", "weights"]), default="multiply-adds", show_default=True,
    help="The cost that --keep is a share of: time, or size.",
)  # fmt: skip
@click.option(
    "--max-size",
    callback=byte_size,
    metavar="SIZE",
    help="How large the exported .tflite file may be: 4MB, 500kB, bytes.",
)
@click.option(
    "--quantize", type=click.Choice(["none", "fp16", "dynamic", "int8"]), default="int8", show_default=True,
    help="The precision of the file that --max-size is about.",
)  # fmt: skip
@click.option("--check", type=click.Path(path_type=Path), help="Photos to measure on; else those held out of DATA.")
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="The .edge file to write.")
@click.option("--epochs", type=click.IntRange(min=1), default=5, show_default=True, help="Times all photos are seen.")
@click.option(
    "--batch", "batch_size", type=click.IntRange(min=1), default=32, show_default=True, help="Photos of a step."
)
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), default=3e-4, show_default=True,
    help="The largest of the run.",
)  # fmt: skip
@augment_option
@validation_option
@seed_option
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of an interrupted call.")
@json_option
def command(
    model_path: Path, data: Path, keep: float | None, of: Measure, max_size: int | None, quantize: Precision,
    check: Path | None, out: Path, resume: bool, as_json: bool, **settings: Any,
) -> int:  # fmt: skip
    """Remove the channels of MODEL that the photos in DATA need least, and train what is left.

    MODEL is a trained network (.edge, .onnx, .tflite or a run's folder), DATA a folder with one sub-folder of photos a
    class (or train/ and val/ of those). Give the share of the cost to keep, or the size of the exported file. Half of
    the training follows the answers of the whole network. The smaller model is trained, exported and run like any
    other.

    Ctrl-C saves a checkpoint beside --out, in NAME.run; the same command with --resume goes on from it, and ends with
    the same weights.

    \b
    Examples:
      edge prune runs/a photos/ --keep 0.5 --out small.edge
      edge prune runs/a photos/ --max-size 2MB --out small.edge
      edge prune runs/a photos/ --keep 0.3 --of weights --epochs 10 --check held-out/ --out small.edge
    """
    from edge_sdk.compression.fine_tuning import fine_tune
    from edge_sdk.data.folder import ImageFolder
    from edge_sdk.evaluation import evaluate
    from edge_sdk.opening import load
    from edge_sdk.training.fit import Interrupted

    if out.suffix != ".edge":
        raise UsageError(f"{out}: the name of the file to write must end in .edge; edge export writes others from it")
    check_not_itself(out, model_path)
    smaller, run_folder = _smaller(keep, of, max_size, quantize), out.with_suffix(".run")
    _check_run(run_folder, settings, resume=resume)
    whole = load(model_path)
    folder = ImageFolder.scan(data, labels=whole.labels)
    for warning in folder.warnings:
        note(f"warning: {warning}")
    training, held_out = folder.split(settings["validation"], settings["seed"])
    measured_on = held_out if check is None else ImageFolder.scan(check, labels=whole.labels).evaluation
    note("edge: which channels matter least …")
    pruned = smaller(whole, training)
    try:
        with TrainingDisplay() as display:
            run = fine_tune(
                pruned, whole, training, held_out, out=run_folder, resume=resume, listener=display, **settings
            )
    except Interrupted as stop:
        note(f"\n{stop}; a checkpoint is in {stop.folder}. Go on with the same command and --resume")
        return 130
    run.model.save(out)
    _remove_run(run_folder)
    accuracies = [evaluate(one, measured_on).top1 if len(measured_on) else None for one in (whole, run.model)]
    facts = {
        "path": str(out),
        "multiply_adds": pruned.multiply_adds,
        "weights": pruned.weights,
        "bytes": [_edge_bytes(whole), out.stat().st_size],
        "file_precision": quantize,
        "file_bytes": [_file_bytes(one, quantize, measured_on) for one in (whole, run.model)],
        "photos": len(measured_on),
        "accuracy": accuracies,
        "layers": {one.layer: [one.before, one.after] for one in pruned.layers},
        "kept": {one.layer: one.reason for one in pruned.layers if one.reason is not None},
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)
        click.echo(f"next: edge export {out} --quantize int8 --calibrate {data} --out {out.with_suffix('.tflite')}")
    return 0


def _check_run(folder: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Say before anything takes long what the training would say after it."""
    from edge_sdk.training.fit import CHECKPOINT
    from edge_sdk.training.settings import Settings

    Settings(**settings)
    is_there = (folder / CHECKPOINT).exists()
    if resume and not is_there:
        raise UsageError(f"{folder}: nothing to resume, there is no {CHECKPOINT}")
    if is_there and not resume:
        raise UsageError(
            f"{folder}: the checkpoint of an interrupted call is there; add --resume, or give another --out"
        )


def _smaller(
    keep: float | None, of: Measure, max_size: int | None, precision: Precision
) -> Callable[[Model, Dataset], Pruned]:
    """What makes a smaller network of a model and photos."""
    from edge_sdk.compression.prune import prune_channels
    from edge_sdk.converters.tflite.fitting import prune_to_size

    if keep is not None and max_size is None:
        return lambda model, photos: prune_channels(model, keep, of, photos)
    if max_size is not None and keep is None:
        return lambda model, photos: prune_to_size(model, max_size, photos, precision)
    raise click.UsageError("give either --keep, a share such as 0.5, or --max-size, such as 2MB")


def _remove_run(folder: Path) -> None:
    """Remove what a finished training has no more use for, and nothing else that lies there."""
    from edge_sdk.training.fit import BEST, CHECKPOINT, LAST, METRICS

    for name in (BEST, CHECKPOINT, LAST, METRICS):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _edge_bytes(model: Model) -> int:
    """How large the .edge file of a model is."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.edge")
        model.save(path)
        return path.stat().st_size


def _file_bytes(model: Model, precision: Precision, photos: Dataset) -> int | None:
    """How large the exported file is; None where the network has no such form."""
    from edge_sdk.converters.precision import INTEGERS
    from edge_sdk.converters.tflite.edges import Edges
    from edge_sdk.converters.tflite.finished_file import Writer
    from edge_sdk.converters.tflite.fitting import size_of_file

    edges = Edges(precision in INTEGERS)
    try:
        return size_of_file(Writer(model, precision, photos, edges, photos, min_runtime=None, fixed_batch=False))
    except ExportError:
        return None


def _print(facts: dict[str, Any]) -> None:
    def row(name: str, values: Sequence[Any], show: Callable[[Any], str]) -> tuple[str, str, str]:
        before, after = ("–" if value is None else show(value) for value in values)
        return name, before, after

    rows = [
        row("multiply-adds", facts["multiply_adds"], amount),
        row("weights", facts["weights"], amount),
        row(".edge file", facts["bytes"], size),
        row(f"{facts['file_precision']} .tflite file, about", facts["file_bytes"], size),
        row(f"accuracy on {facts['photos']} photos", facts["accuracy"], percent),
    ]
    print_table(facts["path"], ("", "whole", "pruned"), rows)
