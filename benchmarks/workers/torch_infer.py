"""One batch of PyTorch's inference each time: MODEL BATCH LAYOUT, LAYOUT one of plain, channels_last."""

from __future__ import annotations

import sys

import torch
from serve import serve
from torchvision_models import VERSIONS, build


def main() -> None:
    """Fold and freeze the network as PyTorch offers, then serve."""
    name, batch, layout = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    image = torch.randn(batch, 3, 224, 224).to(memory_format=form)
    with torch.inference_mode():
        traced = torch.jit.trace(build(name).eval().to(memory_format=form), image)
        model = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        serve(lambda: model(image), VERSIONS)


if __name__ == "__main__":
    main()
