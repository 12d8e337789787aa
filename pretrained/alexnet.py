"""AlexNet in its one-column form (Krizhevsky 2014, "One weird trick"), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.workspace import Workspace

# torchvision's index, output channels, kernel, stride, padding, max-pool behind it
CONVOLUTIONS = (
    (0, 64, 11, 4, 2, True),
    (3, 192, 5, 1, 2, True),
    (6, 384, 3, 1, 1, False),
    (8, 256, 3, 1, 1, False),
    (10, 256, 3, 1, 1, True),
)
GRID = (6, 6)


def build(classes: int, size: tuple[int, int], seed: int) -> tuple[Graph, Workspace]:
    """Build AlexNet for images of `size` (height, width)."""
    net = Network("alexnet", (*size, 3), seed)
    x = net.image
    for index, channels, kernel, stride, padding, pooled in CONVOLUTIONS:
        x = net.activation(net.conv(x, channels, kernel, f"features.{index}", stride, padding, bias=True), "relu")
        x = net.max_pool(x, 3, 2) if pooled else x
    x = net.flatten(net.adaptive_average_pool(x, GRID))
    x = net.activation(net.linear(net.dropout(x, 0.5), 4096, "classifier.1"), "relu")
    x = net.activation(net.linear(net.dropout(x, 0.5), 4096, "classifier.4"), "relu")
    return net.head(x, classes)


def names() -> dict[str, str]:
    """Our layer names and torchvision's."""
    layers = [f"features.{row[0]}" for row in CONVOLUTIONS] + ["classifier.1", "classifier.4"]
    return {layer: layer for layer in layers} | {"head": "classifier.6"}
