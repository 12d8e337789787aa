"""Which settings of quantization-aware training keep a network's answers: chosen without the photos that are held out.

    python -m benchmarks.quantization_aware_settings 1e-5,3,1.0,learned 1e-4,3,0.5,given

A quarter of the training photos of the solar cells, in whole blocks, is split off; MobileNetV2 learns the others from
scratch, in floats, and then in 8 bits with each of the settings: learning rate, epochs, distillation, and whether
scales are learned. What is told is how the 8-bit form answers the photos that were split off: beside the float
network's accuracy and answers, the mean divergence Σ p · log(p / q) of its probabilities q from the float network's p,
which moves before answers do.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.quantized_accuracy import compared
from benchmarks.solar_cell_networks import Cells, learn, untrained
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.split import split_dataset
from edge_sdk.edge_file import load as load_edge
from edge_sdk.evaluation import Evaluation, evaluate
from edge_sdk.model import Model, softmax
from edge_sdk.pretrained.demo import TRAINING
from edge_sdk.pretrained.solar_cells import block_of
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.quantization.quantization_aware import train_candidate

NETWORK = "mobilenet_v2"
SPLIT_OFF, SPLIT_SEED = 0.25, 1
LEAST_PROBABILITY = 1e-12


@dataclasses.dataclass(frozen=True)
class Setting:
    """Learning rate, epochs, the teacher's share of the loss, and whether scales are learned."""

    rate: float
    epochs: int
    distillation: float
    learned: bool

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Read one as it is written on the command line."""
        try:
            rate, epochs, distillation, scales = text.split(",")
            return cls(float(rate), int(epochs), float(distillation), {"learned": True, "given": False}[scales])
        except (KeyError, ValueError) as error:
            raise click.UsageError(f"{text!r} is not RATE,EPOCHS,DISTILLATION,learned|given") from error


def float_network(folder: Path) -> tuple[Model, ArrayDataset, ArrayDataset]:
    """Return the network, the photos that it learned, and those that were split off; it is kept in `folder`."""
    model = untrained(NETWORK, 0)
    learned, others = split_dataset(Cells.load(model.preprocess, 0).training, SPLIT_OFF, SPLIT_SEED, block_of)
    path = folder / f"{NETWORK}-inner.edge"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        learn(model, NETWORK, learned, 0).save(path)
    return load_edge(path), learned, others


def judged(candidate: Candidate, model: Model, exact: Evaluation, photos: ArrayDataset) -> dict[str, Any]:
    """How the 8-bit form of a candidate answers photos."""
    graph, weights = integer_graph(candidate)
    found = evaluate(QuantizedModel(graph, weights, model.preprocess, model.labels), photos)
    p, q = (np.maximum(softmax(one.scores), LEAST_PROBABILITY) for one in (exact, found))
    labels = [photos.label(index) for index in range(len(photos))]
    divergence = float((p * np.log(p / q)).sum(axis=1).mean())
    return {**compared(exact, found, labels), "divergence": round(divergence, 5)}


@click.command()
@click.argument("settings", nargs=-1, required=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("runs/solar-cells"), help="Of the trained network."
)
def main(settings: Sequence[str], folder: Path) -> None:
    """Train with each of the settings RATE,EPOCHS,DISTILLATION,learned|given, and measure."""
    chosen = [Setting.parse(text) for text in settings]
    model, learned, others = float_network(folder)
    exact = evaluate(model, others)
    bare = prepare(model)
    candidate = observe(bare, CalibrationImages.of(learned, model.labels, bare.preprocess))
    click.echo(json.dumps({"setting": "calibration", **judged(candidate, model, exact, others)}))
    for text, one in zip(settings, chosen, strict=True):
        aware = train_candidate(
            candidate, model, learned, validation=0.0, learned_scales=one.learned, learning_rate=one.rate,
            epochs=one.epochs, distillation=one.distillation, augment=TRAINING["augment"], seed=0,
        )  # fmt: skip
        click.echo(json.dumps({"setting": text, **judged(aware.candidate, model, exact, others)}))


if __name__ == "__main__":
    main()
