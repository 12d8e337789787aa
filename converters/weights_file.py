"""Weights without a network, in any of the formats that they come in: told apart by their first bytes."""

from __future__ import annotations

from pathlib import Path

from edge_sdk.converters.safetensors_file import is_safetensors, read_safetensors
from edge_sdk.converters.tensor_file import TensorFile
from edge_sdk.converters.torch import read_state_dict
from edge_sdk.errors import FormatError, UsageError


def read_weights(path: Path | str, part: str | None = None) -> TensorFile:
    """Read the tensors of a PyTorch checkpoint or a safetensors file.

    `part` names one of several dictionaries of tensors in a PyTorch checkpoint.

    Raises:
        FormatError: the file is neither, or is damaged.
        UsageError: the file cannot be opened, or has no such part.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(9)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if is_safetensors(beginning):  # first: the length that it begins with may look like a pickle
        if part:
            raise UsageError(f"{path}: a safetensors file has no parts, and thus no {part!r}")
        return read_safetensors(path)
    if beginning.startswith(b"version https://git-lfs"[:9]):
        raise FormatError(f"{path}: a pointer of Git LFS in place of the file; fetch it with: git lfs pull")
    return read_state_dict(path, part)
