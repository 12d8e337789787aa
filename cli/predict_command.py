"""`edge predict`: classify photos."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from edge_sdk.cli.output import json_option, note, percent, print_json, print_table


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
    from edge_sdk.errors import DataError, FormatError
    from edge_sdk.model import probabilities, rank
    from edge_sdk.opening import open_model

    classifier = open_model(model)
    results = {}
    unread = 0
    for image in images:
        try:
            photo = classifier.preprocess(image)
        except DataError as error:
            note(f"edge: {error}")
            unread += 1
            continue
        scores = classifier.run(photo[np.newaxis])[0]
        if scores.shape != (len(classifier.labels),):
            raise FormatError(
                f"{model}: gives scores of shape {list(scores.shape)}, but has {len(classifier.labels)} labels"
            )
        results[str(image)] = rank(probabilities(scores), classifier.labels, top)
    if as_json and results:
        print_json({n: [{"label": label, "score": score} for label, score in r] for n, r in results.items()})
    elif not as_json:
        for name, ranking in results.items():
            print_table(name, ("label", "score"), [(label, percent(score)) for label, score in ranking])
    return 2 if unread else 0
