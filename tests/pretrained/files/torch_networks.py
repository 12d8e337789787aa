"""Networks that torchvision does not have, in PyTorch's functions: the oracle of ours.

EfficientNet-Lite and MobileNet after their papers and TensorFlow's paddings; Caffe's networks after their
deploy.prototxt. Each function takes x (n, 3, h, w) in float64 and gives the logits; the weights are asked for by the
published names.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# Repeats, kernel, stride, expansion and output channels of EfficientNet-B0 (Tan and Le 2019, table 1).
LITE_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
# Width and depth coefficients of efficientnet-lite0 to -lite4 in TensorFlow's repository.
LITE_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))
# Stride and outputs of the blocks of MobileNet (Howard et al. 2017, table 1).
MOBILENET = "1-64 2-128 1-128 2-256 1-256 2-512 1-512 1-512 1-512 1-512 1-512 2-1024 1-1024"
MOBILENET_WIDTHS = {"": 1.0, "_0_75": 0.75, "_0_5": 0.5, "_0_25": 0.25}
# 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5 and pool_proj of bvlc_googlenet.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
# The blocks of He et al.'s networks for Caffe, as their layers are called.
RESNETS = {
    "resnet50_v1": ("2a 2b 2c", "3a 3b 3c 3d", "4a 4b 4c 4d 4e 4f", "5a 5b 5c"),
    "resnet101_v1": (
        "2a 2b 2c", "3a 3b1 3b2 3b3", "4a " + " ".join(f"4b{index}" for index in range(1, 23)), "5a 5b 5c",
    ),
    "resnet152_v1": (
        "2a 2b 2c", "3a " + " ".join(f"3b{index}" for index in range(1, 8)),
        "4a " + " ".join(f"4b{index}" for index in range(1, 36)), "5a 5b 5c",
    ),
}  # fmt: skip


class Weights:
    """Arrays by name from a formula, and the layers made of them."""

    def __init__(self, formula: Callable[[str, tuple[int, ...]], np.ndarray]) -> None:
        self.formula = formula
        self.shapes: dict[str, list[int]] = {}

    def __call__(self, key: str, *shape: int) -> Tensor:
        """Return the array called `key`, and note its shape."""
        self.shapes[key] = list(shape)
        return torch.from_numpy(self.formula(key, shape)).double()

    def conv(
        self, x: Tensor, key: str, channels: int, kernel: int, stride: int = 1, pad: int = 0, groups: int = 1,
        *, bias: bool = True,
    ) -> Tensor:  # fmt: skip
        """A convolution with the same padding on every side."""
        w = self(f"{key}.weight", channels, x.shape[1] // groups, kernel, kernel)
        return F.conv2d(x, w, self(f"{key}.bias", channels) if bias else None, stride, pad, groups=groups)

    def conv_same(self, x: Tensor, key: str, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Tensor:
        """TensorFlow's SAME: of an odd number of padding pixels the extra one comes last."""
        rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return self.conv(x, key, channels, kernel, stride, 0, groups, bias=False)

    def norm(self, x: Tensor, key: str, epsilon: float = 1e-5) -> Tensor:
        """Batch norm in inference."""
        mean, variance, scale, offset = (
            self(f"{key}.{part}", x.shape[1]) for part in ("running_mean", "running_var", "weight", "bias")
        )
        self.shapes[f"{key}.num_batches_tracked"] = []
        return (x - mean[:, None, None]) / (variance + epsilon).sqrt()[:, None, None] * scale[:, None, None] + offset[
            :, None, None
        ]

    def dense(self, x: Tensor, key: str, outputs: int) -> Tensor:
        """A dense layer."""
        return F.linear(x, self(f"{key}.weight", outputs, x.shape[1]), self(f"{key}.bias", outputs))


def run(name: str, x: Tensor, weights: Weights, classes: int) -> Tensor:
    """The logits of the network called `name`."""
    if name.startswith("efficientnet_lite"):
        return lite(x, weights, classes, *LITE_SCALES[int(name[-1])])
    if name.startswith("mobilenet_v1"):
        return mobilenet(x, weights, classes, MOBILENET_WIDTHS[name.removeprefix("mobilenet_v1")])
    if name in RESNETS:
        return resnet(x, weights, classes, name)
    if name == "googlenet_caffe":
        return googlenet(x, weights, classes)
    return alexnet(x, weights, classes, pool_first=name == "caffenet")


