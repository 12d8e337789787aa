"""ShuffleNetV2 (Ma et al. 2018), as torchvision publishes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.ops.shape import Concat, Reshape
from edge_sdk.pretrained.blocks import NormalisedLayers
from edge_sdk.spec import BATCH, Value
from edge_sdk.workspace import Workspace

STEM = 24
REPEATS = (4, 8, 4)
# Output channels of the three stages and of the last convolution, by width: table 5 of the paper.
WIDTHS: Mapping[str, tuple[int, int, int, int]] = {
    "x0_5": (48, 96, 192, 1024),
    "x1_0": (116, 232, 464, 1024),
    "x1_5": (176, 352, 704, 1024),
    "x2_0": (244, 488, 976, 2048),
}
FIRST_STAGE = 2
# Parts of a unit's branches, and the places of their convolutions in torchvision's.
SIDE = {"depthwise": 0, "project": 2}
MAIN = {"expand": 0, "depthwise": 3, "project": 5}


def build(net: Network, classes: int, channels: str) -> tuple[Graph, Workspace]:
    """Build ShuffleNetV2 of one of the paper's four widths."""
    layers = NormalisedLayers(net)
    *widths, last = WIDTHS[channels]
    x = net.stage(net.max_pool(layers.conv(net.image, STEM, 3, "stem", 2), 3, 2, 1))
    for stage, (width, repeats) in enumerate(zip(widths, REPEATS, strict=True), FIRST_STAGE):
        for index in range(repeats):
            x = _unit(layers, x, f"stages.{stage}.{index}", width // 2, halves=index == 0)
        net.stage(x)
    return net.head(net.global_average_pool(layers.conv(x, last, 1, "top")), classes)


def _unit(layers: NormalisedLayers, x: Value, name: str, width: int, *, halves: bool) -> Value:
    """Half of the channels are filtered, the others pass; where a unit `halves` the image, two branches see all."""
    stride = 2 if halves else 1
    if halves:
        kept = layers.depthwise(x, 3, f"{name}.side.depthwise", stride, active=False)
        kept, y = layers.conv(kept, width, 1, f"{name}.side.project"), x
    else:
        kept, y = layers.net.halves(x)
    y = layers.conv(y, width, 1, f"{name}.main.expand")
    y = layers.depthwise(y, 3, f"{name}.main.depthwise", stride, active=False)
    return _interleaved(layers.net, kept, layers.conv(y, width, 1, f"{name}.main.project"))


def _interleaved(net: Network, a: Value, b: Value) -> Value:
    """Channels of a and b in turn: what shuffling both in two groups gives.

    They are paired along a new last axis, so that no transposition is needed.
    """
    _, height, width, channels = net.builder.spec(a).shape
    column = Reshape((BATCH, height * width, channels, 1))
    pairs = net.builder.add(Concat(3), net.builder.add(column, a), net.builder.add(column, b))
    return net.builder.add(Reshape((BATCH, height, width, 2 * channels)), pairs, name="shuffled")


def _convolutions() -> Iterator[tuple[str, str]]:
    """Our name and torchvision's of every unit's convolutions."""
    for stage, repeats in enumerate(REPEATS, FIRST_STAGE):
        for index in range(repeats):
            ours, theirs = f"stages.{stage}.{index}", f"stage{stage}.{index}"
            for part, place in SIDE.items() if index == 0 else ():
                yield f"{ours}.side.{part}", f"{theirs}.branch1.{place}"
            for part, place in MAIN.items():
                yield f"{ours}.main.{part}", f"{theirs}.branch2.{place}"


def names(channels: str) -> dict[str, str]:
    """Our layer names and torchvision's."""
    table = {"head": "fc"}
    for ours, theirs in (("stem", "conv1.0"), ("top", "conv5.0"), *_convolutions()):
        parent, _, place = theirs.rpartition(".")
        table |= {f"{ours}.conv": theirs, f"{ours}.norm": f"{parent}.{int(place) + 1}"}
    return table
