"""`edge predict`: classify photos."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from edge_sdk.cli.output import json_option, percent, print_json, print_table


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many labels to print.")
@json_option
def command(model: Path, images: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Classify IMAGES with MODEL (.edge, .tflite, .onnx or a run's folder).

    \b
    Examples:
      edge predict runs/a cat.jpg dog.jpg
      edge predict model.tflite cat.jpg --top 3 --json
    """
    from edge_sdk.errors import FormatError
    from edge_sdk.model import probabilities, rank
    from edge_sdk.opening import open_model

    classifier = open_model(model)
    results = {}
    for image in images:
        scores = classifier.run(classifier.preprocess(image)[np.newaxis])[0]
        if scores.shape != (len(classifier.labels),):
            raise FormatError(
                f"{model}: gives scores of shape {list(scores.shape)}, but has {len(classifier.labels)} labels"
            )
        results[str(image)] = rank(probabilities(scores), classifier.labels, top)
    if as_json:
        print_json({n: [{"label": label, "score": score} for label, score in r] for n, r in results.items()})
        return
    for name, ranking in results.items():
        print_table(name, ("label", "score"), [(label, percent(score)) for label, score in ranking])
