"""One training step of PyTorch each time: MODEL BATCH LAYOUT, LAYOUT one of plain, channels_last."""

from __future__ import annotations

import sys

import torch
from serve import serve
from torch import nn
from torchvision_models import VERSIONS, build


def main() -> None:
    """Prepare torchvision's network and a fused SGD, then serve."""
    name, batch, layout = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = build(name, classes=10).to(memory_format=form).train()
    image = torch.randn(batch, 3, 224, 224).to(memory_format=form)
    label = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)
    loss_of = nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(image), label)
        loss.backward()
        optimizer.step()
        return loss.item()

    serve(step, VERSIONS)


if __name__ == "__main__":
    main()
