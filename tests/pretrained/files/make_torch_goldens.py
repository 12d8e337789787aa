"""Write torch_goldens.json: the logits of the zoo's networks in PyTorch, with weights and photos that a formula makes.

All but one are torchvision's; EfficientNet-Lite0 is written down here once more, after its paper and its checkpoint.

Run it where torch 2.13 and torchvision 0.28 are installed: python tests/pretrained/files/make_torch_goldens.py
The tests import the formulas from here, so that no weights need to be stored; NumPy alone is enough for that.
"""

from __future__ import annotations

import json
import math
import sys
import types
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 10
# Name in torchvision, name here, (height, width): small, not square, odd where the network allows.
NETWORKS = (
    ("alexnet", "alexnet", (127, 95)),
    ("mobilenet_v2", "mobilenetv2", (65, 96)),
    ("resnet18", "resnet18", (65, 96)),
    ("resnet34", "resnet34", (33, 64)),
    ("resnet50", "resnet50", (65, 96)),
    ("resnet101", "resnet101", (33, 64)),
    ("resnet152", "resnet152", (33, 64)),
    ("vgg16", "vgg16", (64, 47)),
)
LITE0_SIZE = (65, 96)
# Repeats, kernel, stride, expansion and output channels of EfficientNet-B0 (Tan and Le 2019, table 1).
LITE0_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def levels(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 numbers in [-1, 1] that depend on a name alone: raw bytes of PCG64, a stream that NumPy never changes."""
    count = math.prod(shape)
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(-(-count // 8)).astype("<u8", copy=False)
    return ((raw.view(np.uint8)[:count].astype(np.float32) - 127.5) / np.float32(127.5)).reshape(shape)


def formula_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that keep activations near 1, and batch norms that do something."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    numbers = levels(key, shape)
    if len(shape) > 1:
        return numbers * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    if key.endswith(("running_var", "weight")):
        return 1 + numbers / 2
    return numbers / 5


def photos(name: str, size: tuple[int, int]) -> np.ndarray:
    """Two preprocessed photos, float32 (2, h, w, 3)."""
    return levels(f"photos of {name}", (2, *size, 3)) * 2


def lite0(x: Tensor) -> tuple[dict[str, list[int]], Tensor]:
    """EfficientNet-Lite0 on x (n, 3, h, w) in float64: the keys and shapes of its checkpoint, and the logits."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    shapes: dict[str, list[int]] = {}

    def weight(key: str, *shape: int) -> Tensor:
        shapes[key] = list(shape)
        return torch.from_numpy(formula_weight(key, shape)).double()

    def conv(x: Tensor, key: str, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Tensor:
        """TensorFlow's SAME: of an odd number of padding pixels the extra one comes last."""
        rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        w = weight(f"{key}.weight", channels, x.shape[1] // groups, kernel, kernel)
        return F.conv2d(x, w, stride=stride, groups=groups)

    def norm(x: Tensor, key: str) -> Tensor:
        parts = [weight(f"{key}.{part}", x.shape[1]) for part in ("running_mean", "running_var", "weight", "bias")]
        shapes[f"{key}.num_batches_tracked"] = []
        return F.batch_norm(x, *parts, eps=1e-3)

    x, index = F.relu6(norm(conv(x, "_conv_stem", 32, 3, 2), "_bn0")), 0
    for repeats, kernel, stride, expansion, channels in LITE0_STAGES:
        for repeat in range(repeats):
            y, block = x, f"_blocks.{index}"
            if expansion != 1:
                y = F.relu6(norm(conv(y, f"{block}._expand_conv", y.shape[1] * expansion, 1), f"{block}._bn0"))
            step = stride if repeat == 0 else 1
            y = conv(y, f"{block}._depthwise_conv", y.shape[1], kernel, step, y.shape[1])
            y = norm(conv(F.relu6(norm(y, f"{block}._bn1")), f"{block}._project_conv", channels, 1), f"{block}._bn2")
            x, index = y + x if repeat > 0 else y, index + 1
    x = F.relu6(norm(conv(x, "_conv_head", 1280, 1), "_bn1")).mean((2, 3))
    return shapes, F.linear(x, weight("_fc.weight", CLASSES, 1280), weight("_fc.bias", CLASSES))


def main() -> None:
    """Run each network in float64 and store keys, shapes and logits."""
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")  # needs compiled operators
    import torch
    import torchvision

    goldens = {"torch": torch.__version__, "torchvision": torchvision.__version__, "networks": {}}
    for theirs, ours, size in NETWORKS:
        network = torchvision.models.get_model(theirs, weights=None, num_classes=CLASSES).eval()
        shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
        weights = {key: torch.from_numpy(formula_weight(key, tuple(shape))) for key, shape in shapes.items()}
        network.load_state_dict(weights, assign=True)
        x = torch.from_numpy(photos(ours, size).astype(np.float64)).permute(0, 3, 1, 2)
        with torch.no_grad():
            logits = network.double()(x)
        goldens["networks"][ours] = {"size": size, "shapes": shapes, "logits": logits.tolist()}
    with torch.no_grad():
        x = torch.from_numpy(photos("efficientnet_lite0", LITE0_SIZE).astype(np.float64)).permute(0, 3, 1, 2)
        shapes, logits = lite0(x)
    goldens["networks"]["efficientnet_lite0"] = {"size": LITE0_SIZE, "shapes": shapes, "logits": logits.tolist()}
    text = json.dumps(goldens, separators=(",", ":")) + "\n"
    Path(__file__).with_name("torch_goldens.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
