"""The network of training_parity.py in PyTorch: GIVEN MADE, files of arrays.

Weights, batches and learning rates are read from GIVEN; the loss of every step and the logits of the test photos are
written to MADE.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    """Two 3×3 convolutions beside the shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        if stride > 1:
            self.shortcut = nn.Conv2d(inputs, width, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(body(x) + shortcut(x))."""
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(y + (self.shortcut_norm(self.shortcut(x)) if hasattr(self, "shortcut") else x))


class SmallResNet(nn.Module):
    """A stem, two residual blocks at half the size and one at a quarter of it."""

    def __init__(self, first: int, second: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"conv": nn.Conv2d(3, first, 3, 2, 1, bias=False), "norm": nn.BatchNorm2d(first)})
        self.a, self.b, self.c = Block(first, first, 1), Block(first, first, 1), Block(first, second, 2)
        self.head = nn.Linear(second, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = torch.relu(self.stem["norm"](self.stem["conv"](x)))
        return self.head(self.c(self.b(self.a(x))).mean(dim=(2, 3)))


NAMES = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}


def load_weights(model: nn.Module, given: Mapping[str, np.ndarray]) -> None:
    """Copy our arrays, each of which must find its place; convolution weights (k, r, s, c) → (k, c, r, s)."""
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    for key in given:
        if key.startswith("weight:"):
            layer, kind = key.removeprefix("weight:").rsplit(".", 1)
            array = given[key].transpose(0, 3, 1, 2) if given[key].ndim == 4 else given[key]
            state.pop(f"{layer}.{NAMES.get(kind, kind)}").copy_(torch.from_numpy(np.ascontiguousarray(array)))
    if state:
        raise SystemExit(f"no weights for {', '.join(state)}")


def main() -> None:
    """Read, train, write."""
    with np.load(sys.argv[1]) as file:
        given = dict(file)
    first, second = given["weight:stem.conv.weight"].shape[0], given["weight:c.conv1.weight"].shape[0]
    model = SmallResNet(first, second, given["weight:head.weight"].shape[0])
    load_weights(model, given)
    momentum, decay = map(float, given["hyper"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=momentum, weight_decay=decay)
    loss_of, losses = nn.CrossEntropyLoss(), []
    for image, label, rate in zip(given["images"], given["labels"], given["rates"], strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(torch.from_numpy(image).permute(0, 3, 1, 2)), torch.from_numpy(label).long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(given["test"]).permute(0, 3, 1, 2)).numpy()
    np.savez(sys.argv[2], losses=np.array(losses), logits=logits)


if __name__ == "__main__":
    main()
