"""EfficientNet-Lite0 to Lite4 (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite"): EfficientNet
without squeeze-and-excitation, with ReLU6, for integer processors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.pretrained.blocks import NormalisedLayers, ends_of_stages, scaled_channels
from edge_sdk.workspace import Workspace

EPSILON = 1e-3
STEM, LAST = 32, 1280
# repeats, kernel, stride, expansion, output channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Scale:
    """Factors of channels and of repeats, and the dropout before the classifier."""

    width: float
    depth: float
    dropout: float


SCALES: Mapping[int, Scale] = {
    0: Scale(1.0, 1.0, 0.2),
    1: Scale(1.0, 1.1, 0.2),
    2: Scale(1.1, 1.2, 0.3),
    3: Scale(1.2, 1.4, 0.3),
    4: Scale(1.4, 1.8, 0.3),
}


def blocks(scale: Scale) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, expansion and output channels of each block; first and last stage keep their repeats."""
    found: list[tuple[int, int, int, int]] = []
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        scaled = repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * scale.depth)
        width = scaled_channels(channels, scale.width)
        found += [(kernel, stride if index == 0 else 1, expansion, width) for index in range(scaled)]
    return found


def build(net: Network, classes: int, scale: int = 0) -> tuple[Graph, Workspace]:
    """Build EfficientNet-Lite of a compound scale; its first and last convolutions keep their channels."""
    layers = NormalisedLayers(net, "relu6", EPSILON, "same")
    rows = blocks(SCALES[scale])
    ends = ends_of_stages([stride for _, stride, _, _ in rows])
    x = layers.conv(net.image, STEM, 3, "stem", 2)
    for index, (kernel, stride, expansion, channels) in enumerate(rows):
        hidden = net.builder.spec(x).shape[3] * expansion
        x = layers.inverted_residual(x, f"blocks.{index}", kernel, stride, hidden, channels)
        x = net.stage(x) if index in ends else x
    x = net.global_average_pool(layers.conv(x, LAST, 1, "top"))
    return net.head(net.dropout(x, SCALES[scale].dropout), classes)


def names(scale: int = 0) -> dict[str, str]:
    """Our layer names and those of the published PyTorch checkpoint."""
    table = {
        "stem.conv": "_conv_stem",
        "stem.norm": "_bn0",
        "top.conv": "_conv_head",
        "top.norm": "_bn1",
        "head": "_fc",
    }
    for index, (_, _, expansion, _) in enumerate(blocks(SCALES[scale])):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        if expansion != 1:
            table |= {f"{ours}.expand.conv": f"{theirs}._expand_conv", f"{ours}.expand.norm": f"{theirs}._bn0"}
        table |= {f"{ours}.depthwise.conv": f"{theirs}._depthwise_conv", f"{ours}.depthwise.norm": f"{theirs}._bn1"}
        table |= {f"{ours}.project.conv": f"{theirs}._project_conv", f"{ours}.project.norm": f"{theirs}._bn2"}
    return table
