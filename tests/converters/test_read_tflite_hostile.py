"""A thousand damaged .tflite files: each is refused by name or read for what it is, in little time and memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_models import SIDE, tiny_model

import edge_sdk as edge
from edge_sdk.converters.tflite import read, read_graph, read_quantized
from edge_sdk.converters.tflite.flatfile import FlatModel
from edge_sdk.converters.tflite.options import ConcatenationOptions, FillOptions
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.schema import Builtin
from edge_sdk.errors import FormatError
from edge_sdk.session import Session
from edge_sdk.spec import Array

FILES = 1000
RUN = 200
MEMORY_CONSTANT = 8 << 20
WORDS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
PHOTOS = np.random.default_rng(3).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> tuple[bytes, bytes]:
    """The tiny network's file in float32 and in int8."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / "float.tflite", folder / "int8.tflite"]
    edge.export(tiny_model(), paths[0])
    edge.export(tiny_model(), paths[1], quantize="int8", calibrate=PHOTOS)
    return paths[0].read_bytes(), paths[1].read_bytes()


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A copy with bits flipped, cut off, with words or bytes exchanged, or with a part of it written over another."""
    copy = bytearray(data)
    places = random.integers(0, len(copy) - 64, 4)
    match int(random.integers(5)):
        case 0:
            for place in places:
                copy[place] ^= 1 << int(random.integers(8))
        case 1:
            del copy[int(random.integers(len(copy))) :]
        case 2:
            for place in places[: random.integers(1, 4)] & ~3:
                copy[place : place + 4] = int(random.choice(WORDS)).to_bytes(4, "little")
        case 3:
            copy[places[0] : places[0] + 16] = copy[places[1] : places[1] + 16]
        case _:
            for place in places[: random.integers(1, 4)]:
                copy[place] = int(random.integers(256))
    return bytes(copy)


def test_damaged_files_are_refused_or_read(originals, tmp_path):
    """No other error than one that names the file, and never more memory than four times the file and a little."""
    random = np.random.default_rng(11)
    ends: Counter[str] = Counter()
    tracemalloc.start()
    for index in range(FILES):
        data = damaged(originals[index % 2], random)
        path = tmp_path / f"{index}.tflite"
        path.write_bytes(data)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]

        try:
            (read, read_quantized, read_graph)[index % 3](path)
            ends["read"] += 1
        except FormatError as error:
            ends["refused" if path.name in str(error) else str(error)] += 1

        assert tracemalloc.get_traced_memory()[1] - before < 4 * len(data) + MEMORY_CONSTANT
    tracemalloc.stop()
    assert set(ends) == {"read", "refused"}
    assert ends["read"] > FILES / 20
    assert ends["refused"] > FILES / 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # damaged weights may be infinite
def test_what_is_read_is_what_the_runtime_computes(originals, tmp_path):
    """A changed number is a changed number for both; nothing is understood in another way."""
    random = np.random.default_rng(12)
    compared = 0
    for index in range(RUN):
        quantized = index % 2 == 1
        path = tmp_path / f"{index}.tflite"
        path.write_bytes(damaged(originals[index % 2], random))
        fed = PHOTOS if quantized else tiny_model().preprocess.normalise(PHOTOS)
        try:
            graph, weights = read_graph(path, quantized=quantized)
            file = TFLiteModel.open(path)
            (wanted,) = file.invoke({file.inputs[0].name: fed}).values()
        except FormatError:
            continue

        (found,) = Session(graph, weights, "reference", batch=len(fed)).run({graph.inputs[0]: fed}).values()

        assert_equal(found, wanted)
        compared += 1
    assert compared > RUN / 20


def assert_equal(found: Array, wanted: Array) -> None:
    finite = np.isfinite(wanted)
    scale = float(np.abs(wanted[finite]).max(initial=1e-30))
    np.testing.assert_allclose(found[finite] / scale, wanted[finite] / scale, atol=1e-4)


def test_a_constant_named_many_times_is_refused(tmp_path):
    """A file of a hundred kilobytes that would fill gigabytes: every operator joins the constant with itself."""
    model = FlatModel()
    main = model.subgraph("main")
    last = main.constant("c0", np.zeros(25_000, np.float32))
    for index in range(1, 16):
        joined = main.tensor(f"c{index}", (25_000 << index,), "float32")
        main.operator(Builtin.CONCATENATION, [last, last], [joined], ConcatenationOptions(axis=0))
        last = joined
    main.outputs = (last,)

    assert_refused(model, tmp_path / "bomb.tflite", "many times the memory")


def test_a_constant_of_a_stated_size_is_refused(tmp_path):
    """Four bytes that a FILL would repeat a thousand million times."""
    model = FlatModel()
    main = model.subgraph("main")
    shape, value = (
        main.constant("shape", np.array([10**9], np.int32)),
        main.constant("value", np.float32(1).reshape(())),
    )
    filled = main.tensor("filled", (10**9,), "float32")
    main.operator(Builtin.FILL, [shape, value], [filled], FillOptions())
    main.outputs = (filled,)

    assert_refused(model, tmp_path / "bomb.tflite", "many times the memory")


def assert_refused(model: FlatModel, path: Path, message: str) -> None:
    path.write_bytes(model.to_bytes())
    tracemalloc.start()
    with pytest.raises(FormatError, match=message):
        read_graph(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * path.stat().st_size + MEMORY_CONSTANT
