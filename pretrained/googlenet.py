"""GoogLeNet (Szegedy et al. 2015): with batch norm as torchvision publishes it, and Caffe's with response norms.

The auxiliary classifiers, which only training from scratch uses, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.pretrained.blocks import NormalisedLayers
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

EPSILON = 1e-3
# Channels of the 1×1, of the 3×3 and before it, of the 5×5 and before it, and behind the pool: table 1 of the paper.
STAGES: tuple[tuple[tuple[int, int, int, int, int, int], ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
FIRST_STAGE = 3
# Our name of each convolution of an inception module, and those of torchvision and Caffe.
BRANCHES = (
    ("one", "branch1", "1x1"),
    ("three.reduce", "branch2.0", "3x3_reduce"),
    ("three.conv", "branch2.1", "3x3"),
    ("five.reduce", "branch3.0", "5x5_reduce"),
    ("five.conv", "branch3.1", "5x5"),
    ("pooled", "branch4.1", "pool_proj"),
)
STEM = (("stem.1", "conv1", "conv1/7x7_s2"), ("stem.2", "conv2", "conv2/3x3_reduce"), ("stem.3", "conv3", "conv2/3x3"))


def build(net: Network, classes: int, *, caffe: bool = False) -> tuple[Graph, Workspace]:
    """Build GoogLeNet; torchvision's has 3×3 convolutions in the place of 5×5 ones and a 2×2 last pool."""
    layers = _Layers(net, caffe=caffe)
    x = net.max_pool(layers.conv(net.image, 64, 7, "stem.1", 2), 3, 2, ceil=True)
    x = layers.conv(layers.response_norm(x), 64, 1, "stem.2")
    x = layers.response_norm(layers.conv(x, 192, 3, "stem.3"))
    for stage, modules in enumerate(STAGES, FIRST_STAGE):
        last = stage == FIRST_STAGE + len(STAGES) - 1
        x = net.max_pool(net.stage(x), 2 if last and not caffe else 3, 2, ceil=True)
        for index, widths in enumerate(modules):
            x = _inception(layers, x, f"inception.{stage}.{index}", widths, 5 if caffe else 3)
    x = net.global_average_pool(net.stage(x))
    return net.head(net.dropout(x, 0.4 if caffe else 0.2), classes)


class _Layers:
    """Convolutions of either form: with batch norm, or with a bias and response norms between some of them."""

    def __init__(self, net: Network, *, caffe: bool) -> None:
        self.net = net
        self.caffe = caffe
        self.normalised = NormalisedLayers(net, epsilon=EPSILON)

    def conv(self, x: Value, channels: int, kernel: int, name: str, stride: int = 1) -> Value:
        """A convolution and relu."""
        if not self.caffe:
            return self.normalised.conv(x, channels, kernel, name, stride)
        return self.net.activation(self.net.conv(x, channels, kernel, name, stride, kernel // 2, bias=True), "relu")

    def response_norm(self, x: Value) -> Value:
        """Where Caffe's network has one."""
        return self.net.local_response_norm(x) if self.caffe else x


def _inception(layers: _Layers, x: Value, name: str, widths: tuple[int, ...], five: int) -> Value:
    """A 1×1 convolution, a 3×3 and a 5×5 one behind narrow 1×1 ones, and a pool with a 1×1 one, side by side."""
    one, narrow_three, three, narrow_five, large, pooled = widths

    def conv(y: Value, channels: int, kernel: int, branch: str) -> Value:
        return layers.conv(y, channels, kernel, f"{name}.{branch}")

    return layers.net.concat(
        [
            conv(x, one, 1, "one"),
            conv(conv(x, narrow_three, 1, "three.reduce"), three, 3, "three.conv"),
            conv(conv(x, narrow_five, 1, "five.reduce"), large, five, "five.conv"),
            conv(layers.net.max_pool(x, 3, 1, 1), pooled, 1, "pooled"),
        ]
    )


def _convolutions() -> Iterator[tuple[str, str, str]]:
    """Our name, torchvision's and Caffe's of every convolution."""
    yield from STEM
    for stage, modules in enumerate(STAGES, FIRST_STAGE):
        for index in range(len(modules)):
            letter = "abcde"[index]
            for ours, torchvision, caffe in BRANCHES:
                name = f"inception.{stage}.{index}.{ours}"
                yield name, f"inception{stage}{letter}.{torchvision}", f"inception_{stage}{letter}/{caffe}"


def names(*, caffe: bool = False) -> dict[str, str]:
    """Our layer names and torchvision's, or those of Caffe's layers."""
    if caffe:
        return {ours: theirs for ours, _, theirs in _convolutions()} | {"head": "loss3/classifier"}
    table = {"head": "fc"}
    for ours, theirs, _ in _convolutions():
        table |= {f"{ours}.conv": f"{theirs}.conv", f"{ours}.norm": f"{theirs}.bn"}
    return table
