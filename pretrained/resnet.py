"""ResNet-18 to ResNet-152 (He et al. 2016), as torchvision publishes them.

The bottleneck block is that of "V1.5": its stride is in the 3×3 convolution, where the paper has it in the first 1×1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_sdk.graph import Graph
from edge_sdk.nn import Layer, Network
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

WIDTHS = (64, 128, 256, 512)
EXPANSION = 4


@dataclass(frozen=True)
class Variant:
    """Blocks of each stage, and whether they are bottlenecks (1×1, 3×3, 1×1) or pairs of 3×3 convolutions."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool

    @property
    def convolutions(self) -> int:
        """Convolutions of a block, without its shortcut's."""
        return 3 if self.bottleneck else 2

    def projects(self, stage: int, index: int) -> bool:
        """Whether a 1×1 convolution adapts the shortcut: where the shape changes."""
        return index == 0 and (stage > 1 or self.bottleneck)


# He et al. 2016, table 1.
VARIANTS: Mapping[int, Variant] = {
    18: Variant((2, 2, 2, 2), bottleneck=False),
    34: Variant((3, 4, 6, 3), bottleneck=False),
    50: Variant((3, 4, 6, 3), bottleneck=True),
    101: Variant((3, 4, 23, 3), bottleneck=True),
    152: Variant((3, 8, 36, 3), bottleneck=True),
}


def build(classes: int, size: tuple[int, int], seed: int, depth: int) -> tuple[Graph, Workspace]:
    """Build the ResNet of `depth` layers for images of `size` (height, width)."""
    variant = VARIANTS[depth]
    block = _bottleneck if variant.bottleneck else _pair
    net = Network(f"resnet{depth}", (*size, 3), seed)
    x = net.conv(net.image, WIDTHS[0], 7, "stem.conv", 2, 3)
    x = net.activation(net.batch_norm(x, "stem.norm"), "relu")
    x = net.max_pool(x, 3, 2, 1)
    for stage, (width, blocks) in enumerate(zip(WIDTHS, variant.blocks, strict=True), 1):
        for index in range(blocks):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(net, x, f"stages.{stage}.{index}", width, stride, projects=variant.projects(stage, index))
    return net.head(net.global_average_pool(x), classes)


def _pair(net: Network, x: Value, name: str, width: int, stride: int, *, projects: bool) -> Value:
    """Two 3×3 convolutions beside the shortcut."""

    def body(y: Value) -> Value:
        y = net.activation(_conv_norm(net, y, width, 3, name, 1, stride), "relu")
        return _conv_norm(net, y, width, 3, name, 2)

    return net.residual(x, body, _shortcut(net, name, width, stride) if projects else None, "relu")


def _bottleneck(net: Network, x: Value, name: str, width: int, stride: int, *, projects: bool) -> Value:
    """A 3×3 convolution of few channels between two 1×1 ones, beside the shortcut."""

    def body(y: Value) -> Value:
        y = net.activation(_conv_norm(net, y, width, 1, name, 1), "relu")
        y = net.activation(_conv_norm(net, y, width, 3, name, 2, stride), "relu")
        return _conv_norm(net, y, width * EXPANSION, 1, name, 3)

    return net.residual(x, body, _shortcut(net, name, width * EXPANSION, stride) if projects else None, "relu")


def _conv_norm(net: Network, x: Value, channels: int, kernel: int, name: str, part: int, stride: int = 1) -> Value:
    """The `part`-th convolution of a block with its batch norm; odd kernels keep the size at stride 1."""
    y = net.conv(x, channels, kernel, f"{name}.conv{part}", stride, kernel // 2)
    return net.batch_norm(y, f"{name}.norm{part}")


def _shortcut(net: Network, name: str, channels: int, stride: int) -> Layer:
    """A 1×1 convolution with its batch norm."""

    def projection(y: Value) -> Value:
        return net.batch_norm(net.conv(y, channels, 1, f"{name}.shortcut.conv", stride, 0), f"{name}.shortcut.norm")

    return projection


def names(depth: int) -> dict[str, str]:
    """Our layer names and torchvision's."""
    variant = VARIANTS[depth]
    table = {"stem.conv": "conv1", "stem.norm": "bn1", "head": "fc"}
    for stage, blocks in enumerate(variant.blocks, 1):
        for index in range(blocks):
            ours, theirs = f"stages.{stage}.{index}", f"layer{stage}.{index}"
            for part in range(1, variant.convolutions + 1):
                table |= {f"{ours}.conv{part}": f"{theirs}.conv{part}", f"{ours}.norm{part}": f"{theirs}.bn{part}"}
            if variant.projects(stage, index):
                table |= {f"{ours}.shortcut.conv": f"{theirs}.downsample.0"}
                table |= {f"{ours}.shortcut.norm": f"{theirs}.downsample.1"}
    return table
