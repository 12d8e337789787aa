"""DenseNet-121 (Huang et al. 2017), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

STEM, GROWTH, BOTTLENECK = 64, 32, 4
# Layers of each block: table 1 of the paper.
BLOCKS = (6, 12, 24, 16)


def build(net: Network, classes: int) -> tuple[Graph, Workspace]:
    """Build DenseNet-121."""
    x = net.conv(net.image, STEM, 7, "stem.conv", 2, 3)
    x = net.max_pool(net.activation(net.batch_norm(x, "stem.norm"), "relu"), 3, 2, 1)
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            x = _layer(net, x, f"blocks.{block}.{layer}")
        if block < len(BLOCKS):
            y = _activated(net, net.stage(x), f"transitions.{block}.norm")
            y = net.conv(y, net.builder.spec(x).shape[3] // 2, 1, f"transitions.{block}.conv")
            x = net.average_pool(y, 2, 2)
    x = net.stage(_activated(net, x, "top.norm"))
    return net.head(net.global_average_pool(x), classes)


def _activated(net: Network, x: Value, name: str) -> Value:
    return net.activation(net.batch_norm(x, name), "relu")


def _layer(net: Network, x: Value, name: str) -> Value:
    """All channels so far, and a few more that a 1×1 and a 3×3 convolution make of them."""
    y = net.conv(_activated(net, x, f"{name}.norm1"), BOTTLENECK * GROWTH, 1, f"{name}.conv1")
    y = net.conv(_activated(net, y, f"{name}.norm2"), GROWTH, 3, f"{name}.conv2", 1, 1)
    return net.concat([x, y])


def names() -> dict[str, str]:
    """Our layer names and torchvision's."""
    table = {"stem.conv": "features.conv0", "stem.norm": "features.norm0", "top.norm": "features.norm5"}
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            ours, theirs = f"blocks.{block}.{layer}", f"features.denseblock{block}.denselayer{layer}"
            table |= {f"{ours}.{part}": f"{theirs}.{part}" for part in ("norm1", "conv1", "norm2", "conv2")}
        if block < len(BLOCKS):
            ours, theirs = f"transitions.{block}", f"features.transition{block}"
            table |= {f"{ours}.{part}": f"{theirs}.{part}" for part in ("norm", "conv")}
    return table | {"head": "classifier"}
