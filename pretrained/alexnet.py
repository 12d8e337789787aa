"""AlexNet: in one column (Krizhevsky 2014, "One weird trick") as torchvision publishes it, and in the two halves of the
first paper (Krizhevsky et al. 2012) as Caffe does.
"""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

# torchvision's index, output channels, kernel, stride, padding, max-pool behind it
CONVOLUTIONS = (
    (0, 64, 11, 4, 2, True),
    (3, 192, 5, 1, 2, True),
    (6, 384, 3, 1, 1, False),
    (8, 256, 3, 1, 1, False),
    (10, 256, 3, 1, 1, True),
)
# Caffe's number, output channels, kernel, stride, padding, groups
GROUPED_CONVOLUTIONS = (
    (1, 96, 11, 4, 0, 1),
    (2, 256, 5, 1, 2, 2),
    (3, 384, 3, 1, 1, 1),
    (4, 384, 3, 1, 1, 2),
    (5, 256, 3, 1, 1, 2),
)
NORMALISED, POOLED = (1, 2), (1, 2, 5)
GRID = (6, 6)
HIDDEN = 4096


def build(net: Network, classes: int, caffe: str | None = None) -> tuple[Graph, Workspace]:
    """Build torchvision's AlexNet, or of `caffe` "caffenet" or "alexnet", which pool and normalise in other orders."""
    if caffe is not None:
        return _grouped(net, classes, pool_first=caffe == "caffenet")
    x = net.image
    for index, channels, kernel, stride, padding, pooled in CONVOLUTIONS:
        x = net.activation(net.conv(x, channels, kernel, f"features.{index}", stride, padding, bias=True), "relu")
        x = net.max_pool(net.stage(x), 3, 2) if pooled else x
    x = net.flatten(net.adaptive_average_pool(net.stage(x), GRID))
    x = net.activation(net.linear(net.dropout(x, 0.5), HIDDEN, "classifier.1"), "relu")
    x = net.activation(net.linear(net.dropout(x, 0.5), HIDDEN, "classifier.4"), "relu")
    return net.head(x, classes)


def _grouped(net: Network, classes: int, *, pool_first: bool) -> tuple[Graph, Workspace]:
    """Convolutions in two groups, and responses normalised: behind the pool in CaffeNet, before it in AlexNet."""

    def pool(x: Value) -> Value:
        return net.max_pool(x, 3, 2, ceil=True)

    x = net.image
    for number, channels, kernel, stride, padding, groups in GROUPED_CONVOLUTIONS:
        x = net.conv(x, channels, kernel, f"conv{number}", stride, padding, groups, bias=True)
        x = net.activation(x, "relu")
        if number in NORMALISED and not pool_first:
            x = net.local_response_norm(x)
        if number in POOLED:
            x = pool(net.stage(x))
        if number in NORMALISED and pool_first:
            x = net.local_response_norm(x)
    # At 227 pixels the grid is the last pool's own.
    x = net.flatten(net.adaptive_average_pool(net.stage(x), GRID))
    for layer in ("fc6", "fc7"):
        x = net.dropout(net.activation(net.linear(x, HIDDEN, layer), "relu"), 0.5)
    return net.head(x, classes)


def names(caffe: str | None = None) -> dict[str, str]:
    """Our layer names and torchvision's, or those of Caffe's layers."""
    if caffe is not None:
        layers = [f"conv{row[0]}" for row in GROUPED_CONVOLUTIONS] + ["fc6", "fc7"]
        return {layer: layer for layer in layers} | {"head": "fc8"}
    layers = [f"features.{row[0]}" for row in CONVOLUTIONS] + ["classifier.1", "classifier.4"]
    return {layer: layer for layer in layers} | {"head": "classifier.6"}
