"""An .onnx file that was written, run and compared, as the gate (edge_sdk/converters/gate.py) judges it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge_sdk.atomic import atomic_write_bytes, sync_folder
from edge_sdk.converters.onnx.proto import onnx_package
from edge_sdk.converters.onnx.report import Report
from edge_sdk.converters.onnx.write_model import check_model

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST_MESSAGE = (1 << 31) - (1 << 24)
"""Bytes of weights above which they lie in a file of their own: a protobuf message ends at 2 GiB."""


@dataclass(frozen=True)
class Finished:
    """What `store` wrote, in a folder from which it may be moved, and how it does."""

    files: tuple[Path, ...]
    report: Report

    def with_report(self, **changes: Any) -> Self:
        """Return the same file with other values of fields of its report."""
        return dataclasses.replace(self, report=dataclasses.replace(self.report, **changes))

    def save(self, path: Path | str, **more: Any) -> None:
        """Move the file to where it belongs and write its report beside it; `more` are further keys of that."""
        path = Path(path)
        for file in _renamed(self.files, path.name):
            file.replace(path.parent / file.name)
        sync_folder(path.parent)
        text = json.dumps({**self.report.to_dict(), **more}, indent=2) + "\n"
        atomic_write_bytes(Path(f"{path}.json"), text.encode())


def store(proto: ModelProto, path: Path) -> tuple[Path, ...]:
    """Write the file, with its weights beside it where they are too large, and let ONNX check it as it lies there.

    The file itself is the last of those returned. Its folder is made.

    Raises:
        ExportError: ONNX's checker refuses it.
    """
    onnx = onnx_package()
    path.parent.mkdir(parents=True, exist_ok=True)
    files: tuple[Path, ...] = (path,)
    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) > LARGEST_MESSAGE:
        data = _beside(path)
        onnx.save_model(
            proto, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=data.name
        )  # fmt: skip
        files = (data, path)
    else:
        path.write_bytes(proto.SerializeToString(deterministic=True))
    _sync(files)
    check_model(str(path))
    return files


def _renamed(files: Sequence[Path], name: str) -> tuple[Path, ...]:
    """Give the files another name, which a model with weights beside it also says of these."""
    *weights, model = files
    wanted = model.with_name(name)
    if model == wanted:
        return tuple(files)
    if weights:
        proto = onnx_package().load(str(model), load_external_data=False)
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = _beside(wanted).name
        model.write_bytes(proto.SerializeToString(deterministic=True))
        _sync([model])
    return *(data.replace(_beside(wanted)) for data in weights), model.replace(wanted)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


def _sync(files: Sequence[Path]) -> None:
    for file in files:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
