"""The `.edge` file: one safetensors file with the weights, and everything else in its metadata.

Layout (https://github.com/huggingface/safetensors, "Format"): 8 bytes little-endian header length, a JSON header, the
tensors. Metadata values are strings: `edge` (format version), `graph`, `preprocess`, `labels`, `provenance`, each JSON,
and `sha256`, a digest of the weights and the other entries, so that damage inside the tensors is found too.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.atomic import atomic_write
from edge_sdk.errors import EdgeError, FormatError, UsageError
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.serialize import graph_from_json, graph_to_json
from edge_sdk.workspace import Workspace

FORMAT_VERSION = 1
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format itself
_ENTRIES = ("edge", "graph", "labels", "preprocess", "provenance")


def save(model: Model, path: Path | str) -> None:
    """Write `model` to `path`, whole or not at all; equal models give equal bytes.

    Raises:
        UsageError: a name that says that it is a file of another format.
    """
    from safetensors.numpy import save as to_bytes

    from edge_sdk.opening import CAFFE, CHECKPOINTS, GRAPHS

    if Path(path).suffix in (*GRAPHS, *CHECKPOINTS, *CAFFE, ".mlpackage"):
        raise UsageError(
            f"{path}: a model is saved in the format of .edge files; edge.export, edge.export_onnx and "
            "edge.export_coreml write others"
        )
    weights = model.workspace.restricted(model.graph)
    metadata = _entries(model)
    metadata["sha256"] = _digest(metadata, weights)
    tensors = {name: np.asarray(array, order="C") for name, array in weights.items()}
    payload = _sorted_header(to_bytes(tensors, metadata))
    with atomic_write(path) as file:
        file.write(payload)


def digest(model: Model) -> str:
    """Return the SHA-256 that the model's `.edge` file states: of weights, graph and all that goes with them."""
    return _digest(_entries(model), model.workspace.restricted(model.graph))


def load(path: Path | str) -> Model:
    """Read a model from an `.edge` file.

    Raises:
        FormatError: the file is missing, truncated, damaged, hostile, or written by a newer edge-sdk.
    """
    path = Path(path)
    metadata = _read_metadata(path)
    version = metadata["edge"]
    if not version.isdecimal() or len(version) > 6:
        raise FormatError(f"{path}: its format version is {version[:20]!r}, wanted a number")
    if int(version) > FORMAT_VERSION:
        raise FormatError(
            f"{path}: written in .edge format {version}, this edge-sdk reads up to {FORMAT_VERSION}; "
            "upgrade it: pip install -U edge-sdk"
        )
    workspace = _read_tensors(path)
    if _digest({key: metadata[key] for key in _ENTRIES}, workspace) != metadata["sha256"]:
        raise FormatError(
            f"{path}: its content does not match its checksum; the file is damaged, fetch or save it again"
        )
    try:
        labels = _parse(path, metadata, "labels")
        provenance = _parse(path, metadata, "provenance")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise FormatError("labels: wanted a list of names")
        if not isinstance(provenance, dict):
            raise FormatError("provenance: wanted an object")
        return Model(
            graph=graph_from_json(metadata["graph"]),
            workspace=workspace,
            preprocess=Preprocess.from_dict(_parse(path, metadata, "preprocess")),
            labels=tuple(labels),
            provenance=provenance,
        )
    except EdgeError as error:
        raise FormatError(f"{path}: {error}") from error


def _read_metadata(path: Path) -> dict[str, str]:
    """Read the header alone, its length checked against the file before memory is taken."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise FormatError(
                    f"{path}: {size} bytes are too few for an .edge file; it is truncated or something else"
                )
            (length,) = struct.unpack("<Q", start)
            if length > min(size - 8, MAX_HEADER_BYTES):
                raise FormatError(f"{path}: not an .edge file, or truncated (its header would be {length} bytes long)")
            header = json.loads(file.read(length))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: not an .edge file (its header is not JSON)") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError(f"{path}: a safetensors file without an edge-sdk model in it")
    missing = [key for key in (*_ENTRIES, "sha256") if key not in metadata]
    if missing:
        raise FormatError(f"{path}: a safetensors file without an edge-sdk model in it ({missing[0]!r} is missing)")
    return metadata


def _read_tensors(path: Path) -> Workspace:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return Workspace(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: its tensors cannot be read, the file is truncated or damaged ({error})") from error


def _sorted_header(payload: bytes) -> bytes:
    """Rewrite the header with sorted keys: the library writes the metadata in an order that differs from run to run."""
    (length,) = struct.unpack("<Q", payload[:8])
    header = json.dumps(json.loads(payload[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors start on a multiple of 8
    return struct.pack("<Q", len(header)) + header + payload[8 + length :]


def _entries(model: Model) -> dict[str, str]:
    return {
        "edge": str(FORMAT_VERSION),
        "graph": graph_to_json(model.graph),
        "labels": _json(list(model.labels)),
        "preprocess": _json(model.preprocess.to_dict()),
        "provenance": _json(dict(model.provenance)),
    }


def _digest(metadata: Mapping[str, str], weights: Workspace) -> str:
    hashed = hashlib.sha256(weights.digest().encode())
    for key in _ENTRIES:
        hashed.update(f"\0{key}\0{metadata[key]}".encode())
    return hashed.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _parse(path: Path, metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{key} is not JSON") from error
