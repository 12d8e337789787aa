"""Reads PyTorch checkpoints (.pth, .pt) without PyTorch, in the three containers that it has had.

They are described by `torch/serialization.py`: a zip archive since version 1.6, a stream of pickles since 0.2, a tar
archive before. A pickle names tensors as windows on storages; the storages' bytes lie outside it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from edge_sdk.converters.tensor_file import ELEMENT_BYTES, Run, TensorFile, Window
from edge_sdk.converters.torch.archive import read_archive
from edge_sdk.converters.torch.legacy import read_legacy
from edge_sdk.converters.torch.selection import select_tensors
from edge_sdk.converters.torch.symbols import Storage, Tensor
from edge_sdk.converters.torch.tar import BLOCK, is_tar, read_tar
from edge_sdk.errors import FormatError, UsageError


def read_state_dict(path: Path | str, part: str | None = None) -> TensorFile:
    """Read the tensors of a PyTorch checkpoint, in the file's order.

    A checkpoint {"state_dict": …}, {"model": …} or of another usual form is unwrapped; `part` names the dictionary of
    tensors where there are several, keys joined by dots. bfloat16 becomes float32; every other dtype stays. The arrays
    are read-only views of the file; tensors that share a storage in the file share memory here, and may be strided.

    Args:
        path: a .pth, .pt or .pth.tar file, written by `torch.save` in any of its formats.
        part: such as "model_ema"; left out, the weights themselves.

    Raises:
        FormatError: the file is truncated, corrupt, or names anything but tensors; nothing in it is ever run.
        UsageError: the file cannot be opened, or has no such part.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            root, locate = _container(file.read(BLOCK))(file, size)
            tensors = select_tensors(root, part)
            return TensorFile(path, {name: _window(tensor, locate) for name, tensor in tensors.items()})
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a corrupt archive points before the file's start
            raise FormatError(f"{path}: an offset in the file lies outside the file") from error
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _container(beginning: bytes) -> Callable[[BinaryIO, int], tuple[Any, Callable[[Storage], Run]]]:
    if beginning.startswith(b"PK"):
        return read_archive
    if is_tar(beginning):
        return read_tar
    if beginning.startswith(b"\x80"):
        return read_legacy
    raise FormatError("neither a zip archive, a tar archive nor a pickle: not a checkpoint of torch.save")


def _window(tensor: Tensor, locate: Callable[[Storage], Run]) -> Window:
    view, run = tensor.view, locate(tensor.view.root)
    if (view.offset, view.elements) != (0, run.count):
        start = run.start + view.offset * ELEMENT_BYTES[run.dtype]
        run = Run(start, view.elements, run.dtype, run.order)
    if tensor.dtype is not None:
        run = replace(run, dtype=tensor.dtype, count=run.bytes // ELEMENT_BYTES[tensor.dtype])
    return Window(run, tensor.offset, tensor.shape, tensor.strides)
