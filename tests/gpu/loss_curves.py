"""Losses of 100 training steps of five networks: data, steps, and the CPU's curves with their noise, which are kept.

    PYTHONPATH=tests python -m gpu.loss_curves [NETWORK …]

writes loss_curves/NETWORK.json. Steps of SGD with momentum amplify whatever is rounded, so two right programs drift
apart. How far is measured on the CPU: beside its own curve there are some whose weights are multiplied before every
step by 1 + u · n, n normally distributed and u about what one step rounds in each precision.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_sdk import pretrained
from edge_sdk.model import Model
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.step import RATE, training_session

FOLDER = Path(__file__).with_suffix("")
STEPS, BATCH, BATCHES, CLASSES = 100, 16, 8, 4
NOISE = {"float32": 1e-6, "fp16": 2.0**-11, "bf16": 2.0**-8}
"""By how much weights are disturbed before every step, relatively, to stand for a precision."""
SEEDS = (1, 2)
DRAWN = 100_003
"""Numbers that are drawn for one array, again and again where it is larger: a prime, so that no row is like another."""


@dataclass(frozen=True)
class Setting:
    """The side of photos in pixels, and the learning rate, which grows from nothing in the first ten steps."""

    side: int
    rate: float


NETWORKS = {
    "resnet18": Setting(64, 0.002),
    "resnet50": Setting(64, 0.002),
    "vgg16": Setting(32, 0.005),
    "alexnet": Setting(64, 0.005),
    "mobilenet_v2": Setting(64, 0.005),
}


def network(name: str) -> Model:
    """The network with the weights that it is initialised with."""
    return pretrained.load(name, weights=None, num_classes=CLASSES, image_size=NETWORKS[name].side)


def batches(side: int) -> list[tuple[Array, Array]]:
    """Photos of noise with a stripe pattern of their class, and labels."""
    random, made = np.random.default_rng(0), []
    place = np.arange(side)
    for _ in range(BATCHES):
        label = random.integers(0, CLASSES, BATCH).astype(np.int32)
        image = random.standard_normal((BATCH, side, side, 3), np.float32)
        for photo, which in zip(image, label, strict=True):
            angle = np.pi * which / CLASSES
            wave = np.cos(angle) * place[:, None] + np.sin(angle) * place[None, :]
            photo += 0.5 * np.sin(wave * 0.8).astype(np.float32)[..., None]
        made.append((image, label))
    return made


def losses(name: str, device: str = "cpu", precision: str = "float32", noise: float = 0.0, seed: int = 0) -> Array:
    """Train, and return the loss of each step."""
    setting, random = NETWORKS[name], np.random.default_rng(seed)
    session = training_session(network(name), BATCH, momentum=0.9, device=device, precision=precision)
    photos, found = batches(setting.side), []
    for step in range(STEPS):
        session.workspace[RATE] = np.asarray(setting.rate * min(1.0, (step + 1) / 10), np.float32)
        if noise:
            disturb(session, noise, random)
        image, label = photos[step % BATCHES]
        found.append(float(session.run({"image": image, "label": label})["loss"]))
    return np.array(found)


def disturb(session: Session, noise: float, random: np.random.Generator) -> None:
    """Change all weights a little."""
    for name in session.graph.updates:
        if name.endswith((".weight", ".bias", ".scale", ".offset")):
            array = session.workspace[name]
            drawn = np.resize(random.standard_normal(DRAWN, np.float32), array.shape)
            session.workspace[name] = array * (1 + np.float32(noise) * drawn)


def main(names: Sequence[str]) -> None:
    """Measure on the CPU, and write a file a network."""
    for name in names or NETWORKS:
        curves = {"cpu": losses(name).tolist()}
        for precision, noise in NOISE.items():
            curves[precision] = [losses(name, noise=noise, seed=seed).tolist() for seed in SEEDS]
        rounded = json.loads(json.dumps(curves), parse_float=lambda number: round(float(number), 6))
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.json").write_text(json.dumps(rounded, sort_keys=True) + "\n", encoding="utf-8")
        print(name, [round(loss, 3) for loss in curves["cpu"][::10]], flush=True)  # noqa: T201 - a script


if __name__ == "__main__":
    main(sys.argv[1:])
