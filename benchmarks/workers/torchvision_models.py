"""torchvision's networks, also in an environment whose PyTorch is built differently."""

from __future__ import annotations

import torch

try:
    import torchvision
except RuntimeError:
    # torchvision's wheel wants the operators of another build of PyTorch; the networks need none of them.
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

VERSIONS = {"torch": torch.__version__, "torchvision": torchvision.__version__}


def build(name: str, classes: int = 1000) -> torch.nn.Module:
    """Return the network with random weights, the same each time."""
    torch.manual_seed(0)
    model: torch.nn.Module = torchvision.models.get_model(name, num_classes=classes)
    return model
