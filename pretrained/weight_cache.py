"""What lies in the folder of weight files: which published ones, and what downloads have left behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.cache_folder import cache_folder
from edge_sdk.pretrained.download import LOCK, PARTIAL, packaged_file
from edge_sdk.pretrained.file_lock import is_held, try_lock, unlock
from edge_sdk.pretrained.manifest import Entry, entries
from edge_sdk.pretrained.transfer import Partial


@dataclass(frozen=True)
class Contents:
    """The files of the folder: published weights, what is left of downloads, and files that are neither.

    Folders are never among them, nor what a download that is going on is writing.
    """

    weights: tuple[Path, ...]
    leftovers: tuple[Path, ...]
    unknown: tuple[Path, ...]


def stored_file(entry: Entry) -> Path | None:
    """Where an entry's file is on this machine, not looked into; None where it is not."""
    path = packaged_file(entry) if entry.package is not None else cache_folder("weights") / entry.file
    return path if path is not None and path.is_file() else None


def look() -> Contents:
    """Return what is in the folder of weight files; nothing where there is none."""
    folder = cache_folder("weights")
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    published = {entry.file for entry in entries().values()}
    weights = tuple(path for path in files if path.name in published)
    rest = [(path, _left_by(path.name, published)) for path in files if path.name not in published]
    busy = {name for name in {name for _, name in rest if name} if is_held(folder / (name + LOCK))}
    return Contents(
        weights,
        tuple(path for path, name in rest if name is not None and name not in busy),
        tuple(path for path, name in rest if name is None),
    )


def remove(paths: tuple[Path, ...]) -> None:
    """Remove files; a published one, or what is left of it, only when no process is downloading it."""
    published = {entry.file for entry in entries().values()}
    for path in paths:
        name = path.name if path.name in published else _left_by(path.name, published)
        if name is None:
            path.unlink(missing_ok=True)
            continue
        lock = path.with_name(name + LOCK)
        descriptor = try_lock(lock)
        if descriptor is not None:
            if path != lock:
                path.unlink(missing_ok=True)
            unlock(lock, descriptor)


def _left_by(name: str, published: set[str]) -> str | None:
    """The published file of whose download the file `name` is left, or None."""
    # The notes beside a part are written by way of a hidden temporary file.
    hidden = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}\.tmp", name)
    known = hidden[1] if hidden is not None else name
    notes = Partial(Path(PARTIAL)).notes.name
    for ending in (PARTIAL, notes, LOCK, ""):
        base = known.removesuffix(ending)
        if base in published and (base != known or hidden is not None):
            return base
    return None
