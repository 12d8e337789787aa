"""MobileNetV3 large and small (Howard et al. 2019), as torchvision publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.pretrained.blocks import NormalisedLayers, ends_of_stages, scaled_channels
from edge_sdk.workspace import Workspace

EPSILON = 1e-3
STEM = 16
LAST_EXPANSION = 6


@dataclass(frozen=True)
class Block:
    """Kernel, hidden and output channels, stride; whether channels are gated, and whether hard swish follows."""

    kernel: int
    hidden: int
    channels: int
    stride: int = 1
    gated: bool = False
    swish: bool = True


@dataclass(frozen=True)
class Variant:
    """The blocks, and the outputs of the dense layer before the classifier."""

    blocks: tuple[Block, ...]
    hidden: int


# Tables 1 and 2 of the paper.
VARIANTS: Mapping[str, Variant] = {
    "large": Variant(
        (
            Block(3, 16, 16, swish=False),
            Block(3, 64, 24, 2, swish=False),
            Block(3, 72, 24, swish=False),
            Block(5, 72, 40, 2, gated=True, swish=False),
            Block(5, 120, 40, gated=True, swish=False),
            Block(5, 120, 40, gated=True, swish=False),
            Block(3, 240, 80, 2),
            Block(3, 200, 80),
            Block(3, 184, 80),
            Block(3, 184, 80),
            Block(3, 480, 112, gated=True),
            Block(3, 672, 112, gated=True),
            Block(5, 672, 160, 2, gated=True),
            Block(5, 960, 160, gated=True),
            Block(5, 960, 160, gated=True),
        ),
        1280,
    ),
    "small": Variant(
        (
            Block(3, 16, 16, 2, gated=True, swish=False),
            Block(3, 72, 24, 2, swish=False),
            Block(3, 88, 24, swish=False),
            Block(5, 96, 40, 2, gated=True),
            Block(5, 240, 40, gated=True),
            Block(5, 240, 40, gated=True),
            Block(5, 120, 48, gated=True),
            Block(5, 144, 48, gated=True),
            Block(5, 288, 96, 2, gated=True),
            Block(5, 576, 96, gated=True),
            Block(5, 576, 96, gated=True),
        ),
        1024,
    ),
}


def build(net: Network, classes: int, variant: str, width: float = 1.0) -> tuple[Graph, Workspace]:
    """Build MobileNetV3 with `width` times the paper's channels."""
    chosen = VARIANTS[variant]
    swish = NormalisedLayers(net, "hard_swish", EPSILON)
    plain = replace(swish, activation="relu")
    ends = ends_of_stages([block.stride for block in chosen.blocks])
    x = swish.conv(net.image, scaled_channels(STEM, width), 3, "features.0", 2)
    for index, block in enumerate(chosen.blocks):
        hidden = scaled_channels(block.hidden, width)
        x = (swish if block.swish else plain).inverted_residual(
            x, f"features.{index + 1}", block.kernel, block.stride, hidden, scaled_channels(block.channels, width),
            scaled_channels(hidden // 4) if block.gated else 0,
        )  # fmt: skip
        x = net.stage(x) if index in ends else x
    last = LAST_EXPANSION * net.builder.spec(x).shape[3]
    x = net.global_average_pool(swish.conv(x, last, 1, f"features.{len(chosen.blocks) + 1}"))
    x = net.activation(net.linear(x, scaled_channels(chosen.hidden, width), "classifier.0"), "hard_swish")
    return net.head(net.dropout(x, 0.2), classes)


def names(variant: str, width: float = 1.0) -> dict[str, str]:
    """Our layer names and torchvision's."""
    table = {"classifier.0": "classifier.0", "head": "classifier.3"}
    blocks = VARIANTS[variant].blocks
    for index in (0, len(blocks) + 1):
        table |= {f"features.{index}.conv": f"features.{index}.0", f"features.{index}.norm": f"features.{index}.1"}
    inputs = scaled_channels(STEM, width)
    for index, block in enumerate(blocks, 1):
        parts = ["depthwise", "project"] if scaled_channels(block.hidden, width) == inputs else []
        parts = parts or ["expand", "depthwise", "project"]
        if block.gated:
            parts.insert(-1, "gate")
        for place, part in enumerate(parts):
            ours, theirs = f"features.{index}", f"features.{index}.block.{place}"
            if part == "gate":
                table |= {f"{ours}.squeeze": f"{theirs}.fc1", f"{ours}.excite": f"{theirs}.fc2"}
            else:
                table |= {f"{ours}.{part}.conv": f"{theirs}.0", f"{ours}.{part}.norm": f"{theirs}.1"}
        inputs = scaled_channels(block.channels, width)
    return table
