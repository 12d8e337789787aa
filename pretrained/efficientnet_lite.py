"""EfficientNet-Lite (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite"): EfficientNet without
squeeze-and-excitation, with ReLU6, for integer processors.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.spec import Value
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


def blocks() -> Iterator[tuple[int, int, int, int]]:
    """Kernel, stride, expansion and output channels of each block."""
    for repeats, kernel, stride, expansion, channels in STAGES:
        for index in range(repeats):
            yield kernel, stride if index == 0 else 1, expansion, channels


def build(classes: int, size: tuple[int, int], seed: int) -> tuple[Graph, Workspace]:
    """Build EfficientNet-Lite0 for images of `size` (height, width)."""
    net = Network("efficientnet_lite0", (*size, 3), seed)
    x = _normalised(net, net.conv(net.image, STEM, 3, "stem.conv", stride=2), "stem.norm")
    for index, (kernel, stride, expansion, channels) in enumerate(blocks()):
        x = _block(net, x, f"blocks.{index}", kernel, stride, expansion, channels)
    x = _normalised(net, net.conv(x, LAST, 1, "top.conv"), "top.norm")
    return net.head(net.dropout(net.global_average_pool(x), 0.2), classes)


def _normalised(net: Network, x: Value, name: str) -> Value:
    return net.activation(net.batch_norm(x, name, EPSILON), "relu6")


def _block(net: Network, x: Value, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Value:
    """An inverted residual (Sandler et al. 2018): widen, filter each channel, narrow."""
    inputs = net.builder.spec(x).shape[3]
    y = x
    if expansion != 1:
        y = _normalised(net, net.conv(y, inputs * expansion, 1, f"{name}.expand.conv"), f"{name}.expand.norm")
    y = _normalised(net, net.depthwise(y, kernel, f"{name}.depthwise.conv", stride), f"{name}.depthwise.norm")
    y = net.batch_norm(net.conv(y, channels, 1, f"{name}.project.conv"), f"{name}.project.norm", EPSILON)
    return net.add(y, x, f"{name}.add") if stride == 1 and inputs == channels else y


def names() -> dict[str, str]:
    """Our layer names and those of the published PyTorch checkpoint."""
    table = {
        "stem.conv": "_conv_stem",
        "stem.norm": "_bn0",
        "top.conv": "_conv_head",
        "top.norm": "_bn1",
        "head": "_fc",
    }
    for index, (_, _, expansion, _) in enumerate(blocks()):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        if expansion != 1:
            table |= {f"{ours}.expand.conv": f"{theirs}._expand_conv", f"{ours}.expand.norm": f"{theirs}._bn0"}
        table |= {f"{ours}.depthwise.conv": f"{theirs}._depthwise_conv", f"{ours}.depthwise.norm": f"{theirs}._bn1"}
        table |= {f"{ours}.project.conv": f"{theirs}._project_conv", f"{ours}.project.norm": f"{theirs}._bn2"}
    return table
