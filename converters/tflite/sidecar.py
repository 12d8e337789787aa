"""`<file>.json` beside an exported file: everything that is known of it, for people and for build systems.

The schema is described in docs/exported-files.md; its version grows when a key changes its meaning or goes away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.converters.tflite.metadata import About, read_metadata
from edge_sdk.converters.tflite.model_check import check_model
from edge_sdk.errors import FormatError

SCHEMA = "edge-sdk/exported-file"
VERSION = 1
MOST_BYTES = 64 << 20


def sidecar_path(path: Path | str) -> Path:
    """Where the side-car of a file lies."""
    return Path(f"{path}.json")


def write_sidecar(path: Path | str, data: bytes, about: About, report: Mapping[str, Any]) -> None:
    """Write the side-car of the file `path`, whose bytes are `data`, whole or not at all."""
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "file": {"name": Path(path).name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        "model": about.name,
        "labels": list(about.labels),
        "preprocess": about.preprocess.to_dict(),
        "embedded": None if about.embedded is None else about.embedded.to_dict(),
        "contract": dict(read_metadata(check_model(data, str(path)).metadata, data, str(path)).contract),
        "lineage": dict(about.lineage),
        "provenance": dict(about.provenance),
        "report": dict(report),
    }
    atomic_write_bytes(sidecar_path(path), (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def read_sidecar(path: Path | str) -> dict[str, Any] | None:
    """Return the side-car of a file, or None where there is none; raises FormatError when it is something else."""
    beside = sidecar_path(path)
    if not beside.is_file():
        return None
    try:
        if beside.stat().st_size > MOST_BYTES:
            raise FormatError(f"{beside}: more than {MOST_BYTES:,} bytes; not a side-car")
        content = json.loads(beside.read_bytes())
    except OSError as error:
        raise FormatError(f"{beside}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{beside}: not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content.get("file"), dict):
        raise FormatError(f"{beside}: not the side-car of an exported file (schema {SCHEMA!r})")
    version = content.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise FormatError(f"{beside}: version {version!r}, this edge-sdk reads up to {VERSION}")
    return content
