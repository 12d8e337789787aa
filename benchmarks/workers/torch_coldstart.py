"""The first training step of a PyTorch process, with the time at which each part was done: MODEL BATCH."""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    """Import, build, step; print when."""
    name, batch = sys.argv[1], int(sys.argv[2])
    done = {"interpreter": time.time()}
    import torch
    from torchvision_models import build

    done["imports"] = time.time()
    model = build(name, classes=10)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=1e-3, momentum=0.9)
    done["network and weights"] = time.time()
    image, label = torch.zeros(batch, 3, 224, 224), torch.zeros(batch, dtype=torch.long)
    for part in ("first step", "second step"):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(image), label).backward()
        optimizer.step()
        done[part] = time.time()
    print(json.dumps(done))


if __name__ == "__main__":
    main()
