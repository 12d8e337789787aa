"""A thousand damaged files of each format of weights: a FormatError or tensors within the file, and little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated

from edge_sdk.converters.weights_file import read_weights
from edge_sdk.errors import FormatError

FILES = Path(__file__).parent / "files"
INPUTS = 1000
MEASURED = 7
"""Memory is counted of one input in so many: a prime, so that every kind of damage is among them."""
# What Python takes to read any file, such as a decoder's tables and a few hundred records.
FLOOR = 500_000


@pytest.mark.parametrize(
    "files",
    [
        ("zip.pth", "checkpoint-zip.pth", "reference.pth", "unusual.pth"),
        ("legacy.pth", "checkpoint-legacy.pth"),
        ("tar.pth",),
        ("tensors.safetensors",),
    ],
    ids=["zip", "legacy", "tar", "safetensors"],
)
def test_damaged_files(files, tmp_path):
    """Every tensor that is handed out is read to its last element; memory stays below four times the file."""
    whole = [(FILES / name).read_bytes() for name in files]
    path = tmp_path / "damaged"
    messages = []
    for seed in range(INPUTS):
        data = mutated(whole[seed % len(whole)], seed)
        path.write_bytes(data)
        with measured(seed % MEASURED == 0) as peak:
            try:
                for array in read_weights(path).values():
                    np.asarray(array).tobytes()
            except FormatError as error:
                messages.append(str(error))
        assert peak[0] < 4 * len(data) + FLOOR

    assert INPUTS / 4 < len(messages) < INPUTS
    assert all(message.startswith(f"{path}: ") for message in messages)


@contextmanager
def measured(wanted: bool) -> Iterator[list[int]]:
    """The bytes that Python and NumPy took at once, or 0 where they are not counted, which is ten times as fast."""
    peak = [0]
    if wanted:
        tracemalloc.start()
    yield peak
    if wanted:
        peak[0] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
