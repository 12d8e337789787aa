"""The networks of the zoo by name: which module builds each, how it is fed, and its smallest image."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.preprocess import Preprocess
from edge_sdk.workspace import Workspace

Name = Literal[
    "alexnet",
    "efficientnet_lite0",
    "mobilenetv2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg16",
]

# ImageNet's mean and deviation in units of 0 … 255, as torchvision normalises.
_TORCHVISION = Preprocess(
    size=(224, 224), resize=256, interpolation="bilinear",
    mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),
)  # fmt: skip
# EfficientNet-Lite's own rule: a central crop of 224 / (224 + 32), bicubic, (x - 127) / 128.
_LITE = Preprocess(
    size=(224, 224), resize=256, interpolation="bicubic", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
)


@dataclass(frozen=True)
class Architecture:
    """A network of the zoo: the module that builds it, how it is fed, its smallest image side in pixels.

    `options` are what the module's functions take to tell its networks apart.
    """

    module: str
    preprocess: Preprocess
    smallest: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, classes: int, size: tuple[int, int], seed: int) -> tuple[Graph, Workspace]:
        """Return the graph for images of `size` (height, width) in pixels, and random weights by `seed`."""
        graph, workspace = self._functions().build(classes, size, seed, **self.options)
        return graph, workspace

    def names(self) -> dict[str, str]:
        """Return our layer names and those of the published checkpoint."""
        table: dict[str, str] = self._functions().names(**self.options)
        return table

    def _functions(self) -> Any:
        return importlib.import_module(f"edge_sdk.pretrained.{self.module}")


ZOO: Mapping[str, Architecture] = {
    "alexnet": Architecture("alexnet", _TORCHVISION, 63),
    "efficientnet_lite0": Architecture("efficientnet_lite", _LITE, 32),
    "mobilenetv2": Architecture("mobilenet_v2", _TORCHVISION, 32),
    "resnet18": Architecture("resnet", _TORCHVISION, 32, {"depth": 18}),
    "resnet34": Architecture("resnet", _TORCHVISION, 32, {"depth": 34}),
    "resnet50": Architecture("resnet", _TORCHVISION, 32, {"depth": 50}),
    "resnet101": Architecture("resnet", _TORCHVISION, 32, {"depth": 101}),
    "resnet152": Architecture("resnet", _TORCHVISION, 32, {"depth": 152}),
    "vgg16": Architecture("vgg", _TORCHVISION, 32),
}
ALIASES: Mapping[str, str] = {"mobilenet_v2": "mobilenetv2"}


def list_models() -> tuple[str, ...]:
    """Return the names that `load` takes."""
    return tuple(sorted(ZOO))


def known_name(name: str) -> str:
    """Return the zoo's own name for `name`, which may be an alias.

    Raises:
        UsageError: there is no such network; the message suggests one.
    """
    chosen = ALIASES.get(name, name)
    if chosen not in ZOO:
        raise UsageError(f"model {name!r} is not in the zoo ({', '.join(list_models())}){suggestion(name, ZOO)}")
    return chosen
