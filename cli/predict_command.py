"""`edge predict`: classify photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_sdk.cli.output import json_option, note, percent, print_json, print_table

if TYPE_CHECKING:
    from edge_sdk.model import Ranking


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many labels to print.")
@json_option
def command(model: Path, images: tuple[Path, ...], top: int, as_json: bool) -> int:
    """Classify IMAGES with MODEL (.edge, .tflite, .onnx or a run's folder).

    A photo that cannot be read is named on stderr; the others are classified, and the command ends with 2.

    \b
    Examples:
      edge predict runs/a cat.jpg dog.jpg
      edge predict model.tflite cat.jpg --top 3 --json
    """
    from edge_sdk.errors import DataError
    from edge_sdk.opening import open_model

    classifier: Any = open_model(model)  # all that it opens can predict
    results: dict[str, Ranking] = {}
    unread = 0
    for image in images:
        try:
            results[str(image)] = classifier.predict(image, top)
        except DataError as error:
            note(f"edge: {error}")
            unread += 1
    if as_json and results:
        print_json({n: [{"label": label, "score": score} for label, score in r] for n, r in results.items()})
    elif not as_json:
        for name, ranking in results.items():
            print_table(name, ("label", "score"), [(label, percent(score)) for label, score in ranking])
    return 2 if unread else 0
