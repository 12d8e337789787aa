"""Listing the photos below a folder, in an order that no file system decides."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

from edge_sdk.data.images import is_photo
from edge_sdk.errors import DataError

# What archives and Python leave behind; nobody's class.
_LEFTOVERS = ("__macosx", "__pycache__")


def visible_folders(root: Path) -> list[Path]:
    """Return the sub-folders of `root` that are not hidden, sorted by name."""
    return [
        root / entry.name for entry in _visible_entries(root) if entry.is_dir() and entry.name.lower() not in _LEFTOVERS
    ]


def photos_in(root: Path, other_files: Counter[str]) -> list[Path]:
    """Return the photos directly in `root`, sorted by name; count the other files by extension in `other_files`."""
    photos = []
    for entry in _visible_entries(root):
        if not entry.is_file():
            continue
        path = root / entry.name
        if is_photo(path):
            photos.append(path)
        else:
            other_files[path.suffix.lower()] += 1
    return photos


def photos_below(root: Path, other_files: Counter[str]) -> list[Path]:
    """Return the photos in `root` and its sub-folders, sorted; count the other files by extension in `other_files`."""
    photos: list[Path] = []
    pending: list[tuple[Path, tuple[Path, ...]]] = [(root, (root.resolve(),))]
    while pending:
        folder, ancestors = pending.pop()
        photos += photos_in(folder, other_files)
        for child in visible_folders(folder):
            target = child.resolve()
            if target not in ancestors:  # a link to a folder above would go round for ever
                pending.append((child, (*ancestors, target)))
    return sorted(photos, key=lambda path: path.as_posix())


def file_size(path: Path) -> int:
    """Return the size in bytes, or -1 for a file that has gone."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def content_hash(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes, or of nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return hashlib.sha256().digest()


def _visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error})") from error
    return sorted(visible, key=lambda entry: entry.name)
