"""Write torch_goldens.json: the logits of the zoo's networks in PyTorch, with weights and photos that a formula makes.

torchvision's networks are its own. Those of others are written down in `torch_networks.py`, after papers and published
definitions, without a look at ours.

Run it where torch 2.13 and torchvision 0.28 are installed: python tests/pretrained/files/make_torch_goldens.py
The tests import the formulas from here, so that no weights need to be stored; NumPy alone is enough for that.
"""

from __future__ import annotations

import json
import math
import sys
import types
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

CLASSES = 10
# Small images, not square, odd where the network allows.
SIZES = ((65, 96), (64, 33))
ALEXNET_SIZES = ((127, 95), (65, 96))
VGG_SIZES = ((64, 47), (33, 65))
DEEP_SIZES = ((33, 64), (40, 32))
# Of MobileNet: at even sizes the paddings of keras.applications are TensorFlow's rule.
EVEN_SIZES = ((64, 96), (96, 32))
# Name in torchvision, name here, sizes (height, width).
TORCHVISION = (
    ("alexnet", "alexnet", ALEXNET_SIZES),
    *((name, name, VGG_SIZES) for depth in (11, 13, 16, 19) for name in (f"vgg{depth}", f"vgg{depth}_bn")),
    *((f"resnet{depth}", f"resnet{depth}", SIZES) for depth in (18, 34, 50)),
    *((name, name, DEEP_SIZES) for name in ("resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d")),
    ("squeezenet1_0", "squeezenet1_0", SIZES),
    ("squeezenet1_1", "squeezenet1_1", SIZES),
    ("googlenet", "googlenet", SIZES),
    ("mobilenet_v2", "mobilenetv2", SIZES),
    ("mobilenet_v3_large", "mobilenet_v3_large", SIZES),
    ("mobilenet_v3_small", "mobilenet_v3_small", SIZES),
    *((name, name, SIZES) for name in ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3")),
    *((f"shufflenet_v2_{width}",) * 2 + (SIZES,) for width in ("x0_5", "x1_0", "x1_5", "x2_0")),
    ("densenet121", "densenet121", SIZES),
)
OTHERS = {
    **dict.fromkeys((f"efficientnet_lite{scale}" for scale in range(5)), SIZES),
    "mobilenet_v1": EVEN_SIZES,
    "mobilenet_v1_0_75": EVEN_SIZES,
    "mobilenet_v1_0_5": EVEN_SIZES,
    "mobilenet_v1_0_25": EVEN_SIZES,
    "alexnet_caffe": ((227, 227), (96, 71)),
    "caffenet": ((227, 227), (96, 71)),
    "googlenet_caffe": ((96, 65), (64, 64)),
    "resnet50_v1": DEEP_SIZES,
    "resnet101_v1": DEEP_SIZES,
    "resnet152_v1": DEEP_SIZES,
}
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


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


def photos(name: str, size: Sequence[int]) -> np.ndarray:
    """Two preprocessed photos, float32 (2, h, w, 3)."""
    return levels(f"photos of {name}", (2, *size, 3)) * 2


def packed(shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """One entry a layer: "64 3 7 7" for a weight, with "+" where a bias follows, "=64" for a batch norm."""
    layers: dict[str, str] = {}
    for key, shape in shapes.items():
        layer, _, part = key.rpartition(".")
        if part == "weight":
            norm = f"{layer}.running_mean" in shapes
            text = ("=" if norm else "") + " ".join(map(str, shape))
            layers[layer] = text if norm or f"{layer}.bias" not in shapes else f"{text} +"
    if unpacked(layers) != {key: list(shape) for key, shape in shapes.items()}:
        raise ValueError("some tensor is no weight or bias of a layer, nor part of a batch norm")
    return layers


def unpacked(layers: Mapping[str, str]) -> dict[str, list[int]]:
    """Every key with its shape, from what `packed` made."""
    shapes: dict[str, list[int]] = {}
    for layer, text in layers.items():
        shape = [int(size) for size in text.strip("=+ ").split()]
        if text.startswith("="):
            shapes |= {f"{layer}.{part}": shape for part in NORM_PARTS} | {f"{layer}.num_batches_tracked": []}
        else:
            shapes |= {f"{layer}.weight": shape} | ({f"{layer}.bias": shape[:1]} if text.endswith("+") else {})
    return shapes


def main() -> None:
    """Run each network in float64 and store layers and logits; only those named on the command line, if any are."""
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")  # needs compiled operators
    import torch
    import torchvision
    from torch_networks import Weights, run

    file = Path(__file__).with_name("torch_goldens.json")
    chosen = sys.argv[1:] or [name for _, name, _ in TORCHVISION] + list(OTHERS)
    goldens = json.loads(file.read_text("utf-8")) if sys.argv[1:] else {"networks": {}}
    goldens |= {"torch": torch.__version__, "torchvision": torchvision.__version__}

    def images(name: str, size: tuple[int, int]) -> torch.Tensor:
        return torch.from_numpy(photos(name, size).astype(np.float64)).permute(0, 3, 1, 2)

    def store(name: str, shapes: Mapping[str, Sequence[int]], cases: list[dict[str, object]]) -> None:
        goldens["networks"][name] = {"layers": packed(shapes), "cases": cases}
        goldens["networks"] = dict(sorted(goldens["networks"].items()))
        file.write_text(json.dumps(goldens, separators=(",", ":")) + "\n", encoding="utf-8")

    with torch.no_grad():
        for theirs, ours, sizes in TORCHVISION:
            if ours not in chosen:
                continue
            # GoogLeNet's auxiliary classifiers are not run in inference.
            options = {"aux_logits": False, "init_weights": False} if ours == "googlenet" else {}
            network = torchvision.models.get_model(theirs, weights=None, num_classes=CLASSES, **options).eval()
            state = network.state_dict()
            shapes = {key: list(value.shape) for key, value in state.items()}
            state |= {key: torch.from_numpy(formula_weight(key, tuple(shape))) for key, shape in shapes.items()}
            network.load_state_dict(state, assign=True)
            network = network.double()
            cases = [{"size": size, "logits": network(images(ours, size)).tolist()} for size in sizes]
            store(ours, shapes, cases)
        for name, sizes in OTHERS.items():
            if name not in chosen:
                continue
            weights = Weights(formula_weight)
            cases = [
                {"size": size, "logits": run(name, images(name, size), weights, CLASSES).tolist()} for size in sizes
            ]
            store(name, weights.shapes, cases)


if __name__ == "__main__":
    main()
