"""VGG-11 to VGG-19 (Simonyan and Zisserman 2015), with and without batch norm, as torchvision publishes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.workspace import Workspace

WIDTHS = (64, 128, 256, 512, 512)
# The 3×3 convolutions of each stage, by depth: columns A, B, D and E of the paper's table 1. A max-pool ends a stage.
CONVOLUTIONS: Mapping[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
FIRST_STAGE = 2  # of the features of a backbone: stride 4
GRID = (7, 7)
HIDDEN = ("classifier.0", "classifier.3")
UNITS = 4096


def build(net: Network, classes: int, depth: int, *, norm: bool = False) -> tuple[Graph, Workspace]:
    """Build the VGG network of `depth` layers with weights."""
    x = net.image
    layers = _layers(depth, norm=norm)
    for stage, (width, convolutions) in enumerate(zip(WIDTHS, CONVOLUTIONS[depth], strict=True)):
        for _ in range(convolutions):
            convolution, normalisation = next(layers)
            x = net.conv(x, width, 3, convolution, 1, 1, bias=True)
            x = net.batch_norm(x, normalisation) if norm else x
            x = net.activation(x, "relu")
        x = net.max_pool(net.stage(x) if stage >= FIRST_STAGE else x, 2, 2)
    x = net.flatten(net.adaptive_average_pool(net.stage(x), GRID))
    for layer in HIDDEN:
        x = net.dropout(net.activation(net.linear(x, UNITS, layer), "relu"), 0.5)
    return net.head(x, classes)


def _layers(depth: int, *, norm: bool) -> Iterator[tuple[str, str]]:
    """Names of convolutions and their norms: torchvision numbers them, activations and pools in one row."""
    index = 0
    for convolutions in CONVOLUTIONS[depth]:
        for _ in range(convolutions):
            yield f"features.{index}", f"features.{index + 1}"
            index += 3 if norm else 2
        index += 1


def names(depth: int, *, norm: bool = False) -> dict[str, str]:
    """Our layer names and torchvision's."""
    pairs = list(_layers(depth, norm=norm))
    layers = [name for pair in pairs for name in pair] if norm else [convolution for convolution, _ in pairs]
    return {layer: layer for layer in (*layers, *HIDDEN)} | {"head": "classifier.6"}
