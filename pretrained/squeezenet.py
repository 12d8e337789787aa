"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016), as torchvision publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace


@dataclass(frozen=True)
class Version:
    """The first convolution, and the squeezed and expanded channels of the fire modules between max-pools."""

    channels: int
    kernel: int
    fires: tuple[tuple[tuple[int, int], ...], ...]


VERSIONS: Mapping[str, Version] = {
    "1.0": Version(
        96, 7, (((16, 64), (16, 64), (32, 128)), ((32, 128), (48, 192), (48, 192), (64, 256)), ((64, 256),))
    ),
    "1.1": Version(64, 3, (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256)))),
}
FIRST = 3  # torchvision's index of the first fire module: convolution, activation and pool come before
PARTS = ("squeeze", "expand1x1", "expand3x3")


def build(net: Network, classes: int, version: str) -> tuple[Graph, Workspace]:
    """Build SqueezeNet; its classifier is a convolution, whose mean over the image the logits are."""
    chosen = VERSIONS[version]
    x = net.activation(net.conv(net.image, chosen.channels, chosen.kernel, "features.0", 2, 0, bias=True), "relu")
    index = FIRST
    for fires in chosen.fires:
        x = net.max_pool(x, 3, 2, ceil=True)
        for squeezed, expanded in fires:
            x = _fire(net, x, f"features.{index}", squeezed, expanded)
            index += 1
        net.stage(x)
        index += 1
    return net.convolutional_head(net.dropout(x, 0.5), classes)


def _fire(net: Network, x: Value, name: str, squeezed: int, expanded: int) -> Value:
    """A 1×1 convolution of few channels, then 1×1 and 3×3 ones of many side by side."""

    def conv(y: Value, channels: int, kernel: int, part: str) -> Value:
        return net.activation(net.conv(y, channels, kernel, f"{name}.{part}", 1, kernel // 2, bias=True), "relu")

    y = conv(x, squeezed, 1, PARTS[0])
    return net.concat([conv(y, expanded, 1, PARTS[1]), conv(y, expanded, 3, PARTS[2])])


def names(version: str) -> dict[str, str]:
    """Our layer names and torchvision's."""
    layers, index = ["features.0"], FIRST
    for fires in VERSIONS[version].fires:
        layers += [f"features.{index + fire}.{part}" for fire in range(len(fires)) for part in PARTS]
        index += len(fires) + 1
    return {layer: layer for layer in layers} | {"head": "classifier.1"}
