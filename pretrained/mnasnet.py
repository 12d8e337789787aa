"""MNASNet-B1 (Tan et al. 2019), as torchvision publishes it."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.pretrained.blocks import NormalisedLayers, ends_of_stages, scaled_channels
from edge_sdk.workspace import Workspace

STEM, FIRST, LAST = 32, 16, 1280
# kernel, stride, expansion, output channels, repeats
STAGES = ((3, 2, 3, 24, 3), (5, 2, 3, 40, 3), (5, 2, 6, 80, 3), (3, 1, 6, 96, 2), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))
# Places of convolutions and norms in torchvision's row of layers.
STEM_LAYERS = {"stem": 0, "first.depthwise": 3, "first.project": 6, "top": 14}
FIRST_STAGE = 8
BLOCK_LAYERS = {"expand": 0, "depthwise": 3, "project": 6}


def build(net: Network, classes: int, width: float = 1.0) -> tuple[Graph, Workspace]:
    """Build MNASNet with `width` times the paper's channels but for the last convolution's."""
    layers = NormalisedLayers(net)
    strides = [stride if repeat == 0 else 1 for _, stride, _, _, repeats in STAGES for repeat in range(repeats)]
    ends = ends_of_stages(strides)
    x = layers.conv(net.image, scaled_channels(STEM, width), 3, "stem", 2)
    x = layers.depthwise(x, 3, "first.depthwise")
    x = layers.conv(x, scaled_channels(FIRST, width), 1, "first.project", active=False)
    block = 0
    for stage, (kernel, _, expansion, channels, repeats) in enumerate(STAGES):
        for repeat in range(repeats):
            hidden = net.builder.spec(x).shape[3] * expansion
            x = layers.inverted_residual(
                x, f"stages.{stage}.{repeat}", kernel, strides[block], hidden, scaled_channels(channels, width)
            )
            x = net.stage(x) if block in ends else x
            block += 1
    x = layers.conv(x, LAST, 1, "top")
    return net.head(net.dropout(net.global_average_pool(x), 0.2), classes)


def names(width: float = 1.0) -> dict[str, str]:
    """Our layer names and torchvision's."""
    places = {ours: f"layers.{place}" for ours, place in STEM_LAYERS.items()}
    places |= {
        f"stages.{stage}.{repeat}.{part}": f"layers.{FIRST_STAGE + stage}.{repeat}.layers.{place}"
        for stage, row in enumerate(STAGES)
        for repeat in range(row[-1])
        for part, place in BLOCK_LAYERS.items()
    }
    table = {"head": "classifier.1"}
    for ours, theirs in places.items():
        parent, _, place = theirs.rpartition(".")
        table |= {f"{ours}.conv": theirs, f"{ours}.norm": f"{parent}.{int(place) + 1}"}
    return table
