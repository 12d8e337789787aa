"""`edge zoo match`: which network of the zoo a file of weights belongs to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_sdk.cli.output import json_option, percent, print_json, print_table

if TYPE_CHECKING:
    from edge_sdk.pretrained.matching import Match

SHOWN = 5


@click.command("match", short_help="Say which network of the zoo a checkpoint belongs to.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--part", help="Which of several sets of tensors, such as model_ema; left out, the weights themselves.")
@json_option
def command(file: Path, part: str | None, as_json: bool) -> None:
    """Say which network of the zoo FILE (a PyTorch checkpoint or a safetensors file) belongs to.

    \b
    Examples:
      edge zoo match model_best.pth.tar
      edge zoo match pytorch_model.safetensors --json
      edge zoo match checkpoint.pth --part model_ema

    Tensors are recognised by their names, as torchvision, timm or transformers call them, and by their shapes. The
    weights are not read.
    """
    from edge_sdk.errors import FormatError
    from edge_sdk.pretrained.matching import match

    found = match(file, part)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        raise FormatError(f"{file}: it resembles no network of the zoo; `edge zoo list` names them")
    rows = [(one.name, one.library, _classes(one), percent(one.score), _difference(one)) for one in found[:SHOWN]]
    print_table(
        f"{file}: {found[0]}", ("network", "names", "classes", "tensors that agree", "differences"), rows, names=2
    )
    if found[0].loads and part is None:
        width = "" if found[0].width == 1 else f", width={found[0].width:g}"
        click.echo(f"load it with pretrained.load({found[0].name!r}, weights={str(file)!r}{width})")


def _classes(one: Match) -> str:
    return "–" if one.classes is None else str(one.classes)


def _difference(one: Match) -> str:
    counts = ((len(one.missing), "missing"), (len(one.misshapen), "misshapen"), (len(one.unknown), "unknown"))
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "none"
