"""MobileNet (Howard et al. 2017): depthwise and 1×1 convolutions in turn.

Paddings, activation and names are those of the authors' TensorFlow form, whose weights keras.applications publishes.
"""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.pretrained.blocks import NormalisedLayers, ends_of_stages
from edge_sdk.workspace import Workspace

STEM = 32
# Stride of the depthwise and output channels of the 1×1 convolution: table 1 of the paper.
BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5, (2, 1024), (1, 1024))


def build(net: Network, classes: int, width: float = 1.0) -> tuple[Graph, Workspace]:
    """Build MobileNet with `width` times the paper's channels."""
    layers = NormalisedLayers(net, "relu6", 1e-3, "same")
    ends = ends_of_stages([stride for stride, _ in BLOCKS])
    x = layers.conv(net.image, int(STEM * width), 3, "stem", 2)
    for index, (stride, channels) in enumerate(BLOCKS):
        x = layers.depthwise(x, 3, f"blocks.{index}.depthwise", stride)
        x = layers.conv(x, int(channels * width), 1, f"blocks.{index}.pointwise")
        x = net.stage(x) if index in ends else x
    return net.head(net.dropout(net.global_average_pool(x), 0.001), classes)


def names(width: float = 1.0) -> dict[str, str]:
    """Our layer names and those of the layers in keras.applications."""
    table = {"stem.conv": "conv1", "stem.norm": "conv1_bn", "head": "conv_preds"}
    for index in range(len(BLOCKS)):
        for ours, theirs in (("depthwise", f"conv_dw_{index + 1}"), ("pointwise", f"conv_pw_{index + 1}")):
            table |= {f"blocks.{index}.{ours}.conv": theirs, f"blocks.{index}.{ours}.norm": f"{theirs}_bn"}
    return table
