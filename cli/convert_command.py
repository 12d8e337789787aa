"""`edge convert`: a network of other software, or weights for one of the zoo, as an .edge file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.cli.output import amount, json_option, note, print_json, print_table
from edge_sdk.errors import FormatError, UsageError, suggestion

if TYPE_CHECKING:
    from edge_sdk.model import Model
    from edge_sdk.preprocess import Channels, Preprocess

MOST_LABEL_BYTES = 64 << 20


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), help="The .caffemodel that belongs to a .prototxt.")
@click.option("--model", "network", help="Zoo network of a checkpoint; recognised by its tensors when left out.")
@click.option("--labels", "label_file", type=click.Path(path_type=Path), help="Names of classes: a line each, or JSON.")
@click.option("--image-size", type=click.IntRange(1, 8192), help="Side of the photos, where the file leaves it open.")
@click.option("--resize", type=click.IntRange(1, 8192), help="Shorter side before the centre is cut out.")
@click.option("--mean", help="Subtracted from pixels 0…255: a number, or one a channel by commas, or a .binaryproto.")
@click.option("--std", help="What they are divided by after that: a number, or one a channel by commas.")
@click.option("--channels", type=click.Choice(["rgb", "bgr", "grey"]), help="Order of the channels.")
@json_option
def command(source: Path, destination: Path, label_file: Path | None, as_json: bool, **given: Any) -> None:
    """Write SOURCE as DESTINATION, an .edge file, to evaluate, train further and export.

    SOURCE is a network (.tflite, .onnx, or .prototxt with --weights), or a checkpoint (.pth, .pt, .safetensors, .h5,
    .keras) of a network of the zoo. What a file does not say about its photos has to be given: wrong pixels make a
    good network a bad one. To write a .tflite file, export the .edge file.

    \b
    Examples:
      edge convert mobilenet.tflite mobilenet.edge
      edge convert net.onnx net.edge --mean 123.7,116.3,103.5 --std 58.4,57.1,57.4 --labels labels.txt
      edge convert deploy.prototxt caffenet.edge --weights caffenet.caffemodel --mean mean.binaryproto
      edge convert finetuned.pth flowers.edge --model resnet50
    """
    if destination.suffix != ".edge":
        hint = "; write an .edge file, then edge export it" if destination.suffix == ".tflite" else ""
        raise UsageError(f"{destination}: the name of the file to write must end in .edge{hint}")
    if source.is_dir():
        hint = "; its best.edge is such a file already" if (source / "best.edge").is_file() else ""
        raise UsageError(f"{source}: a folder; wanted the file of a network or a checkpoint{hint}")
    if not source.is_file():
        raise FormatError(f"{source}: no such file")
    labels = None if label_file is None else _labels(label_file)
    model = _with_given(_read(source, labels, given), given)
    model.save(destination)
    facts = _facts(source, destination, model)
    if as_json:
        print_json(facts)
    else:
        _print(facts, model)
    if str(model.provenance.get("preprocess", "")).startswith("assumed"):
        note(
            f"warning: {source} does not say how photos become its input; {model.provenance['preprocess']}. "
            "Give --mean, --std and --channels as it was trained"
        )


def _read(source: Path, labels: tuple[str, ...] | None, given: dict[str, Any]) -> Model:
    """Dispatch by the ending; options that do not belong to it are refused."""
    from edge_sdk.opening import CAFFE, CHECKPOINTS, GRAPHS, converter, graph_format, read_graph_file

    known = (*GRAPHS, *CHECKPOINTS, *CAFFE)
    if source.suffix not in known and graph_format(source) is None:
        hint = "; it is what other files are converted to" if source.suffix == ".edge" else ""
        raise UsageError(
            f"{source}: {source.suffix!r} is not one of {', '.join(known)}{suggestion(source.suffix, known)}{hint}"
        )
    if given["weights"] is not None and source.suffix != ".prototxt":
        raise UsageError(f"--weights goes with a .prototxt; {source} has its own")
    if given["network"] is not None and source.suffix not in CHECKPOINTS:
        raise UsageError(f"--model goes with a checkpoint of weights alone; {source} holds a network")
    mean_image = given["mean"] if (given["mean"] or "").endswith(".binaryproto") else None
    if mean_image is not None and source.suffix != ".prototxt":
        raise UsageError(f"--mean {mean_image}: a mean image goes with a .prototxt; give numbers")
    if graph_format(source) is not None:
        size = given["image_size"]
        if size is None:
            return read_graph_file(source, labels=labels)
        found = read_graph_file(source, preprocess=_rule((size, size), given), labels=labels)
        return found.replace(provenance={**found.provenance, "preprocess": "assumed: pixels / 255"})
    if source.suffix in CHECKPOINTS:
        return _checkpoint(source, labels, given)
    if source.suffix == ".caffemodel" or given["weights"] is None:
        raise UsageError(
            "Caffe keeps a network in two files: edge convert NET.prototxt OUT.edge --weights W.caffemodel"
        )
    if given["image_size"] is not None:
        raise UsageError(f"--image-size: {source} says the size of its input itself; edit its input_shape")
    caffe = converter("edge_sdk.converters.caffe")
    model: Model = caffe.read(source, given["weights"], mean=mean_image and Path(mean_image), labels=labels)
    return model


def _checkpoint(source: Path, labels: tuple[str, ...] | None, given: dict[str, Any]) -> Model:
    from edge_sdk import pretrained
    from edge_sdk.pretrained.foreign_weights import is_foreign

    name = given["network"]
    if name is None:
        if is_foreign(source):
            raise UsageError(f"{source}: weights of Keras; say which network of the zoo they are for: --model NAME")
        found = pretrained.match(source)
        if not found:
            raise UsageError(f"{source}: resembles no network of the zoo; say which it is: --model NAME")
        name = found[0].name
        note(f"recognised: {found[0]}")
    return pretrained.load(name, weights=source, image_size=given["image_size"], labels=labels)


def _with_given(model: Model, given: dict[str, Any]) -> Model:
    """The model with the preprocessing that was given in place of what was read or assumed."""
    if all(given[name] is None for name in ("resize", "std", "channels")) and _numbers("mean", given["mean"]) is None:
        return model  # what the file says, or the reader's guess
    rule = _rule(model.preprocess.size, given, model.preprocess)
    return model.replace(preprocess=rule, provenance={**model.provenance, "preprocess": "given to edge convert"})


def _rule(size: tuple[int, int], given: dict[str, Any], otherwise: Preprocess | None = None) -> Preprocess:
    """What was given, completed by another rule, or by pixels / 255."""
    from edge_sdk.preprocess import Preprocess

    channels: Channels = given["channels"] or ("rgb" if otherwise is None else otherwise.channels)
    count = 1 if channels == "grey" else 3
    base = otherwise or Preprocess(size, channels=channels, mean=(0.0,) * count, std=(255.0,) * count)
    mean, std = _numbers("mean", given["mean"]) or base.mean, _numbers("std", given["std"]) or base.std
    mean, std = (numbers * count if len(numbers) == 1 else numbers for numbers in (mean, std))
    resize = base.resize if given["resize"] is None else given["resize"]
    return dataclasses.replace(base, size=size, resize=resize, mean=mean, std=std, channels=channels)


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None or text.endswith(".binaryproto"):
        return None
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise UsageError(f"--{name} {text!r}: wanted a number, or one for each channel with commas between") from None


def _labels(path: Path) -> tuple[str, ...]:
    """Names of classes: a JSON list of texts, or a text with one on each line."""
    try:
        if path.stat().st_size > MOST_LABEL_BYTES:
            raise FormatError(f"{path}: more than {MOST_LABEL_BYTES:,} bytes are no list of names")
        text = path.read_text("utf-8-sig")
        if not text.lstrip().startswith("["):
            return tuple(line.strip() for line in text.rstrip().split("\n"))
        found = json.loads(text)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: wanted a JSON list, or a text with a name on each line ({error})") from error
    if not all(isinstance(name, str) for name in found):
        raise FormatError(f"{path}: wanted a JSON list of texts")
    return tuple(found)


def _facts(source: Path, destination: Path, model: Model) -> dict[str, Any]:
    return {
        "source": str(source),
        "destination": str(destination),
        "format": model.provenance.get("format", source.suffix.removeprefix(".")),
        "architecture": model.name,
        "operators": len(model.graph.nodes),
        "parameters": sum(array.size for array in model.workspace.restricted(model.graph).values()),
        "classes": model.num_classes,
        "input": list(model.preprocess.shape),
        "preprocess": model.preprocess.to_dict(),
        "preprocess_from": model.provenance.get("preprocess", _origin(source)),
        "stored": model.provenance.get("stored"),
        "bytes": destination.stat().st_size,
    }


def _origin(source: Path) -> str:
    from edge_sdk.opening import CHECKPOINTS

    return "as the zoo has it" if source.suffix in CHECKPOINTS else "as the file says"


def _print(facts: dict[str, Any], model: Model) -> None:
    rule = model.preprocess
    mean, std = (", ".join(f"{number:g}" for number in numbers) for numbers in (rule.mean, rule.std))
    cut = "the whole photo resized" if rule.resize is None else f"shorter side {rule.resize}, centre cut out"
    if rule.stretch is not None:
        cut = f"resized to {rule.stretch[0]}×{rule.stretch[1]}, centre cut out"
    shown = [str(label) for label in model.labels[:3]]
    rows = [
        ("format", facts["format"] if facts["stored"] is None else f"{facts['format']} ({facts['stored']})"),
        ("architecture", facts["architecture"]),
        ("operators", str(facts["operators"])),
        ("parameters", amount(facts["parameters"])),
        ("classes", f"{facts['classes']}: {', '.join(shown)}{', …' if len(model.labels) > len(shown) else ''}"),
        ("photos", f"{rule.size[0]}×{rule.size[1]} {rule.channels}, {cut}"),
        ("normalised", f"(pixel - [{mean}]) / [{std}], {facts['preprocess_from']}"),
    ]
    print_table(f"{facts['destination']}, from {facts['source']}", ("", ""), rows, names=2)
