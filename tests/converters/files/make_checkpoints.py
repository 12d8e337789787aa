"""Writes the golden checkpoints with PyTorch and safetensors: `python make_checkpoints.py`.

The values are spelled out in the tests.

PyTorch 2 writes the zip archive and the legacy stream. The tar archive of version 0.1 it still reads, but no longer
writes: `save_tar` follows `torch/serialization.py` of version 0.1.12, and what it wrote is read back here by PyTorch.
"""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import struct
import sys
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save_file

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


def module_and_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Return a small module after one step."""
    torch.manual_seed(0)
    module = torch.nn.BatchNorm1d(2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    return module, optimizer


def save_checkpoints() -> None:
    """Write a small module inside training checkpoints of several scripts."""
    module, optimizer = module_and_optimizer()
    checkpoint = {"state_dict": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.25}
    torch.save(checkpoint, FOLDER / "checkpoint-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, FOLDER / "checkpoint-zip.pth", pickle_protocol=4)
    average = torch.optim.swa_utils.AveragedModel(module)
    # As torchvision's references/classification/train.py leaves it, and more that scripts put beside the weights.
    reference = {
        "optimizer": optimizer.state_dict(),
        "model": module.state_dict(),
        "lr_scheduler": {"last_epoch": 3, "_last_lr": [0.1]},
        "epoch": 3,
        "args": argparse.Namespace(model="resnet18", output=Path("runs"), size=torch.Size([2, 3])),
        "model_ema": average.state_dict(),
        "history": collections.defaultdict(list, loss=[0.5, 0.25]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "best": torch.tensor([0.25]).numpy()[0],
        "curve": torch.tensor([0.25, 0.5]).numpy(),
    }
    torch.save(reference, FOLDER / "reference.pth")
    torch.save({"generator": module.state_dict(), "critic": module.state_dict()}, FOLDER / "two-networks.pth")
    torch.save(module, FOLDER / "whole-module.pth")
    torch.jit.script(module).save(FOLDER / "torchscript.pt")


def save_unusual() -> None:
    """Write dtypes of untyped storages, parameters with attributes, and a file without checksums."""
    parameter = torch.nn.Parameter(torch.tensor([0.5, -1.5]))
    parameter.note = "attributes are pickled with their tensor"
    tensors = {
        "uint16": torch.tensor([0, 7, 65535], dtype=torch.uint16),
        "uint32": torch.tensor([0, 7, 2**32 - 1], dtype=torch.uint32),
        "uint64": torch.tensor([0, 7, 2**63], dtype=torch.uint64),
        "complex64": torch.tensor([1 + 2j, -3j], dtype=torch.complex64),
        "parameter": parameter,
    }
    torch.serialization.set_crc32_options(compute_crc32=False)
    torch.save(tensors, FOLDER / "unusual.pth")
    torch.serialization.set_crc32_options(compute_crc32=True)
    torch.save({"weight": torch.zeros(3, dtype=torch.float8_e4m3fn)}, FOLDER / "float8.pth")


class OldPickler(pickle._Pickler):  # in Python, since it refers to tensors in a way that is gone
    """Refers to tensors by keys; `tensors` are those that may be met."""

    def __init__(self, file: BinaryIO, keys: dict[int, int]) -> None:
        super().__init__(file, protocol=2)
        self.keys = keys

    def persistent_id(self, value: Any) -> Any:
        """Return the key of a tensor."""
        return str(self.keys[id(value)]) if isinstance(value, torch.Tensor) else None


def class_of(tensor: torch.Tensor, what: str) -> type:
    """Return torch.FloatTensor, torch.FloatStorage and so on."""
    names = {torch.float32: "Float", torch.float64: "Double", torch.int64: "Long", torch.uint8: "Byte"}
    return getattr(torch, names[tensor.dtype] + what)


def save_tar(tensors: OrderedDict[str, torch.Tensor], path: Path) -> None:
    """Write as `torch.save` of version 0.1.12 did: keys are addresses, here counted from 1000 and 2000 on."""
    storages: dict[int, tuple[int, torch.Tensor]] = {}
    keys: dict[int, int] = {}
    for index, tensor in enumerate(tensors.values()):
        keys[id(tensor)] = 2000 + index
        whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        storages.setdefault(tensor.untyped_storage()._cdata, (1000 + index, whole))
    members = {name: io.BytesIO() for name in ("sys_info", "pickle", "tensors", "storages")}
    sizes = {"short": 2, "int": 4, "long": 8}
    system = {"protocol_version": 1000, "little_endian": True, "type_sizes": sizes}
    pickle.dump(system, members["sys_info"], protocol=2)
    OldPickler(members["pickle"], keys).dump(tensors)
    file = members["tensors"]
    pickle.dump(len(tensors), file, protocol=2)
    for tensor in tensors.values():
        storage = storages[tensor.untyped_storage()._cdata][0]
        pickle.dump((keys[id(tensor)], storage, class_of(tensor, "Tensor")), file, protocol=2)
        rank = tensor.dim()
        numbers = (rank, *tensor.shape, *tensor.stride(), tensor.storage_offset())
        file.write(struct.pack(f"<{2 * rank + 2}q", *numbers))
    file = members["storages"]
    pickle.dump(len(storages), file, protocol=2)
    for key, whole in storages.values():
        pickle.dump((key, "cpu", class_of(whole, "Storage")), file, protocol=2)
        file.write(struct.pack("<q", whole.numel()) + whole.numpy().tobytes())
    pickle.dump([], file, protocol=2)
    with tarfile.open(path, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.getvalue())
            archive.addfile(info, io.BytesIO(content.getvalue()))
    for name, read in torch.load(path, weights_only=False).items():
        if not torch.equal(read, tensors[name]):
            sys.exit(f"{path}: PyTorch reads {name} otherwise")


def main() -> None:
    """Write all files."""
    for name, modern in (("zip", True), ("legacy", False)):
        torch.save(state_dict(), FOLDER / f"{name}.pth", _use_new_zipfile_serialization=modern)
    save_checkpoints()
    save_unusual()
    known = (torch.float32, torch.float64, torch.int64, torch.uint8)  # version 0.1 had no scalars and no bfloat16
    old = ((name, tensor.detach()) for name, tensor in state_dict().items() if tensor.dtype in known and tensor.dim())
    separate = {name: tensor.detach().clone().contiguous() for name, tensor in state_dict().items()}
    save_file(separate, FOLDER / "tensors.safetensors", metadata={"format": "pt"})
    save_tar(OrderedDict((name, tensor) for name, tensor in old if tensor.numel()), FOLDER / "tar.pth")


if __name__ == "__main__":
    main()
