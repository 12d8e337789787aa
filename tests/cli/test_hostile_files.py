"""Model files that were cut off or changed: every command works or says what is wrong, and never breaks."""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import pytest
from safetensors.numpy import load, save

from edge_sdk import edge_file
from edge_sdk.workspace import Workspace

COMMANDS = ("predict", "eval", "inspect")
DAMAGES = 25
VALUES = ("99999999999999", "65536", "-1", "0", "0.5", "1e999", "NaN", "null", "[]", "{}", '"x"', '"__class__"')


@pytest.fixture
def survives(run, photos, tmp_path):
    """Give these bytes to a command: it ends with 0, or with 2 and one or two lines that name the file."""

    def check(data: bytes, suffix: str, command: str) -> int:
        file = tmp_path / f"hostile{suffix}"
        file.write_bytes(data)
        more = {"predict": [photos / "red" / "0.png"], "eval": [photos], "inspect": []}[command]
        result = run(command, file, *more, "--json")
        lines = [line for line in result.err.splitlines() if line.startswith("edge: ")]
        assert result.code in (0, 2)
        if result.code == 2:
            assert (result.out, len(lines)) == ("", 1)
        else:
            assert lines == []
            assert result.json
        return result.code

    return check


def _cuts(data: bytes, random: np.random.Generator) -> list[bytes]:
    """Beginnings of a file: around its header, and anywhere."""
    ends = [0, 1, 4, 7, 8, 9, len(data) - 1, *random.integers(10, len(data), DAMAGES)]
    return [data[:end] for end in ends]


def _changes(data: bytes, random: np.random.Generator, first: int) -> list[bytes]:
    """Copies with one to four bytes changed; half of them among the `first` bytes, where the structure is."""
    changed = []
    for index in range(2 * DAMAGES):
        copy = bytearray(data)
        for place in random.integers(0, first if index % 2 else len(data), random.integers(1, 5)):
            copy[place] ^= int(random.integers(1, 256))
        changed.append(bytes(copy))
    return changed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cut_edge_file_is_refused(survives, model, command):
    """No beginning of a file passes for the whole of it."""
    for data in _cuts(model.read_bytes(), np.random.default_rng(1)):
        assert survives(data, ".edge", command) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_an_edge_file_with_changed_bytes_is_refused(survives, model, command):
    """The file's own digest finds damage anywhere, in the weights as well."""
    data = model.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]

    for copy in _changes(data, np.random.default_rng(2), header):
        assert survives(copy, ".edge", command) == 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("length", [0, 2, 10**6, 2**31, 2**40, 2**62, 2**64 - 1])
def test_an_edge_file_that_claims_another_header_length(survives, model, command, length):
    """No memory is taken for a header that the file is too short for."""
    assert survives(struct.pack("<Q", length) + model.read_bytes()[8:], ".edge", command) == 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("entry", ["graph", "labels", "preprocess"])
def test_a_hostile_edge_file_with_a_right_digest(survives, model, command, entry):
    """Numbers and words of the header exchanged in turn, and the file signed anew: shapes, strides, sizes, names."""
    data = model.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    metadata, weights = header["__metadata__"], load(data)
    text = metadata[entry]
    random = np.random.default_rng(3)
    tokens = [match.span() for match in re.finditer(r'-?\d+(\.\d+)?|"[^"]*"|null|true|false', text)]
    chosen = random.choice(len(tokens), min(len(tokens), 2 * DAMAGES), replace=False)

    codes = []
    for start, end in (tokens[index] for index in chosen):
        changed = {**metadata, entry: text[:start] + str(random.choice(VALUES)) + text[end:]}
        changed["sha256"] = edge_file._digest(changed, Workspace(weights))
        codes.append(survives(save(weights, changed), ".edge", command))

    assert codes.count(2) >= len(chosen) // 4


@pytest.mark.parametrize("command", COMMANDS)
def test_an_edge_file_with_a_deeply_nested_header(survives, command):
    """Deep nesting does not exhaust the stack."""
    for text in ("[" * 100_000, '{"a":' * 100_000, json.dumps({"__metadata__": {"model": "[" * 100_000}})):
        assert survives(struct.pack("<Q", len(text)) + text.encode(), ".edge", command) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cut_tflite_file(survives, tflite, command):
    """A cut may lie behind everything that the runtime reads; it is refused otherwise."""
    codes = [survives(data, ".tflite", command) for data in _cuts(tflite.read_bytes(), np.random.default_rng(4))]

    assert codes[:6] == [2] * 6


@pytest.mark.parametrize("command", COMMANDS)
def test_a_tflite_file_with_changed_bytes(survives, tflite, command):
    """The runtime is only given what has been checked, since it would end the process."""
    data = tflite.read_bytes()

    codes = [survives(copy, ".tflite", command) for copy in _changes(data, np.random.default_rng(5), len(data))]

    assert set(codes) <= {0, 2}
    assert 2 in codes
