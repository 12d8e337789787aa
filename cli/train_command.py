"""`edge train`: fine-tune a network on a folder of labelled photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.cli.device_option import device_for, device_option
from edge_sdk.cli.download_display import DownloadDisplay
from edge_sdk.cli.output import TrainingDisplay, json_option, note, percent, print_json
from edge_sdk.cli.training_options import augment_option, seed_option, validation_option
from edge_sdk.errors import UsageError
from edge_sdk.quantization.profile import DEFAULT, PROFILES

if TYPE_CHECKING:
    from edge_sdk.converters.precision import TFLitePrecision
    from edge_sdk.model import Model
    from edge_sdk.quantization.profile import Profile
    from edge_sdk.training.fit import Run


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--model", "name", default="efficientnet_lite0", show_default=True, help="Zoo network, model file or run's folder."
)
@click.option(
    "--weights", default="imagenet", show_default=True, help="imagenet, others of `edge zoo list`, none, or a file."
)
@click.option(
    "--image-size", type=click.IntRange(min=1), help="Side of the network's input; the network's own when left out."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--epochs", type=click.IntRange(min=1), default=5, show_default="5; 3 with --quantization-aware",
    help="Times all photos are seen.",
)  # fmt: skip
@click.option(
    "--batch", "batch_size", type=click.IntRange(min=1), default=32, show_default=True, help="Photos of a step."
)
@click.option(
    "--optimizer", type=click.Choice(["sgd", "adam", "adamw", "rmsprop"]), default="sgd",
    show_default="sgd; adam with --quantization-aware", help="The rule by which gradients change weights.",
)  # fmt: skip
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True),
    help="The largest of the run; what is usual for the optimizer when left out.",
)  # fmt: skip
@click.option(
    "--weight-decay", type=click.FloatRange(min=0), default=1e-4, show_default="0.0001; 0 with --quantization-aware",
    help="How strongly weights are drawn to zero.",
)  # fmt: skip
@click.option(
    "--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
    help="Share of each label that is spread over all classes.",
)  # fmt: skip
@click.option(
    "--warmup-epochs", type=click.FloatRange(min=0), default=0.5, show_default=True,
    help="Epochs in which the learning rate rises; it falls along a cosine then.",
)  # fmt: skip
@click.option("--freeze", multiple=True, help="backbone, or a pattern of parameter names; may be repeated.")
@click.option("--no-feature-cache", is_flag=True, help="Compute what is frozen anew in each epoch.")
@click.option(
    "--feature-views",
    type=click.IntRange(min=1),
    help="Augmented views of each photo whose frozen features are computed, once; epochs take them in turn.",
)
@augment_option
@validation_option
@seed_option
@device_option
@click.option("--autotune", is_flag=True, help="Choose algorithms by measuring them here, once; EDGE_AUTOTUNE=1 too.")
@click.option("--precise", is_flag=True, help="Leave out kernels that round more than a direct sum; some are slower.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "fp16", "bf16", "tf32"]),
    default="float32",
    show_default=True,
    help="On a GPU fp16 and bf16 store activations in 16 bits, and tf32 multiplies numbers of 11 bits; a processor "
    "with AVX-512 BF16 multiplies in bfloat16 with bf16. Weights and sums stay float32.",
)
@click.option(
    "--recompute", type=click.Choice(["auto", "activations", "none"]), default="auto", show_default=True,
    help="Activations made twice instead of being kept: where it is cheap, all, or none. The weights are the same.",
)  # fmt: skip
@click.option(
    "--target-runtime", help="Refuse now what cannot be exported for this TensorFlow Lite release, or latest."
)
@click.option(
    "--target-precision", type=click.Choice(["none", "fp16", "dynamic", "int8", "int16x8"]),
    help="Refuse now what cannot be exported so.  [default with --target-runtime: int8]",
)  # fmt: skip
@click.option(
    "--quantization-aware", is_flag=True,
    help="Train a trained model (--model FILE) further in the 8-bit numbers that it is exported in.",
)  # fmt: skip
@click.option(
    "--profile", type=click.Choice(PROFILES), default=DEFAULT, show_default=True,
    help="Whose kernels' 8-bit arithmetic epochs are validated by, with --quantization-aware.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(min=1), default=1, show_default=True,
    help="Train in so many processes, each on its part of every batch and, with --device gpu, on its own GPU.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@json_option
def command(
    data: Path, name: str, weights: str, image_size: int | None, out: Path, freeze: tuple[str, ...], device: str,
    autotune: bool, precise: bool, resume: bool, no_feature_cache: bool, recompute: str, target_runtime: str | None,
    target_precision: TFLitePrecision | None, quantization_aware: bool, profile: Profile, processes: int,
    as_json: bool,
    **settings: Any,
) -> int:  # fmt: skip
    """Fine-tune a network on DATA, a folder with one sub-folder of photos a class (or train/ and val/ of those).

    Ctrl-C saves a checkpoint; the same command with --resume goes on from it, and ends with the same weights.

    With --quantization-aware a model that was trained before learns to do with 8-bit numbers. Its best.edge holds
    weights, ranges and scales as they were learned; edge export --quantize int8 writes them without --calibrate.

    \b
    Examples:
      edge train photos/ --out runs/a
      edge train photos/ --model resnet18 --weights none --epochs 20 --out runs/b
      edge train photos/ --freeze backbone --out runs/c
      edge train photos/ --precision bf16 --out runs/d
      edge train photos/ --device auto --out runs/g
      edge train photos/ --device gpu --processes 4 --batch 256 --out runs/h
      edge train photos/ --model resnet18 --target-runtime 2.14 --target-precision int8 --out runs/e
      edge train photos/ --model runs/a/best.edge --quantization-aware --out runs/f
    """
    from edge_sdk.data.folder import ImageFolder
    from edge_sdk.parallel.communicator import current_communicator
    from edge_sdk.training.fit import Interrupted, fit

    if processes > current_communicator().size:
        from edge_sdk.cli.main import ARGUMENTS, run_in_process
        from edge_sdk.parallel.launch import run_processes

        status: int = run_processes(processes, run_in_process, click.get_current_context().meta[ARGUMENTS])
        return status
    place = device_for(device)  # before anything that takes long
    folder = ImageFolder.scan(data)
    for warning in folder.warnings:
        note(f"warning: {warning}")
    train: Callable[..., Run] = fit
    if quantization_aware:
        train, model = _train_rounded, _trained_model(name, folder.labels)
        settings = {**_without_other_defaults(settings), "profile": profile}
    else:
        model = _starting_model(name, weights, len(folder.labels), folder.labels, image_size)
        _check_plain(model, name)
        settings["feature_cache"] = not no_feature_cache
    if target_runtime is not None or target_precision is not None:
        from edge_sdk.converters.tflite.exportable import check_exportable

        check_exportable(model, target_precision or "int8", target_runtime)
    if autotune:  # else the environment's EDGE_AUTOTUNE decides
        settings["autotune"] = True
    if precise:  # else the environment's EDGE_PRECISE decides
        settings["precise"] = True
    frozen = None if not freeze else freeze[0] if len(freeze) == 1 else freeze
    try:
        with TrainingDisplay() as display:
            run = train(
                model, data, out=out, resume=resume, listener=display, freeze=frozen, device=place,
                recompute=None if recompute == "none" else recompute, **settings,
            )  # fmt: skip
    except Interrupted as stop:
        note(f"\n{stop}; a checkpoint is in {stop.folder}. Go on with the same command and --resume")
        return 130
    best = max((m.validation_accuracy for m in run.history if m.validation_accuracy is not None), default=None)
    if as_json:
        print_json(
            {"run": str(out), "validation_accuracy": best, "epochs": len(run.history), "unreadable": run.unreadable}
        )
        return 0
    if run.unreadable:
        note(f"photos that could not be read and were left out: {len(run.unreadable)}")
    click.echo(f"best validation accuracy {percent(best)}; model in {out / 'best.edge'}")
    calibration = "" if quantization_aware else f" --calibrate {data}"
    click.echo(f"next: edge export {out} --quantize int8{calibration} --out model.tflite")
    return 0


def _train_rounded(*arguments: Any, **settings: Any) -> Run:
    from edge_sdk.quantization.quantization_aware import quantize_aware

    return quantize_aware(*arguments, **settings).run


def _without_other_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """What the user set: the defaults of training in 8-bit numbers are others than those of the options."""
    from edge_sdk.quantization.quantization_aware import DEFAULTS

    for name in ("weights", "image_size", "no_feature_cache", "feature_views"):
        if _is_given(name):
            raise click.UsageError(f"--{name.replace('_', '-')} is no option of --quantization-aware")
    return {name: value for name, value in settings.items() if name not in DEFAULTS or _is_given(name)}


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _check_plain(model: Model, name: str) -> None:
    """Refuse to train in real numbers what was trained in 8-bit ones."""
    from edge_sdk.quantization.rounded_model import rounds

    if _is_given("profile"):
        raise click.UsageError("--profile goes with --quantization-aware")
    if rounds(model):
        raise UsageError(f"{name} was trained in 8-bit numbers; go on with --quantization-aware")


def _trained_model(name: str, labels: tuple[str, ...]) -> Model:
    """The model that training in 8-bit numbers goes on with, for photos with red first as files take them."""
    from edge_sdk.converters.tflite.edges import red_first
    from edge_sdk.opening import load

    if Path(name).exists():
        model = load(name)
        if model.labels == labels:
            return red_first(model)
    raise UsageError(
        f"--quantization-aware goes on with a model file that knows the photos' {len(labels)} classes, and {name} does "
        "not: train it first (edge train … --out RUN), then give --model RUN"
    )


def _starting_model(name: str, weights: str, classes: int, labels: tuple[str, ...], image_size: int | None) -> Model:
    from edge_sdk import pretrained
    from edge_sdk.opening import ENDINGS, load

    is_network = name in pretrained.architectures.ZOO or name in pretrained.architectures.ALIASES
    if name.endswith(ENDINGS) or (not is_network and Path(name).is_dir()):
        for option in ("image_size", "weights"):
            if _is_given(option):
                raise UsageError(f"--{option.replace('_', '-')} goes with a zoo network; {name} has its own")
        model = load(name)
        if model.num_classes == classes:
            return model
        note(f"{name} has {model.num_classes} classes, the photos {classes}: its classifier starts anew")
        return model.with_labels(labels)
    if not is_network and Path(name).name != name:
        raise UsageError(f"{name}: neither a network of the zoo nor a run's folder")
    chosen = None if weights == "none" else weights
    with DownloadDisplay(name) as display:
        return pretrained.load(
            name, chosen, num_classes=classes, image_size=image_size, labels=labels, on_progress=display.on_progress
        )
