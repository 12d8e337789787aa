"""Write foreign_names.json: keys, shapes and logits of networks as timm and transformers have them.

Weights and photos are those of make_torch_goldens.py. Run it where torch 2.13, torchvision 0.28, timm 1.0.31 and
transformers 5.24 are installed: python tests/pretrained/files/make_foreign_names.py

A layer is stored as the letters of its tensors (w weight, b bias, m running mean, v running variance) and the weight's
shape: "w32.3.3.3", and "wbmv32" of a batch norm. `tensors` turns that into keys and shapes.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

CLASSES = 10
SIZE = (65, 96)
PARTS = {"w": "weight", "b": "bias", "m": "running_mean", "v": "running_var"}
# Library, name there, name here.
NETWORKS = (
    ("timm", "vgg11", "vgg11"),
    ("timm", "vgg16_bn", "vgg16_bn"),
    ("timm", "mobilenetv2_100", "mobilenetv2"),
    ("timm", "mobilenetv3_large_100", "mobilenet_v3_large"),
    ("timm", "mobilenetv3_small_100", "mobilenet_v3_small"),
    ("timm", "mobilenetv1_100", "mobilenet_v1"),
    ("timm", "mnasnet_100", "mnasnet1_0"),
    ("timm", "tf_efficientnet_lite0", "efficientnet_lite0"),
    ("timm", "tf_efficientnet_lite4", "efficientnet_lite4"),
    ("transformers", "ResNet, basic", "resnet18"),
    ("transformers", "ResNet, bottleneck", "resnet50"),
    ("transformers", "MobileNetV1", "mobilenet_v1"),
    ("transformers", "MobileNetV2", "mobilenetv2"),
)
# timm's VGG ends in a convolution of the whole image, which must be as large as the one it was made for.
SIZES = {"vgg11": (224, 224), "vgg16_bn": (224, 224)}


def tensors(layers: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Return keys and shapes of the stored layers."""
    found = {}
    for layer, stored in layers.items():
        parts = stored.rstrip("0123456789.")
        shape = tuple(map(int, stored.removeprefix(parts).split(".")))
        found |= {f"{layer}.{PARTS[part]}": shape if part == "w" else shape[:1] for part in parts}
    return found


def build(library: str, name: str) -> nn.Module:
    """Return a network with random weights."""
    if library == "timm":
        import timm

        return timm.create_model(name, pretrained=False, num_classes=CLASSES)
    import transformers

    family, _, kind = name.partition(", ")
    options = {"num_labels": CLASSES}
    if kind == "basic":
        options |= {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]}
    configuration = getattr(transformers, f"{family}Config")(**options)
    return getattr(transformers, f"{family}ForImageClassification")(configuration)


def stored_layers(network: nn.Module) -> dict[str, str]:
    """The layers of a network as they are stored."""
    letters = {part: letter for letter, part in PARTS.items()}
    found: dict[str, str] = {}
    for key, value in network.state_dict().items():
        layer, _, part = key.rpartition(".")
        if part == "weight":
            found[layer] = "w" + ".".join(map(str, value.shape))
        elif part in letters:
            head = found[layer].rstrip("0123456789.")
            found[layer] = head + letters[part] + found[layer].removeprefix(head)
    return found


def main() -> None:
    """Run each network in float64 and store layers and logits."""
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")  # needs compiled operators
    import timm
    import torch
    import transformers
    from make_torch_goldens import formula_weight, photos

    rows = []
    for library, theirs, ours in NETWORKS:
        network = build(library, theirs).eval()
        layers, size = stored_layers(network), SIZES.get(ours, SIZE)
        weights = {
            key: torch.from_numpy(formula_weight(key, tuple(value.shape)))
            for key, value in network.state_dict().items()
        }
        if {key for key in weights if not key.endswith("num_batches_tracked")} != set(tensors(layers)):
            sys.exit(f"{theirs}: not all tensors are stored")
        network.load_state_dict(weights, assign=True)
        x = torch.from_numpy(photos(ours, size).astype(np.float64)).permute(0, 3, 1, 2)
        with torch.no_grad():
            result = network.double()(x)
        logits = getattr(result, "logits", result).tolist()
        row = {"library": library, "theirs": theirs, "ours": ours, "size": size, "logits": logits, "layers": layers}
        rows.append(json.dumps(row, separators=(",", ":")))
    versions = {"timm": timm.__version__, "transformers": transformers.__version__}
    text = f'{{"versions":{json.dumps(versions)},"networks":[\n' + ",\n".join(rows) + "\n]}\n"
    Path(__file__).with_name("foreign_names.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
