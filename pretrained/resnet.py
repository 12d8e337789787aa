"""ResNet-18 to ResNet-152 (He et al. 2016), Wide ResNet (Zagoruyko and Komodakis 2016) and ResNeXt (Xie et al. 2017).

As torchvision publishes them, the stride of a bottleneck is in its 3×3 convolution ("V1.5"); in the authors' own
networks for Caffe it is in the first 1×1 ("V1").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_lowercase

from edge_sdk.graph import Graph
from edge_sdk.nn import Layer, Network
from edge_sdk.pretrained.keras_layers import resnet_layers
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

WIDTHS = (64, 128, 256, 512)
EXPANSION = 4


@dataclass(frozen=True)
class Variant:
    """Blocks of each stage, and whether they are bottlenecks (1×1, 3×3, 1×1) or pairs of 3×3 convolutions.

    The 3×3 convolution of a bottleneck has `inner` times the stage's channels, in `groups`. With `original`, strides,
    first layers and layer names are those of the authors' networks for Caffe; with `padded_pool` too, the first pool
    is padded, as in keras.applications.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    inner: int = 1
    groups: int = 1
    original: bool = False
    padded_pool: bool = False

    @property
    def convolutions(self) -> int:
        """Convolutions of a block, without its shortcut's."""
        return 3 if self.bottleneck else 2

    def projects(self, stage: int, index: int) -> bool:
        """Whether a 1×1 convolution adapts the shortcut: where the shape changes."""
        return index == 0 and (stage > 1 or self.bottleneck)


# He et al. 2016, table 1.
VARIANTS: Mapping[str, Variant] = {
    "resnet18": Variant((2, 2, 2, 2), bottleneck=False),
    "resnet34": Variant((3, 4, 6, 3), bottleneck=False),
    "resnet50": Variant((3, 4, 6, 3)),
    "resnet101": Variant((3, 4, 23, 3)),
    "resnet152": Variant((3, 8, 36, 3)),
    "wide_resnet50_2": Variant((3, 4, 6, 3), inner=2),
    "resnext50_32x4d": Variant((3, 4, 6, 3), inner=2, groups=32),
    "resnet50_v1": Variant((3, 4, 6, 3), original=True),
    "resnet101_v1": Variant((3, 4, 23, 3), original=True),
    "resnet152_v1": Variant((3, 8, 36, 3), original=True),
    "resnet50_keras": Variant((3, 4, 6, 3), original=True, padded_pool=True),
    "resnet101_keras": Variant((3, 4, 23, 3), original=True, padded_pool=True),
    "resnet152_keras": Variant((3, 8, 36, 3), original=True, padded_pool=True),
}
BIASED_STEM = "resnet50_v1"
"""The only one of the authors' networks whose first convolution has a bias."""


def build(net: Network, classes: int, variant: str) -> tuple[Graph, Workspace]:
    """Build a residual network of the table above."""
    chosen = VARIANTS[variant]
    block = _bottleneck if chosen.bottleneck else _pair
    x = net.conv(net.image, WIDTHS[0], 7, "stem.conv", 2, 3, bias=variant == BIASED_STEM)
    x = net.activation(net.batch_norm(x, "stem.norm"), "relu")
    x = net.max_pool(x, 3, 2, 1) if chosen.padded_pool or not chosen.original else net.max_pool(x, 3, 2, ceil=True)
    for stage, (width, blocks) in enumerate(zip(WIDTHS, chosen.blocks, strict=True), 1):
        for index in range(blocks):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(net, x, f"stages.{stage}.{index}", chosen, width, stride, projects=chosen.projects(stage, index))
        net.stage(x)
    return net.head(net.global_average_pool(x), classes)


def _pair(net: Network, x: Value, name: str, variant: Variant, width: int, stride: int, *, projects: bool) -> Value:
    """Two 3×3 convolutions beside the shortcut."""

    def body(y: Value) -> Value:
        y = net.activation(_conv_norm(net, y, width, 3, name, 1, stride), "relu")
        return _conv_norm(net, y, width, 3, name, 2)

    return net.residual(x, body, _shortcut(net, name, width, stride) if projects else None, "relu")


