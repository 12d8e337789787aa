"""Safetensors files are read as views of the mapped file, every header is checked."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.converters.weights_file import read_weights
from edge_sdk.errors import FormatError, UsageError

FILES = Path(__file__).parent / "files"


def encoded(header: object, data: bytes = b"") -> bytes:
    """The bytes of a file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    """A header's entry."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_every_dtype_is_read():
    """The values are those that make_checkpoints.py spells out; bfloat16 becomes float32, the others stay."""
    state = read_weights(FILES / "tensors.safetensors")

    np.testing.assert_array_equal(state["transposed"], np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1))
    assert state["scalar"].shape == ()
    assert int(state["scalar"]) == 7
    assert state["empty"].shape == (0, 3)
    for name in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"):
        np.testing.assert_array_equal(state[name], [-2, 0, 3])
        assert state[name].dtype == ("float32" if name == "bfloat16" else name)
    np.testing.assert_array_equal(state["uint8"], [0, 7, 255])
    np.testing.assert_array_equal(state["bool"], [True, False, True])


def test_tensors_are_views_of_the_file(tmp_path):
    """Two looks at a tensor see the same memory, which nobody may write."""
    path = tmp_path / "two.safetensors"
    path.write_bytes(encoded({"a": tensor()}, struct.pack("<2f", 0.5, -1.5)))
    state = read_weights(path)

    np.testing.assert_array_equal(state["a"], [0.5, -1.5])
    assert np.shares_memory(state["a"], state["a"])
    assert not state["a"].flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded({"a": tensor()}), "header is corrupt"),
        (encoded({"a": tensor(offsets=(0, 4))}, b"\0" * 4), "header is corrupt"),
        (encoded({"a": tensor(), "b": tensor(offsets=(4, 12))}, b"\0" * 12), "header is corrupt"),
        (encoded({"a": tensor(shape=(1 << 62, 4))}, b"\0" * 8), "header is corrupt"),
        (encoded({"a": tensor(shape=(-2,))}, b"\0" * 8), "header is corrupt"),
        (encoded({"a": tensor("F8_E4M3", (8,))}, b"\0" * 8), "'a' has elements of 'F8_E4M3'; wanted C64, F64, F32"),
        (encoded({"a": [1, 2]}), "header is corrupt"),
        (encoded([1, 2]), "no safetensors|not a safetensors|checkpoint"),
        (encoded(b'{"a": ' + b"[" * 100_000), "its header is not JSON"),
        (encoded(b'{"a": 1'), "its header is not JSON"),
        (struct.pack("<Q", 1 << 62) + b"{}", "its header would have 4611686018427387904 bytes"),
        (struct.pack("<Q", 20) + b"{}", "its header would have 20 bytes"),
    ],
)
def test_a_lying_header_is_refused(content, message, tmp_path):
    """Shapes, places and lengths are compared with the file before anything is made of them."""
    path = tmp_path / "lying.safetensors"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=rf"lying\.safetensors: .*({message})"):
        read_weights(path)


@pytest.mark.parametrize("length", [0x80, 0x280, 0x4B50])
def test_a_header_of_any_length_is_recognised(length, tmp_path):
    """A file begins with its header's length, which may look like the first bytes of a pickle or a zip archive."""
    path = tmp_path / "any.bin"
    text = json.dumps({"a": tensor()}).encode().ljust(length)
    path.write_bytes(encoded(text, struct.pack("<2f", 0.5, -1.5)))

    np.testing.assert_array_equal(read_weights(path)["a"], [0.5, -1.5])


def test_there_are_no_parts():
    """Only PyTorch checkpoints hold several sets of tensors."""
    with pytest.raises(UsageError, match="a safetensors file has no parts, and thus no 'model'"):
        read_weights(FILES / "tensors.safetensors", "model")
