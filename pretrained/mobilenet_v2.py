"""MobileNetV2 (Sandler et al. 2018), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

# expansion, output channels, repeats, stride
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def build(classes: int, size: tuple[int, int], seed: int) -> tuple[Graph, Workspace]:
    """Build MobileNetV2 of width 1 for images of `size` (height, width)."""
    net = Network("mobilenetv2", (*size, 3), seed)
    x = _layer(net, net.conv(net.image, 32, 3, "features.0.conv", 2, 1), "features.0.norm")
    index = 1
    for expansion, channels, repeats, stride in STAGES:
        for repeat in range(repeats):
            x = _block(net, x, f"features.{index}", expansion, channels, stride if repeat == 0 else 1)
            index += 1
    x = _layer(net, net.conv(x, 1280, 1, f"features.{index}.conv"), f"features.{index}.norm")
    return net.head(net.dropout(net.global_average_pool(x), 0.2), classes)


def _layer(net: Network, x: Value, name: str) -> Value:
    return net.activation(net.batch_norm(x, name), "relu6")


def _block(net: Network, x: Value, name: str, expansion: int, channels: int, stride: int) -> Value:
    inputs = net.builder.spec(x).shape[3]
    y = x
    if expansion != 1:
        y = _layer(net, net.conv(y, inputs * expansion, 1, f"{name}.expand.conv"), f"{name}.expand.norm")
    y = _layer(net, net.depthwise(y, 3, f"{name}.depthwise.conv", stride, 1), f"{name}.depthwise.norm")
    y = net.batch_norm(net.conv(y, channels, 1, f"{name}.project.conv"), f"{name}.project.norm")
    return net.add(y, x, f"{name}.add") if stride == 1 and inputs == channels else y


def names() -> dict[str, str]:
    """Our layer names and torchvision's."""
    table = {"features.0.conv": "features.0.0", "features.0.norm": "features.0.1", "head": "classifier.1"}
    index = 1
    for expansion, _, repeats, _ in STAGES:
        for _ in range(repeats):
            ours, theirs, at = f"features.{index}", f"features.{index}.conv", 0
            if expansion != 1:
                table |= {f"{ours}.expand.conv": f"{theirs}.0.0", f"{ours}.expand.norm": f"{theirs}.0.1"}
                at = 1
            table |= {f"{ours}.depthwise.conv": f"{theirs}.{at}.0", f"{ours}.depthwise.norm": f"{theirs}.{at}.1"}
            table |= {f"{ours}.project.conv": f"{theirs}.{at + 1}", f"{ours}.project.norm": f"{theirs}.{at + 2}"}
            index += 1
    return table | {f"features.{index}.conv": f"features.{index}.0", f"features.{index}.norm": f"features.{index}.1"}
