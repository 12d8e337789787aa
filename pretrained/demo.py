"""`edge demo`: the whole job on real photos, beside figures that say how good the result is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.converters.tflite.export import export
from edge_sdk.converters.tflite.report import Report
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.split import split_dataset
from edge_sdk.device_choice import chosen_device
from edge_sdk.model import Model
from edge_sdk.pretrained.linear_probe import features, probe_accuracy
from edge_sdk.pretrained.solar_cells import LABELS, block_of, load_solar_cells
from edge_sdk.pretrained.zoo import load
from edge_sdk.spec import Array
from edge_sdk.training.fit import CHECKPOINT, fit
from edge_sdk.training.listener import Listener

NETWORK = "efficientnet_lite0"
HELD_OUT = 0.2
TRAINING: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "label_smoothing": 0.1, "batch_size": 32,
    "augment": "any-side-up", "validation": 0.0,
}  # fmt: skip
"""How the network is fine-tuned. Cells have no upright side, and their defects may stand at the edge. The last epoch is
taken: nothing is chosen by the photos that are held out."""


@dataclass(frozen=True)
class Extent:
    """How much the demo does: one block of photos in `every`, `epochs` over them, the first `frozen` blocks kept."""

    every: int
    epochs: int
    frozen: int

    @property
    def freeze(self) -> tuple[str, ...]:
        """The parameters that keep their ImageNet values, as patterns of names.

        All batch norms are among them: the statistics of a few photos from the same modules would mislead the
        network about the modules that it has not seen.
        """
        return ("stem.*", *(f"blocks.{index}.*" for index in range(self.frozen)), "*.norm.*")


FULL = Extent(every=1, epochs=8, frozen=5)
QUICK = Extent(every=4, epochs=2, frozen=8)


@dataclass(frozen=True)
class Demo:
    """What came out: accuracies are shares of the held-out photos.

    `majority` is the accuracy of always answering the commonest class; `probe` that of a linear classifier on the
    features of the network before fine-tuning, on the same split; `probe_random_split` the probe's where neighbouring
    cells may stand on both sides, which flatters it. `report` compares the fine-tuned model with its int8 file.
    """

    photos: int
    held_out: int
    majority: float
    probe: float
    probe_random_split: float
    report: Report
    model: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        return dataclasses.asdict(self)


def run_demo(
    folder: Path,
    extent: Extent = FULL,
    seed: int = 0,
    listener: Listener | None = None,
    say: Callable[[str], None] = lambda _: None,
    device: str = "cpu",
) -> Demo:
    """Fine-tune, export to int8, run the file, and compare; everything that is written lies in `folder`.

    The held-out fifth of the photos follows from `seed`, by blocks of file numbers. Training that was interrupted, or
    is done already, in `folder` goes on from there. `device` computes what is not the file's.

    Raises:
        MissingExtraError: the packages with photos and weights are not installed.
        UsageError: `folder` holds another run.
        Interrupted: Ctrl-C while training; a checkpoint was written first.
    """
    start = time.monotonic()
    cells = load_solar_cells()  # first: the extra that it names has the weights too
    say("reading the photos")
    model = _starting_model().replace(device=chosen_device(device, say))
    photos = _decoded(cells, model, extent.every)
    training, held_out = split_dataset(photos, HELD_OUT, seed, block_of)
    say(f"computing the frozen features of {len(photos)} photos, for the comparison")
    seen = _Features(photos, features(model, photos))
    probe, random_split = seen.probe(training, held_out), seen.probe(*split_dataset(photos, HELD_OUT, seed))
    resume = (folder / CHECKPOINT).exists()
    say(f"fine-tuning on {len(training)} photos{f', going on from {folder}' if resume else ''}")
    run = fit(
        model, training, out=folder, resume=resume, listener=listener, seed=seed, epochs=extent.epochs,
        warmup_epochs=extent.epochs / 10, freeze=extent.freeze, **TRAINING,
    )  # fmt: skip
    say(f"exporting to int8 and running the file on {len(held_out)} held-out photos")
    report = export(run.model, folder / "solar-cells.tflite", "int8", calibrate=training, check=held_out)
    run.model.save(folder / "solar-cells.edge")
    return Demo(
        photos=len(photos),
        held_out=len(held_out),
        majority=_commonest(training, held_out),
        probe=probe,
        probe_random_split=random_split,
        report=report,
        model=str(folder / "solar-cells.edge"),
        seconds=time.monotonic() - start,
    )


def _starting_model() -> Model:
    """EfficientNet-Lite0 with ImageNet's weights; a cell fills its photo, so that nothing of it is cut off."""
    model = load(NETWORK, "imagenet", num_classes=len(LABELS), labels=LABELS)
    return model.replace(preprocess=dataclasses.replace(model.preprocess, resize=None))


def _decoded(photos: ArrayDataset, model: Model, every: int) -> ArrayDataset:
    """The photos of one block in `every`, decoded once at the network's input size."""
    chosen = [index for index, name in enumerate(photos.names) if int(block_of(name)) % every == 0]
    pixels = np.stack([model.preprocess.crop(photos.photo(index)) for index in chosen])
    some = photos.select(chosen)
    return ArrayDataset.of(pixels, some.indices, some.labels, some.names)


@dataclass(frozen=True)
class _Features:
    photos: ArrayDataset
    values: Array

    def probe(self, training: ArrayDataset, held_out: ArrayDataset) -> float:
        row = {name: index for index, name in enumerate(self.photos.names)}
        x, y = (self.values[[row[name] for name in part.names]] for part in (training, held_out))
        return probe_accuracy(x, np.array(training.indices), y, np.array(held_out.indices))


def _commonest(training: ArrayDataset, held_out: ArrayDataset) -> float:
    commonest = np.bincount(training.indices).argmax()
    return float(np.mean(np.array(held_out.indices) == commonest))
