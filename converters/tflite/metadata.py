"""What a .tflite file says about itself: how to feed it, what its outputs are called, where it comes from.

Two entries are written. `TFLITE_METADATA` is what MediaPipe and the TFLite Task Library read (a flatbuffer `M001`,
schema mediapipe/tasks/metadata/metadata_schema.fbs; the labels are a file in a ZIP appended to the model); it knows a
mean, a standard deviation and labels. `EDGE_SDK` is JSON and keeps everything: the preprocessing rule and provenance.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from edge_sdk.converters.tflite.contract import OutputKind
from edge_sdk.converters.tflite.flatfile import FlatModel
from edge_sdk.converters.tflite.table_reader import Table
from edge_sdk.converters.tflite.table_writer import Offset, TableWriter
from edge_sdk.errors import FormatError
from edge_sdk.preprocess import Preprocess

TFLITE_ENTRY = "TFLITE_METADATA"
EDGE_ENTRY = "EDGE_SDK"
FORMAT_VERSION = 1
LABEL_FILE = "labels.txt"
MAX_LABEL_BYTES = 64 << 20

_IDENTIFIER = b"M001"
_MIN_PARSER_VERSION = "1.0.0"
_COLOUR_SPACES = {"rgb": 1, "grey": 2}  # "bgr" has no number: such a file says that its colour space is unknown
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS = 1, 2, 1, 2
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class About:
    """What a classifier's file shall say about itself; the labels are in the order of the outputs.

    `preprocess` is what is left to do outside the file, `embedded` the network's own rule where a part of it is inside.
    `lineage` says of which model the file was made, and how.
    """

    name: str
    preprocess: Preprocess
    labels: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    embedded: Preprocess | None = None
    output: OutputKind = "logits"
    lineage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileMetadata:
    """What was found in a file; everything may be missing.

    `mean` and `std` are how a client turns pixels 0..255 into the input: (x - mean) / std. They are 0 and 1 for a uint8
    input, whose quantization says the rest; `preprocess` still names the network's own normalisation.
    """

    name: str = ""
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    preprocess: Preprocess | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


def add_metadata(
    model: FlatModel, about: About, *, pixel_input: bool, contract: Mapping[str, Any] | None = None
) -> None:
    """Add both entries to a file in the making; with `pixel_input` it takes uint8 pixels, not normalised floats.

    `contract` is what the file takes and gives, for readers of the SDK's own entry.
    """
    stored = {
        "format": FORMAT_VERSION,
        "name": about.name,
        "labels": list(about.labels),
        "preprocess": about.preprocess.to_dict(),
        "provenance": dict(about.provenance),
        "embedded": None if about.embedded is None else about.embedded.to_dict(),
        "contract": dict(contract or {}),
        "lineage": dict(about.lineage),
    }
    model.metadata(TFLITE_ENTRY, _classifier_metadata(about, pixel_input=pixel_input))
    model.metadata(EDGE_ENTRY, json.dumps(stored, sort_keys=True, separators=(",", ":")).encode())


def append_labels(data: bytes, labels: tuple[str, ...]) -> bytes:
    """Return the file with its label file appended: an uncompressed ZIP, one label a line."""
    lines = (" ".join(label.splitlines()) for label in labels)
    file = io.BytesIO(data)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABEL_FILE, _EPOCH), "\n".join(lines).encode())
    return file.getvalue()


def read_metadata(entries: Mapping[str, bytes], data: bytes | IO[bytes], name: str) -> FileMetadata:
    """Return what a file says, its own `EDGE_SDK` entry before the others'.

    Args:
        entries: The file's metadata entries, as `check_model` returns them.
        data: The whole file, its bytes or open, for the label file appended to it.
        name: What messages call the file.

    Raises:
        FormatError: an entry is damaged.
    """
    found = FileMetadata()
    if TFLITE_ENTRY in entries:
        found = _read_classifier_metadata(entries[TFLITE_ENTRY], data, f"{name}, metadata {TFLITE_ENTRY}")
    if EDGE_ENTRY in entries:
        found = _read_edge_entry(entries[EDGE_ENTRY], found, f"{name}, metadata {EDGE_ENTRY}")
    return found


def _classifier_metadata(about: About, *, pixel_input: bool) -> bytes:
    w = TableWriter()
    version, parser = w.string("v1"), w.string(_MIN_PARSER_VERSION)
    subgraph = w.table(
        (2, "offset", w.offsets([_input_metadata(w, about.preprocess, pixel_input=pixel_input)])),
        (3, "offset", w.offsets([_output_metadata(w, about.output)])),
    )
    root = w.table(
        (0, "offset", w.string(about.name)),
        (1, "offset", w.string("Image classifier.")),
        (2, "offset", version),
        (3, "offset", w.offsets([subgraph])),
        (7, "offset", parser),
    )
    return w.finish(root, _IDENTIFIER)


def _input_metadata(w: TableWriter, preprocess: Preprocess, *, pixel_input: bool) -> Offset:
    channels = preprocess.channel_count
    mean = (0.0,) * channels if pixel_input else preprocess.mean
    std = (1.0,) * channels if pixel_input else preprocess.std
    lowest, highest = ((value - np.asarray(mean)) / np.asarray(std) for value in (0.0, 255.0))
    size = w.table((0, "uint32", preprocess.size[1]), (1, "uint32", preprocess.size[0]))
    image = w.table((0, "int8", _COLOUR_SPACES.get(preprocess.channels, 0)), (1, "offset", size))
    normalization = w.table((0, "offset", w.numbers(mean, "float32")), (1, "offset", w.numbers(std, "float32")))
    unit = w.table((0, "uint8", _NORMALIZATION), (1, "offset", normalization))
    return w.table(
        (0, "offset", w.string("image")),
        (3, "offset", w.table((0, "uint8", _IMAGE_PROPERTIES), (1, "offset", image))),
        (4, "offset", w.offsets([unit])),
        (5, "offset", _statistics(w, lowest.tolist(), highest.tolist())),
    )


def _output_metadata(w: TableWriter, output: OutputKind) -> Offset:
    probabilities = output == "probabilities"
    description = "Probabilities of the classes." if probabilities else "Logits of the classes, before any softmax."
    labels = w.table(
        (0, "offset", w.string(LABEL_FILE)),
        (1, "offset", w.string("Names of the classes, one a line.")),
        (2, "int8", _AXIS_LABELS),
    )
    return w.table(
        (0, "offset", w.string("probability" if probabilities else "score")),
        (1, "offset", w.string(description)),
        (3, "offset", w.table((0, "uint8", _FEATURE_PROPERTIES), (1, "offset", w.table()))),
        (5, "offset", _statistics(w, [0.0], [1.0]) if probabilities else None),  # logits have no bounds
        (6, "offset", w.offsets([labels])),
    )


def _statistics(w: TableWriter, lowest: list[float], highest: list[float]) -> Offset:
    return w.table((0, "offset", w.numbers(highest, "float32")), (1, "offset", w.numbers(lowest, "float32")))


def _read_classifier_metadata(entry: bytes, data: bytes | IO[bytes], name: str) -> FileMetadata:
    root = Table.root(entry, _IDENTIFIER, name)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    for subgraph in root.tables(3)[:1]:
        for tensor in subgraph.tables(2)[:1]:
            for unit in tensor.tables(4):
                normalization = unit.table(1) if unit.number(0, "uint8") == _NORMALIZATION else None
                if normalization is not None:
                    mean, std = _floats(normalization, 0), _floats(normalization, 1)
        for tensor in subgraph.tables(3)[:1]:
            for file in tensor.tables(6):
                if file.number(2, "int8") == _AXIS_LABELS and not labels:  # further ones are translations
                    labels = _read_labels(data, file.string(0) or "", name)
    return FileMetadata(root.string(0) or "", labels, mean, std)


def _floats(table: Table, slot: int) -> tuple[float, ...]:
    values = table.numbers(slot, "float32")
    return () if values is None else tuple(float(value) for value in values[:64])


def _read_labels(data: bytes | IO[bytes], file_name: str, name: str) -> tuple[str, ...]:
    try:
        whole = io.BytesIO(data) if isinstance(data, bytes) else data
        with zipfile.ZipFile(whole) as archive:
            content = _unpacked(archive, file_name)
        text = content.decode()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise FormatError(f"{name}: its label file {file_name!r} cannot be read ({error})") from error
    if len(content) > MAX_LABEL_BYTES:
        raise FormatError(f"{name}: its label file {file_name!r} has more than {MAX_LABEL_BYTES:,} bytes")
    return tuple(line.rstrip("\r") for line in text.rstrip("\r\n").split("\n"))


def _unpacked(archive: zipfile.ZipFile, file_name: str) -> bytes:
    # Other ways to compress take memory by what the entry says, and have errors of their own.
    if archive.getinfo(file_name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("it is neither stored nor deflated")
    # The size that the archive states may be a lie, so no more than the limit is unpacked.
    with archive.open(file_name) as file:
        return file.read(MAX_LABEL_BYTES + 1)


def _read_edge_entry(entry: bytes, other: FileMetadata, name: str) -> FileMetadata:
    try:
        stored = json.loads(entry)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: not JSON ({error})") from error
    version = stored.get("format") if isinstance(stored, dict) else None
    if not isinstance(version, int) or version < 1:
        raise FormatError(f"{name}: its format is {version!r}, wanted a number of 1 or more")
    if version > FORMAT_VERSION:
        raise FormatError(f"{name}: format {version}, this edge-sdk reads up to {FORMAT_VERSION}; upgrade it")
    labels, provenance = stored.get("labels"), stored.get("provenance")
    contract, lineage = (stored.get(key, {}) for key in ("contract", "lineage"))
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise FormatError(f"{name}: labels must be a list of texts")
    if not isinstance(provenance, dict):
        raise FormatError(f"{name}: provenance must be an object")
    if not isinstance(contract, dict) or not isinstance(lineage, dict):
        raise FormatError(f"{name}: contract and lineage must be objects")
    try:
        preprocess = Preprocess.from_dict(stored.get("preprocess"))
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    return FileMetadata(
        str(stored.get("name", "")),
        tuple(labels),
        other.mean or preprocess.mean,
        other.std or preprocess.std,
        preprocess,
        provenance,
        contract,
        lineage,
    )
