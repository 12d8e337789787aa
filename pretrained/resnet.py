"""ResNet-18 (He et al. 2016), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2


def build(classes: int, size: tuple[int, int], seed: int) -> tuple[Graph, Workspace]:
    """Build ResNet-18 for images of `size` (height, width)."""
    net = Network("resnet18", (*size, 3), seed)
    x = net.conv(net.image, WIDTHS[0], 7, "stem.conv", 2, 3)
    x = net.activation(net.batch_norm(x, "stem.norm"), "relu")
    x = net.max_pool(x, 3, 2, 1)
    for stage, width in enumerate(WIDTHS, 1):
        for index in range(BLOCKS):
            x = _basic_block(net, x, f"stages.{stage}.{index}", width, 2 if stage > 1 and index == 0 else 1)
    return net.head(net.global_average_pool(x), classes)


def _basic_block(net: Network, x: Value, name: str, width: int, stride: int) -> Value:
    """Two 3×3 convolutions beside the shortcut, which a 1×1 convolution adapts where the shape changes."""

    def body(y: Value) -> Value:
        y = net.batch_norm(net.conv(y, width, 3, f"{name}.conv1", stride, 1), f"{name}.norm1")
        return net.batch_norm(net.conv(net.activation(y, "relu"), width, 3, f"{name}.conv2", 1, 1), f"{name}.norm2")

    def projection(y: Value) -> Value:
        return net.batch_norm(net.conv(y, width, 1, f"{name}.shortcut.conv", stride, 0), f"{name}.shortcut.norm")

    changes = stride != 1 or net.builder.spec(x).shape[3] != width
    return net.residual(x, body, projection if changes else None, "relu")


def names() -> dict[str, str]:
    """Our layer names and torchvision's."""
    table = {"stem.conv": "conv1", "stem.norm": "bn1", "head": "fc"}
    for stage in range(1, len(WIDTHS) + 1):
        for index in range(BLOCKS):
            ours, theirs = f"stages.{stage}.{index}", f"layer{stage}.{index}"
            for part in (1, 2):
                table |= {f"{ours}.conv{part}": f"{theirs}.conv{part}", f"{ours}.norm{part}": f"{theirs}.bn{part}"}
            if stage > 1 and index == 0:
                table |= {f"{ours}.shortcut.conv": f"{theirs}.downsample.0"}
                table |= {f"{ours}.shortcut.norm": f"{theirs}.downsample.1"}
    return table
