"""A typical script of fine-tuning with PyTorch, from start to finish: MODEL FOLDER EPOCHS BATCH WORKERS.

The backbone is frozen: in evaluation mode and without gradients, so that only the head trains. Prints the seconds of
its parts as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

START = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402
from torchvision_models import VERSIONS, build  # noqa: E402

SIDE = 224
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """The photos of a folder with one sub-folder a class: resized, centre cut out, in training mirrored at random."""

    def __init__(self, files: list[Path], *, training: bool) -> None:
        self.files, self.training = files, training
        self.classes = sorted({path.parent.name for path in files})

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.files[index]
        with Image.open(path) as file:
            photo = file.convert("RGB")
        edge = (min(photo.size) - min(photo.size) * SIDE / 256) / 2
        box = (edge, edge, photo.width - edge, photo.height - edge)
        pixels = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box), np.float32)
        if self.training and torch.rand(()).item() < 0.5:
            pixels = pixels[:, ::-1]
        normalised = (pixels / 255 - MEAN) / DEVIATION
        return torch.from_numpy(normalised.transpose(2, 0, 1).copy()), self.classes.index(path.parent.name)


def main() -> None:
    """Train, validating after each epoch, and print."""
    name, folder, epochs, batch, workers = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    imported = time.perf_counter()
    files = sorted(folder.glob("*/*.jpg"))
    held_out = files[::5]
    training = [path for path in files if path not in set(held_out)]
    options = {"batch_size": batch, "num_workers": workers, "persistent_workers": workers > 0}
    batches = DataLoader(Photos(training, training=True), shuffle=True, drop_last=True, **options)
    validation = DataLoader(Photos(held_out, training=False), **options)
    model = build(name, classes=len({path.parent for path in files})).to(memory_format=torch.channels_last).eval()
    head = model.fc
    model.fc = nn.Identity()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()

    def logits_of(image: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = model(image.to(memory_format=torch.channels_last))
        return head(features)

    for _ in range(epochs):
        for image, label in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(logits_of(image), label)
            loss.backward()
            optimizer.step()
            if not torch.isfinite(loss):
                raise RuntimeError("the loss is infinite")
        with torch.no_grad():
            right = sum(int((logits_of(image).argmax(1) == label).sum()) for image, label in validation)
    parts = {"start": imported - START, "training": time.perf_counter() - imported}
    print(json.dumps({"parts": parts, "accuracy": right / len(held_out), "versions": VERSIONS}))


if __name__ == "__main__":
    main()
