"""Writes the golden checkpoints with PyTorch: `python make_checkpoints.py`. The values are spelled out in the test."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


def state_dict() -> OrderedDict[str, torch.Tensor]:
    """Return one tensor a dtype, a transposed and a shifted window on one storage, a scalar and an empty tensor."""
    base = torch.arange(24, dtype=torch.float32)
    tensors = OrderedDict(
        base=base.reshape(2, 3, 4),
        transposed=base.reshape(2, 3, 4).permute(2, 0, 1),
        shifted=base[5:17:3],
        parameter=torch.nn.Parameter(torch.tensor([0.5, -1.5])),
        scalar=torch.tensor(7),
        empty=torch.empty(0, 3),
    )
    for dtype in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"):
        tensors[dtype] = torch.tensor([-2, 0, 3], dtype=getattr(torch, dtype))
    tensors["uint8"] = torch.tensor([0, 7, 255], dtype=torch.uint8)
    tensors["bool"] = torch.tensor([True, False, True])
    return tensors


def main() -> None:
    """Write both containers, and a small module inside a training checkpoint."""
    for name, modern in (("zip", True), ("legacy", False)):
        torch.save(state_dict(), FOLDER / f"{name}.pth", _use_new_zipfile_serialization=modern)
    torch.manual_seed(0)
    module = torch.nn.BatchNorm1d(2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    checkpoint = {"state_dict": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.25}
    torch.save(checkpoint, FOLDER / "checkpoint-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, FOLDER / "checkpoint-zip.pth", pickle_protocol=4)


if __name__ == "__main__":
    main()