def lite(x: Tensor, weights: Weights, classes: int, width: float, depth: float) -> Tensor:
    """EfficientNet-Lite: stem and head keep their channels, the first and last stage their repeats."""

    def rounded(channels: int) -> int:
        wanted = channels * width
        new = max(8, int(wanted + 4) // 8 * 8)
        return new + 8 if new < 0.9 * wanted else new

    def norm(x: Tensor, key: str) -> Tensor:
        return weights.norm(x, key, 1e-3)

    x, index = F.relu6(norm(weights.conv_same(x, "_conv_stem", 32, 3, 2), "_bn0")), 0
    for stage, (repeats, kernel, stride, expansion, outputs) in enumerate(LITE_STAGES):
        channels = rounded(outputs)
        for repeat in range(repeats if stage in (0, 6) else math.ceil(depth * repeats)):
            y, block = x, f"_blocks.{index}"
            if expansion != 1:
                wide = weights.conv_same(y, f"{block}._expand_conv", y.shape[1] * expansion, 1)
                y = F.relu6(norm(wide, f"{block}._bn0"))
            step = stride if repeat == 0 else 1
            y = weights.conv_same(y, f"{block}._depthwise_conv", y.shape[1], kernel, step, y.shape[1])
            y = weights.conv_same(F.relu6(norm(y, f"{block}._bn1")), f"{block}._project_conv", channels, 1)
            y = norm(y, f"{block}._bn2")
            x, index = y + x if repeat > 0 else y, index + 1
    x = F.relu6(norm(weights.conv_same(x, "_conv_head", 1280, 1), "_bn1")).mean((2, 3))
    return weights.dense(x, "_fc", classes)


def mobilenet(x: Tensor, weights: Weights, classes: int, width: float) -> Tensor:
    """MobileNet as in keras.applications: one pixel of padding after the image where the stride is 2."""

    def finished(x: Tensor, key: str) -> Tensor:
        return F.relu6(weights.norm(x, f"{key}_bn", 1e-3))

    x = finished(weights.conv(F.pad(x, (0, 1, 0, 1)), "conv1", int(32 * width), 3, 2, bias=False), "conv1")
    for index, block in enumerate(MOBILENET.split(), 1):
        stride, channels = map(int, block.split("-"))
        padded = F.pad(x, (0, 1, 0, 1)) if stride == 2 else F.pad(x, (1, 1, 1, 1))
        filtered = weights.conv(padded, f"conv_dw_{index}", x.shape[1], 3, stride, 0, x.shape[1], bias=False)
        x = finished(filtered, f"conv_dw_{index}")
        x = finished(weights.conv(x, f"conv_pw_{index}", int(channels * width), 1, bias=False), f"conv_pw_{index}")
    return weights.dense(x.mean((2, 3)), "conv_preds", classes)


def alexnet(x: Tensor, weights: Weights, classes: int, *, pool_first: bool) -> Tensor:
    """bvlc_reference_caffenet and bvlc_alexnet; at other sizes than 227 the last map is averaged to 6×6."""

    def pool_and_norm(x: Tensor) -> Tensor:
        def pool(x: Tensor) -> Tensor:
            return F.max_pool2d(x, 3, 2, ceil_mode=True)

        def norm(x: Tensor) -> Tensor:
            return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

        return norm(pool(x)) if pool_first else pool(norm(x))

    x = pool_and_norm(F.relu(weights.conv(x, "conv1", 96, 11, 4)))
    x = pool_and_norm(F.relu(weights.conv(x, "conv2", 256, 5, 1, 2, 2)))
    x = F.relu(weights.conv(x, "conv3", 384, 3, 1, 1))
    x = F.relu(weights.conv(x, "conv4", 384, 3, 1, 1, 2))
    x = F.max_pool2d(F.relu(weights.conv(x, "conv5", 256, 3, 1, 1, 2)), 3, 2, ceil_mode=True)
    x = F.adaptive_avg_pool2d(x, 6).flatten(1)
    for layer in ("fc6", "fc7"):
        x = F.relu(weights.dense(x, layer, 4096))
    return weights.dense(x, "fc8", classes)


def googlenet(x: Tensor, weights: Weights, classes: int) -> Tensor:
    """bvlc_googlenet without its auxiliary classifiers."""

    def conv(x: Tensor, key: str, channels: int, kernel: int, stride: int = 1) -> Tensor:
        return F.relu(weights.conv(x, key, channels, kernel, stride, kernel // 2))

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

    x = conv(norm(pool(conv(x, "conv1/7x7_s2", 64, 7, 2))), "conv2/3x3_reduce", 64, 1)
    x = pool(norm(conv(x, "conv2/3x3", 192, 3)))
    for module, (one, narrow_three, three, narrow_five, five, pooled) in INCEPTIONS.items():
        key = f"inception_{module}"
        x = pool(x) if module in ("4a", "5a") else x
        narrow = conv(x, f"{key}/3x3_reduce", narrow_three, 1), conv(x, f"{key}/5x5_reduce", narrow_five, 1)
        branches = (
            conv(x, f"{key}/1x1", one, 1),
            conv(narrow[0], f"{key}/3x3", three, 3),
            conv(narrow[1], f"{key}/5x5", five, 5),
            conv(F.max_pool2d(x, 3, 1, 1), f"{key}/pool_proj", pooled, 1),
        )
        x = torch.cat(branches, 1)
    return weights.dense(x.mean((2, 3)), "loss3/classifier", classes)


def resnet(x: Tensor, weights: Weights, classes: int, name: str) -> Tensor:
    """He et al.'s ResNet: the stride is in the first convolution of a block."""

    def conv(x: Tensor, block: str, branch: str, channels: int, kernel: int = 1, stride: int = 1) -> Tensor:
        y = weights.conv(x, f"res{block}_branch{branch}", channels, kernel, stride, kernel // 2, bias=False)
        return weights.norm(y, f"bn{block}_branch{branch}")

    x = weights.conv(x, "conv1", 64, 7, 2, 3, bias=name == "resnet50_v1")
    x = F.max_pool2d(F.relu(weights.norm(x, "bn_conv1")), 3, 2, ceil_mode=True)
    for stage, blocks in enumerate(RESNETS[name]):
        width = 64 * 2**stage
        for index, block in enumerate(blocks.split()):
            stride = 2 if stage > 0 and index == 0 else 1
            shortcut = conv(x, block, "1", 4 * width, 1, stride) if index == 0 else x
            y = F.relu(conv(x, block, "2a", width, 1, stride))
            y = F.relu(conv(y, block, "2b", width, 3))
            x = F.relu(shortcut + conv(y, block, "2c", 4 * width))
    return weights.dense(x.mean((2, 3)), "fc1000", classes)