def _bottleneck(
    net: Network, x: Value, name: str, variant: Variant, width: int, stride: int, *, projects: bool
) -> Value:
    """A 3×3 convolution of few channels between two 1×1 ones, beside the shortcut."""
    inner, (first, second) = width * variant.inner, (stride, 1) if variant.original else (1, stride)

    def body(y: Value) -> Value:
        y = net.activation(_conv_norm(net, y, inner, 1, name, 1, first), "relu")
        y = net.activation(_conv_norm(net, y, inner, 3, name, 2, second, variant.groups), "relu")
        return _conv_norm(net, y, width * EXPANSION, 1, name, 3)

    return net.residual(x, body, _shortcut(net, name, width * EXPANSION, stride) if projects else None, "relu")


def _conv_norm(
    net: Network, x: Value, channels: int, kernel: int, name: str, part: int, stride: int = 1, groups: int = 1
) -> Value:
    """The `part`-th convolution of a block with its batch norm; odd kernels keep the size at stride 1."""
    y = net.conv(x, channels, kernel, f"{name}.conv{part}", stride, kernel // 2, groups)
    return net.batch_norm(y, f"{name}.norm{part}")


def _shortcut(net: Network, name: str, channels: int, stride: int) -> Layer:
    """A 1×1 convolution with its batch norm."""

    def projection(y: Value) -> Value:
        return net.batch_norm(net.conv(y, channels, 1, f"{name}.shortcut.conv", stride, 0), f"{name}.shortcut.norm")

    return projection


def names(variant: str) -> dict[str, str]:
    """Our layer names and torchvision's, or those of Caffe's or Keras's convolutions and batch norms."""
    chosen = VARIANTS[variant]
    if chosen.padded_pool:
        return resnet_layers(chosen.blocks)
    if chosen.original:
        return _original_names(chosen)
    table = {"stem.conv": "conv1", "stem.norm": "bn1", "head": "fc"}
    for stage, blocks in enumerate(chosen.blocks, 1):
        for index in range(blocks):
            ours, theirs = f"stages.{stage}.{index}", f"layer{stage}.{index}"
            for part in range(1, chosen.convolutions + 1):
                table |= {f"{ours}.conv{part}": f"{theirs}.conv{part}", f"{ours}.norm{part}": f"{theirs}.bn{part}"}
            if chosen.projects(stage, index):
                table |= {f"{ours}.shortcut.conv": f"{theirs}.downsample.0"}
                table |= {f"{ours}.shortcut.norm": f"{theirs}.downsample.1"}
    return table


def _original_names(variant: Variant) -> dict[str, str]:
    """Layers res2a_branch2b and bn2a_branch2b, counted from stage 2; scales and offsets are in scale2a_branch2b."""
    numbered = sum(variant.blocks) > sum(VARIANTS["resnet50"].blocks)
    table = {"stem.conv": "conv1", "stem.norm": "bn_conv1", "head": "fc1000"}
    for stage, blocks in enumerate(variant.blocks, 1):
        for index in range(blocks):
            # Long stages are a, b1, b2, … in the networks of 101 and 152 layers, and a, b, c, … in that of 50.
            letter = f"b{index}" if numbered and blocks > 3 and index > 0 else ascii_lowercase[index]
            ours, theirs = f"stages.{stage}.{index}", f"{stage + 1}{letter}_branch"
            for part, branch in enumerate("abc", 1):
                table |= {f"{ours}.conv{part}": f"res{theirs}2{branch}", f"{ours}.norm{part}": f"bn{theirs}2{branch}"}
            if variant.projects(stage, index):
                table |= {f"{ours}.shortcut.conv": f"res{theirs}1", f"{ours}.shortcut.norm": f"bn{theirs}1"}
    return table
