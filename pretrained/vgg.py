"""VGG-16 (Simonyan and Zisserman 2015), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.workspace import Workspace

# Output channels of the 3×3 convolutions; a max-pool ends each stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
GRID = (7, 7)


def build(classes: int, size: tuple[int, int], seed: int) -> tuple[Graph, Workspace]:
    """Build VGG-16 for images of `size` (height, width)."""
    net = Network("vgg16", (*size, 3), seed)
    x = net.image
    layers = iter(_convolutions())
    for stage in STAGES:
        for channels in stage:
            x = net.activation(net.conv(x, channels, 3, next(layers), 1, 1, bias=True), "relu")
        x = net.max_pool(x, 2, 2)
    x = net.flatten(net.adaptive_average_pool(x, GRID))
    for layer in ("classifier.0", "classifier.3"):
        x = net.dropout(net.activation(net.linear(x, 4096, layer), "relu"), 0.5)
    return net.head(x, classes)


def _convolutions() -> list[str]:
    """Torchvision numbers convolutions, activations and pools in one row."""
    found, index = [], 0
    for stage in STAGES:
        for _ in stage:
            found.append(f"features.{index}")
            index += 2
        index += 1
    return found


def names() -> dict[str, str]:
    """Our layer names and torchvision's."""
    return {layer: layer for layer in (*_convolutions(), "classifier.0", "classifier.3")} | {"head": "classifier.6"}
