"""MobileNetV2 (Sandler et al. 2018), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.pretrained.blocks import NormalisedLayers, ends_of_stages, scaled_channels
from edge_sdk.pretrained.keras_layers import mobilenet_v2_layers
from edge_sdk.workspace import Workspace

STEM, LAST = 32, 1280
# expansion, output channels, repeats, stride
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _blocks() -> list[tuple[int, int, int]]:
    """Expansion, output channels and stride of each block."""
    return [
        (expansion, channels, stride if repeat == 0 else 1)
        for expansion, channels, repeats, stride in STAGES
        for repeat in range(repeats)
    ]


def build(net: Network, classes: int, width: float = 1.0, *, keras: bool = False) -> tuple[Graph, Workspace]:
    """Build MobileNetV2 with `width` times the paper's channels; the last ones never become fewer.

    With `keras` paddings and the batch norms' ε are those of keras.applications.
    """
    layers = NormalisedLayers(net, "relu6", 1e-3, "same") if keras else NormalisedLayers(net, "relu6")
    blocks = _blocks()
    ends = ends_of_stages([stride for _, _, stride in blocks])
    x = layers.conv(net.image, scaled_channels(STEM, width), 3, "features.0", 2)
    for index, (expansion, channels, stride) in enumerate(blocks):
        hidden = net.builder.spec(x).shape[3] * expansion
        x = layers.inverted_residual(x, f"features.{index + 1}", 3, stride, hidden, scaled_channels(channels, width))
        x = net.stage(x) if index in ends else x
    x = layers.conv(x, scaled_channels(LAST, max(1.0, width)), 1, f"features.{len(blocks) + 1}")
    return net.head(net.dropout(net.global_average_pool(x), 0.2), classes)


def names(width: float = 1.0, *, keras: bool = False) -> dict[str, str]:
    """Our layer names and torchvision's, or those of keras.applications."""
    if keras:
        return mobilenet_v2_layers()
    table = {"head": "classifier.1"}
    blocks = _blocks()
    for index in (0, len(blocks) + 1):
        table |= {f"features.{index}.conv": f"features.{index}.0", f"features.{index}.norm": f"features.{index}.1"}
    for index, (expansion, _, _) in enumerate(blocks, 1):
        ours, theirs, at = f"features.{index}", f"features.{index}.conv", 0
        if expansion != 1:
            table |= {f"{ours}.expand.conv": f"{theirs}.0.0", f"{ours}.expand.norm": f"{theirs}.0.1"}
            at = 1
        table |= {f"{ours}.depthwise.conv": f"{theirs}.{at}.0", f"{ours}.depthwise.norm": f"{theirs}.{at}.1"}
        table |= {f"{ours}.project.conv": f"{theirs}.{at + 1}", f"{ours}.project.norm": f"{theirs}.{at + 2}"}
    return table
