"""Made the .pth files beside this script, with torch 2.13.0: python make_torch_files.py

Values are arange, so that the tests know them without torch.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
shared = torch.arange(6, dtype=torch.float32)
tensors = OrderedDict(
    float32=torch.arange(24, dtype=torch.float32).reshape(2, 3, 4),
    transposed=torch.arange(6, dtype=torch.float32).reshape(2, 3).t(),
    tail=shared[2:5],
    shared=shared,
    float64=torch.arange(3, dtype=torch.float64),
    float16=torch.arange(3, dtype=torch.float16),
    bfloat16=torch.arange(3, dtype=torch.bfloat16) * 0.5,
    int64=torch.tensor(7),
    int32=torch.arange(-2, 2, dtype=torch.int32),
    int8=torch.arange(-2, 2, dtype=torch.int8),
    uint8=torch.arange(4, dtype=torch.uint8),
    bool=torch.tensor([True, False]),
    empty=torch.zeros(0, 3),
    parameter=torch.nn.Parameter(torch.ones(2)),
)
torch.save(tensors, FOLDER / "tensors_zip.pth")
torch.save(tensors, FOLDER / "tensors_legacy.pth", _use_new_zipfile_serialization=False)

torch.manual_seed(0)
network = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)))
torch.save({"epoch": 3, "state_dict": network.state_dict(), "best": 0.5}, FOLDER / "checkpoint.pth")
torch.save(network, FOLDER / "whole_network.pth")
