"""Networks that have learnt the solar-cell photos, for benchmarks of what their 8-bit files lose.

EfficientNet-Lite0 starts from its ImageNet weights, and is fine-tuned as `edge demo` does it. No weights of the others
come in a package, so they learn from scratch, at smaller input sizes. Nothing is chosen by the photos that are held
out: the last epoch is taken, and a recipe is the same for every seed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_sdk import pretrained
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.split import split_dataset
from edge_sdk.edge_file import load as load_edge
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.demo import FULL, HELD_OUT, NETWORK, TRAINING
from edge_sdk.pretrained.solar_cells import LABELS, block_of, load_solar_cells
from edge_sdk.training.fit import fit
from edge_sdk.training.frozen import Freeze
from edge_sdk.training.listener import Listener


@dataclass(frozen=True)
class Recipe:
    """How a network learns; `side` is that of its input in pixels. All else is as in `edge demo`."""

    side: int
    epochs: int
    learning_rate: float
    weights: str | None = None
    freeze: Freeze = None


RECIPES = MappingProxyType(
    {
        NETWORK: Recipe(224, FULL.epochs, TRAINING["learning_rate"], "imagenet", FULL.freeze),
        "mobilenet_v2": Recipe(side=96, epochs=25, learning_rate=2e-3),
        "mobilenet_v3_small": Recipe(side=96, epochs=40, learning_rate=2e-3),
        "resnet18": Recipe(side=96, epochs=15, learning_rate=1e-3),
        "vgg16_bn": Recipe(side=64, epochs=14, learning_rate=1e-3),
    }
)


@dataclass(frozen=True)
class Cells:
    """The photos at one input size: no block of neighbouring cells is on both sides."""

    training: ArrayDataset
    held_out: ArrayDataset

    @classmethod
    def load(cls, preprocess: Preprocess, seed: int) -> Cells:
        """Decode the photos once, and hold out the fifth of the blocks that `seed` says."""
        photos = load_solar_cells()
        pixels = tuple(preprocess.crop(photos.photo(index)) for index in range(len(photos)))
        return cls(*split_dataset(dataclasses.replace(photos, photos=pixels), HELD_OUT, seed, block_of))


def trained(name: str, seed: int, folder: Path, listener: Listener | None = None) -> Model:
    """Return a network as its recipe trains it; it is kept in `folder`, and taken from there the next time."""
    path = folder / f"{name}-{seed}.edge"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = untrained(name, seed)
        learn(model, name, Cells.load(model.preprocess, seed).training, seed, listener).save(path)
    return load_edge(path)


def untrained(name: str, seed: int) -> Model:
    """Return a network as its recipe begins. A cell fills its photo: the whole photo is shown, and nothing cut off."""
    recipe = RECIPES[name]
    model = pretrained.load(name, recipe.weights, len(LABELS), recipe.side, LABELS, 0 if recipe.weights else seed)
    return model.replace(preprocess=dataclasses.replace(model.preprocess, resize=None))


def learn(model: Model, name: str, photos: ArrayDataset, seed: int, listener: Listener | None = None) -> Model:
    """Return a network as its recipe trains it on photos."""
    recipe = RECIPES[name]
    settings: dict[str, Any] = TRAINING | {"learning_rate": recipe.learning_rate}
    return fit(
        model, photos, listener=listener, seed=seed, epochs=recipe.epochs, warmup_epochs=recipe.epochs / 10,
        freeze=recipe.freeze, **settings,
    ).model  # fmt: skip
