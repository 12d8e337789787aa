"""Compile ahead what training and inference of the zoo's networks need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edge_sdk.compilation import Compilation, compilation
from edge_sdk.model import INPUT
from edge_sdk.pretrained.architectures import known_name
from edge_sdk.pretrained.zoo import load
from edge_sdk.session import Session
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.step import LABEL, training_step

CLASSES = 10
# One network of each family; ResNet has blocks of two kinds. The others need hardly any other kernel.
NETWORKS = (
    "alexnet", "caffenet", "densenet121", "efficientnet_lite0", "googlenet", "mnasnet0_5", "mobilenet_v1",
    "mobilenet_v3_small", "mobilenetv2", "resnet18", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_1", "vgg16",
)  # fmt: skip
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
# Which kernels a Session takes depends on the sizes, so they are those of real runs; VGG's memory is spared.
TRAINING_BATCH = {"vgg16": 2, "densenet121": 4}
USUAL_TRAINING_BATCH = 16
INFERENCE_BATCHES = (1, 16)
SMALL = 64  # pixels: of the steps that only compile an optimizer


@dataclass(frozen=True)
class Part:
    """One thing that is run for its kernels to be compiled."""

    name: str
    run: Callable[[], None]


def parts(models: Sequence[str] | None = None) -> list[Part]:
    """Return what is to be run, in order, for these networks of the zoo, or for one of each family.

    Raises:
        UsageError: a network is not in the zoo.
    """
    for name in models or ():
        known_name(name)
    found: list[Part] = []
    for name in NETWORKS if models is None else models:
        batch = TRAINING_BATCH.get(name, USUAL_TRAINING_BATCH)
        found.append(Part(f"{name}, training", partial(_train, name, batch)))
        found += [Part(f"{name}, inference of {photos}", partial(_infer, name, photos)) for photos in INFERENCE_BATCHES]
    found += [
        Part(f"optimizer {optimizer}", partial(_train, "resnet18", 4, optimizer, SMALL, 1.0))
        for optimizer in OPTIMIZERS
    ]
    return found


def warmup(models: Sequence[str] | None = None, on_part: Callable[[str], None] | None = None) -> Compilation:
    """Run a training step and inference of each of `parts` once, and return what that compiled and loaded.

    `on_part` is told what is run next. What was compiled before is loaded, which takes seconds.
    """
    for part in parts(models):
        if on_part is not None:
            on_part(part.name)
        part.run()
    return compilation()


def _train(
    name: str, batch: int, optimizer: str = "sgd", size: int | None = None, clip_norm: float | None = None
) -> None:
    model = load(name, None, CLASSES, size)
    chosen = named_optimizer(optimizer, 0.9, 1e-4)
    step = training_step(model, chosen, learning_rate=1e-3, label_smoothing=0.1, clip_norm=clip_norm)
    image = np.zeros((batch, *model.preprocess.shape), np.float32)
    Session(step.graph, step.workspace, batch=batch).run({INPUT: image, LABEL: np.zeros(batch, np.int32)})


def _infer(name: str, batch: int) -> None:
    model = load(name, None)
    model.run(np.zeros((batch, *model.preprocess.shape), np.float32))
