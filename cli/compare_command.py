"""`edge compare`: two models on the same photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_sdk.cli.output import json_option, note, percent, print_json, print_table

if TYPE_CHECKING:
    from edge_sdk.comparison import Comparison

SHOWN = 20
"""How many classes and photos are printed; --json has all of them."""


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--batch", "batch_size", type=click.IntRange(min=1), default=16, show_default=True, help="Photos at a time."
)
@json_option
def command(first: Path, second: Path, data: Path, batch_size: int, as_json: bool) -> None:
    """Run FIRST and SECOND (.edge, .tflite, .onnx or a run's folder) on the photos in DATA and say where they differ.

    DATA is a folder with one sub-folder a class, which gives accuracies too, or a folder of any photos.

    \b
    Examples:
      edge compare runs/a model.tflite photos/val
      edge compare float.tflite int8.tflite photos --json
    """
    from edge_sdk.comparison import compare

    found = compare(first, second, data, batch_size)
    if as_json:
        print_json({"first": str(first), "second": str(second), "data": str(data), **found.to_dict()})
        return
    click.echo(f"first: {first}\nsecond: {second}")
    _print(found)


def _print(found: Comparison) -> None:
    accuracies = (found.first.top1, found.second.top1) if found.has_labels else (None, None)
    rows = [
        ("agreement", percent(found.agreement)),
        ("accuracy of the first", percent(accuracies[0])),
        ("accuracy of the second", percent(accuracies[1])),
        ("largest difference of a score", f"{found.largest_difference:.2e}"),
        ("mean difference of a score", f"{found.mean_difference:.2e}"),
    ]
    print_table(f"{found.first.count} photos", ("", ""), rows)
    changed = [(a, b) for a, b in found.per_class if a.correct != b.correct]
    if changed:
        changed.sort(key=lambda pair: pair[1].accuracy - pair[0].accuracy)
        rows_of_classes = [
            (a.label, str(a.count), percent(a.accuracy), percent(b.accuracy), f"{b.correct - a.correct:+d}")
            for a, b in changed[:SHOWN]
        ]
        print_table("classes that changed", ("class", "photos", "first", "second", "photos right"), rows_of_classes)
    apart = found.disagreements
    if apart:
        rows_of_photos = [(d.photo, d.first, d.second, d.label or "–") for d in apart[:SHOWN]]
        title = f"{len(apart)} photos with different answers" + (f", {SHOWN} shown" if len(apart) > SHOWN else "")
        print_table(title, ("photo", "first", "second", "label"), rows_of_photos, names=4)
    if found.first.unreadable:
        note(f"photos that could not be read: {len(found.first.unreadable)}, among them {found.first.unreadable[0]}")
